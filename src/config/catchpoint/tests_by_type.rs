//! `test_ids`: a map of test type to a list of ids, quoted or not. Every id is used, or is a problem
//! with a place.

use std::collections::BTreeMap;

use catchpoint_graphite_settings::yaml::{Entry, Node, Section, Value, nearest, quote};

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

/// The tests of one type, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestGroup {
    /// The type's name, as the file has it: `web`, `dns`, …
    pub test_type: String,
    /// The ids, each once.
    pub ids: Vec<u64>,
}

/// Reads the tests of a file.
pub(super) fn read(top: &mut Section<'_>) -> Vec<TestGroup> {
    let others: Vec<String> = top
        .list("other_test_types", "a test type", "[newtype]")
        .unwrap_or_default();
    top.section("test_ids", "{ web: ['142619', '142620'] }", |types| {
        let mut type_of = BTreeMap::new();
        let mut groups = Vec::new();
        let mut before = None;
        for run in types
            .entries()
            .chunk_by(|a, b| is_number(&a.key) == is_number(&b.key))
        {
            if run.first().is_some_and(|entry| is_number(&entry.key)) {
                note_ids_among_types(types, before, run);
                continue;
            }
            before = run.last();
            for Entry { key, at, node } in run {
                if !TYPES.contains(&key.as_str()) && !others.contains(key) {
                    note_unknown_type(types, key, *at);
                }
                let mut ids = Vec::new();
                for item in items(types, key, node) {
                    let Some(id) = read_id(types, key, item) else {
                        continue;
                    };
                    match type_of.insert(id, key) {
                        None => ids.push(id),
                        Some(other) if other == key => {}
                        Some(other) => types.note(
                            key,
                            item.at,
                            &format!("test {id} is listed under {other} too"),
                            "a test has one type: keep it there and delete it elsewhere".to_owned(),
                        ),
                    }
                }
                if !ids.is_empty() {
                    groups.push(TestGroup {
                        test_type: key.clone(),
                        ids,
                    });
                }
            }
        }
        groups
    })
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Notes ids that stand where a type must stand. In `{ dns: '1','2','3' }` YAML reads the second and
/// third id as keys without a value; the original's README has it so.
fn note_ids_among_types(types: &Section<'_>, before: Option<&Entry>, ids: &[Entry]) {
    let Some(first) = ids.first() else { return };
    let id = first.key.trim();
    let hint = match before.map(|before| (before, &before.node.value)) {
        Some((before, Value::Scalar(own))) if matches!(first.node.value, Value::Null) => {
            let ids = ids.iter().map(|id| id.key.trim());
            let all: Vec<&str> = std::iter::once(own.trim()).chain(ids).collect();
            let (key, all) = (before.key.trim(), all.join("', '"));
            format!("put the ids of a type into brackets: `{key}: ['{all}']`")
        }
        _ => format!("write the id into the list of its type, for instance `web: ['{id}']`"),
    };
    let what = format!("`{id}` is a test id, but a test type must stand here");
    types.note("", first.at, &what, hint);
}

fn note_unknown_type(types: &Section<'_>, name: &str, at: usize) {
    let first = match nearest(name, TYPES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}.", TYPES.join(", ")),
    };
    let what = format!("{} is not a known test type", quote(name));
    let hint =
        format!("{first} If the type is new at Catchpoint, write `other_test_types: [{name}]`");
    types.note("", at, &what, hint);
}

/// The items of a list; a lone id is a list of one, nothing is an empty list.
fn items<'n>(types: &Section<'_>, test_type: &str, node: &'n Node) -> &'n [Node] {
    match &node.value {
        Value::Null => &[],
        Value::List(nodes) => nodes,
        Value::Scalar(text) if text.trim().is_empty() => &[],
        Value::Scalar(_) => std::slice::from_ref(node),
        Value::Map(_) | Value::Tagged => {
            let what = format!("expected a list of test ids, found {}", node.value.kind());
            let hint = format!("write `{test_type}: ['142619', '142620']`");
            types.note(test_type, node.at, &what, hint);
            &[]
        }
    }
}

fn read_id(types: &Section<'_>, test_type: &str, node: &Node) -> Option<u64> {
    let found = match &node.value {
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
        format!("write each id as an item of its own: `{test_type}: ['142619', '142620']`")
    } else {
        "a test id is the number in the test's address in the portal, for instance 142619"
            .to_owned()
    };
    types.note(
        test_type,
        node.at,
        &format!("{found} is not a test id"),
        hint,
    );
    None
}
