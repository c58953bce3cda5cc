//! `tests`: which tests Catchpoint is asked to list, so that nobody has to write their ids down.

use std::num::NonZeroU64;
use std::time::Duration;

use catchpoint_graphite_settings::yaml::{Section, quote};

use super::ApiVersion;

/// Catchpoint's test types: their ids, from the vendor's OpenAPI document, and what `test_ids` calls
/// them. It has two of each of `transaction` and `transport`: a former and a present one, TCP and UDP.
pub const TYPE_IDS: [(u64, &str); 17] = [
    (0, "web"),
    (1, "transaction"),
    (27, "transaction"),
    (2, "html"),
    (3, "ftp"),
    (4, "transport"),
    (8, "transport"),
    (5, "dns"),
    (6, "ping"),
    (7, "smtp"),
    (9, "api"),
    (10, "streaming"),
    (12, "traceroute"),
    (13, "websocket"),
    (14, "ntp"),
    (15, "imap"),
    (18, "ssl"),
];

/// Why v1 cannot do it, and what to do.
pub const NEEDS_V2: [&str; 2] = [
    "API v1 cannot list tests",
    "write `version: v2` and set api_key, or list the ids in test_ids",
];

/// Which tests are collected beside those in `test_ids`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTests {
    /// Which tests, as a part of the query that lists them: `&typeIds=0,9&statusId=0`.
    pub filter: String,
    /// How often the list is fetched, 1 to 168 hours. Default 6.
    pub refresh: Duration,
}

/// Reads the key; none if it is absent.
pub(super) fn read(top: &mut Section<'_>, version: ApiVersion) -> Option<WantedTests> {
    top.optional("tests", "{ folders: [7120] }", |tests, at| {
        if version == ApiVersion::V1 {
            let [what, hint] = NEEDS_V2;
            tests.note("", at, what, hint);
        }
        let mut filter = String::new();
        for (key, parameter) in [
            ("folders", "parentFolderIds"),
            ("products", "productIds"),
            ("labels", "labelValueIds"),
        ] {
            let hint = format!("write numbers, for instance `{key}: [7120]`");
            let ids: Option<Vec<(NonZeroU64, usize)>> = tests.list(key, "an id", &hint);
            let ids = ids.unwrap_or_default().into_iter();
            add(&mut filter, parameter, ids.map(|(id, _)| id.get()));
        }
        let types = types(tests);
        add(&mut filter, "typeIds", types.into_iter());
        filter += tests.choice(
            "status",
            "&statusId=0",
            &[
                ("active", "&statusId=0"),
                ("inactive", "&statusId=1"),
                ("all", ""),
            ],
        );
        let hours: u64 = tests.number("refresh_hours", 1..=168, 6);
        WantedTests {
            filter,
            refresh: Duration::from_secs(3600 * hours),
        }
    })
}

/// Adds a parameter to a query, unless it has no ids.
fn add(filter: &mut String, parameter: &str, ids: impl Iterator<Item = u64>) {
    for (index, id) in ids.enumerate() {
        *filter += &match index {
            0 => format!("&{parameter}={id}"),
            _ => format!(",{id}"),
        };
    }
}

/// The ids of the types, which are given by name, or by number if they are new at Catchpoint.
fn types(tests: &mut Section<'_>) -> Vec<u64> {
    let hint = "write, for instance, `types: [web, dns]`";
    let names: Option<Vec<(String, usize)>> = tests.list("types", "a test type", hint);
    let mut ids = Vec::new();
    for (name, at) in names.unwrap_or_default() {
        let name = name.trim();
        let known = TYPE_IDS.iter();
        let known = known.filter(|(_, known)| known.eq_ignore_ascii_case(name));
        let before = ids.len();
        ids.extend(known.map(|(id, _)| *id));
        match name.parse() {
            _ if ids.len() > before => {}
            Ok(id) => ids.push(id),
            Err(_) => {
                let mut known: Vec<&str> = TYPE_IDS.iter().map(|(_, name)| *name).collect();
                known.dedup();
                let hint = format!(
                    "known are {}; of another one write Catchpoint's number",
                    known.join(", ")
                );
                let what = format!("{} is not a known test type", quote(name));
                tests.note("types", at, what, hint);
            }
        }
    }
    ids
}
