//! `test_ids`: a map of test type to a list of ids, quoted or not. Every id is used, or is a problem
//! with a place.

use std::collections::BTreeMap;

use catchpoint_graphite_settings::yaml::{File, Key, Node, Value, nearest, quote};

/// The types that the original's file lists.
const TYPES: [&str; 16] = [
    "web",
    "transaction",
    "api",
    "ping",
    "traceroute",
    "dns",
    "websocket",
    "smtp",
    "transport",
    "ftp",
    "custom",
    "ntp",
    "imap",
    "ssl",
    "html",
    "streaming",
];

const EXAMPLE: &str = "write `test_ids: { web: ['142619', '142620'] }`";

/// The tests of one type, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestGroup {
    /// The type's name, as the file has it: `web`, `dns`, …
    pub test_type: String,
    /// The ids, each once.
    pub ids: Vec<u64>,
}

/// Reads the tests of a file; `others` are the types that it names beside the known ones.
pub(super) fn read(file: &File<'_>, others: &[String]) -> Vec<TestGroup> {
    let Some(node) = file.value(&["test_ids"]) else {
        return Vec::new();
    };
    let entries = match &node.value {
        Value::Null | Value::Unusable => return Vec::new(),
        Value::Map(entries) => entries,
        Value::Scalar(_) | Value::List(_) => {
            let kind = node.value.kind();
            let what = format!("{{path}}: expected test types with their ids, found {kind}");
            file.note(node.id, what, EXAMPLE);
            return Vec::new();
        }
    };
    note_ids_among_types(file, entries);
    let mut types_of = BTreeMap::new();
    let mut groups = Vec::new();
    for (key, node) in entries {
        if is_number(&key.name) || matches!(node.value, Value::Unusable) {
            continue;
        }
        note_unknown_type(file, key, others);
        let mut ids = Vec::new();
        for item in items(file, &key.name, node) {
            let Some(id) = read_id(file, item) else {
                continue;
            };
            match types_of.insert(id, key.name.as_str()) {
                None => ids.push(id),
                Some(test_type) if test_type == key.name => {}
                Some(test_type) => file.note(
                    item.id,
                    format!("{{path}}: test {id} is listed under {test_type} too"),
                    "a test has one type: keep it there and delete it elsewhere",
                ),
            }
        }
        if !ids.is_empty() {
            groups.push(TestGroup {
                test_type: key.name.clone(),
                ids,
            });
        }
    }
    groups
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Notes ids that stand where a type must stand. In `{ dns: '1','2','3' }` YAML reads the second and
/// third id as keys without a value; the original's README has it so.
fn note_ids_among_types(file: &File<'_>, entries: &[(Key, Node)]) {
    let mut at = 0;
    while let Some(rest) = entries.get(at..).filter(|rest| !rest.is_empty()) {
        let run = rest.iter().take_while(|(key, _)| is_number(&key.name));
        let ids: Vec<&str> = run.map(|(key, _)| key.name.trim()).collect();
        let (Some((first, node)), false) = (rest.first(), ids.is_empty()) else {
            at += 1;
            continue;
        };
        let before = at.checked_sub(1).and_then(|before| entries.get(before));
        let hint = match before {
            Some((
                test_type,
                Node {
                    value: Value::Scalar(id),
                    ..
                },
            )) if matches!(node.value, Value::Null) => {
                let all: Vec<String> = std::iter::once(id.trim())
                    .chain(ids.iter().copied())
                    .map(|id| format!("'{id}'"))
                    .collect();
                format!(
                    "put the ids of a type into brackets: `{}: [{}]`",
                    test_type.name.trim(),
                    all.join(", ")
                )
            }
            _ => format!(
                "write the id into the list of its type, for instance `web: ['{}']`",
                first.name.trim()
            ),
        };
        let what = format!(
            "test_ids: `{}` is a test id, but a test type must stand here",
            first.name
        );
        file.note(first.id, what, hint);
        at += ids.len();
    }
}

fn note_unknown_type(file: &File<'_>, key: &Key, others: &[String]) {
    let name = key.name.as_str();
    if TYPES.contains(&name) || others.iter().any(|other| other == name) {
        return;
    }
    let near = nearest(name, TYPES);
    let first = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}.", TYPES.join(", ")),
    };
    file.note(
        key.id,
        format!("test_ids: `{name}` is not a known test type"),
        format!("{first} If the type is new at Catchpoint, write `other_test_types: [{name}]`"),
    );
}

/// The items of a list; a lone id is a list of one, nothing is an empty list.
fn items<'n>(file: &File<'_>, test_type: &str, node: &'n Node) -> &'n [Node] {
    match &node.value {
        Value::Null | Value::Unusable => &[],
        Value::List(nodes) => nodes,
        Value::Scalar(text) if text.trim().is_empty() => &[],
        Value::Scalar(_) => std::slice::from_ref(node),
        Value::Map(_) => {
            file.note(
                node.id,
                "{path}: expected a list of test ids, found a map",
                format!("write `{test_type}: ['142619', '142620']`"),
            );
            &[]
        }
    }
}

fn read_id(file: &File<'_>, node: &Node) -> Option<u64> {
    let found = match &node.value {
        Value::Unusable => return None,
        Value::Scalar(text) => {
            let id = text.trim().parse().ok().filter(|id| *id > 0);
            if let (true, Some(id)) = (is_number(text), id) {
                return Some(id);
            }
            quote(text)
        }
        other => other.kind().to_owned(),
    };
    let hint = if found.contains([',', ' ']) && found.starts_with('`') {
        "write each id as an item of its own: `{key}: ['142619', '142620']`"
    } else {
        "a test id is the number in the test's address in the portal, for instance 142619"
    };
    file.note(node.id, format!("{{path}}: {found} is not a test id"), hint);
    None
}
