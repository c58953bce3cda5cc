//! `test_ids`: a map of test type to a list of ids, quoted or not. Every id is used, or is a problem
//! with a place.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use catchpoint_graphite_settings::yaml::{Entry, Section, Value, nearest, quote};

/// The types that the original's file lists.
#[rustfmt::skip]
const TYPES: [&str; 16] = [
    "web", "transaction", "api", "ping", "traceroute", "dns", "websocket", "smtp", "transport",
    "ftp", "custom", "ntp", "imap", "ssl", "html", "streaming",
];

/// The tests of one type, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestGroup {
    /// The type's name, as the file has it: `web`, `dns`, …
    pub test_type: String,
    /// The ids, each once.
    pub ids: Vec<u64>,
    /// Of tests that Catchpoint has listed: the ids of their type and their division; none of those in
    /// `test_ids`.
    pub found: Option<(Option<u64>, Option<u64>)>,
}

/// Reads the tests of a file.
pub(super) fn read(top: &mut Section<'_>) -> Vec<TestGroup> {
    let hint = "write `other_test_types: [newtype]`";
    let others = top.list("other_test_types", "a test type", hint);
    let others: Vec<(String, usize)> = others.unwrap_or_default();
    top.section("test_ids", "{ web: ['142619', '142620'] }", |types| {
        let mut type_of = BTreeMap::new();
        let mut groups = Vec::new();
        let entries = types.entries();
        for (index, Entry { key, at, .. }) in entries.iter().enumerate() {
            if is_number(key) {
                let (before, ids) = entries.split_at(index);
                note_ids_among_types(types, before.last(), ids);
                continue;
            }
            let others = others.iter().map(|(other, _)| other.as_str());
            // The original takes any word, so its users may have written `Web`.
            let mut known = TYPES.into_iter().chain(others);
            if !known.any(|known| known.eq_ignore_ascii_case(key)) {
                note_unknown_type(types, key, *at);
            }
            let ids = read_ids(types, key, &mut type_of);
            if !ids.is_empty() {
                let test_type = key.clone();
                groups.push(TestGroup {
                    test_type,
                    ids,
                    found: None,
                });
            }
        }
        groups
    })
}

/// The ids of a type, each once. `type_of` are the ids that were read so far.
fn read_ids<'f>(
    types: &mut Section<'f>,
    test_type: &'f str,
    type_of: &mut BTreeMap<NonZeroU64, &'f str>,
) -> Vec<u64> {
    let hint = format!(
        "write the numbers in the tests' addresses in the portal, each as an item of its own: `{test_type}: ['142619', '142620']`"
    );
    let read = types.list(test_type, "a test id", &hint);
    let mut ids = Vec::new();
    for (id, at) in read.unwrap_or_default() {
        match type_of.insert(id, test_type) {
            None => ids.push(id.get()),
            Some(other) if other == test_type => {}
            Some(other) => types.note(
                test_type,
                at,
                format_args!("test {id} is listed under {other} too"),
                "a test has one type: keep it there and delete it elsewhere",
            ),
        }
    }
    ids
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Notes ids that stand where types must stand, behind this entry; several in a row once. In
/// `{ dns: '1','2','3' }` YAML reads the second and third id as keys without a value; the original's
/// README has it so.
fn note_ids_among_types(types: &Section<'_>, before: Option<&Entry>, ids: &[Entry]) {
    let Some(first) = ids
        .first()
        .filter(|_| before.is_none_or(|it| !is_number(&it.key)))
    else {
        return;
    };
    let id = first.key.trim();
    let mut hint = format!("write the id into the list of its type, for instance `web: ['{id}']`");
    if let (Some(Entry { key, node, .. }), Value::Null) = (before, &first.node.value)
        && let Value::Scalar(own) = &node.value
        && is_number(own)
    {
        let ids = ids.iter().map(|id| id.key.trim());
        let ids = ids.take_while(|id| is_number(id));
        let all: Vec<&str> = std::iter::once(own.trim()).chain(ids).collect();
        let all = all.join("', '");
        hint = format!(
            "put the ids of a type into brackets: `{}: ['{all}']`",
            key.trim()
        );
    }
    let what = format!("`{id}` is a test id, but a test type must stand here");
    types.note("", first.at, what, hint);
}

fn note_unknown_type(types: &Section<'_>, name: &str, at: usize) {
    let first = match nearest(name, TYPES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}.", TYPES.join(", ")),
    };
    let what = format!("{} is not a known test type", quote(name));
    let hint =
        format!("{first} If the type is new at Catchpoint, write `other_test_types: [{name}]`");
    types.note("", at, what, hint);
}
