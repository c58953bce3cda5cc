//! The list of tests that Catchpoint has, from v2 on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::error::{CallError, Kind};
use super::{Client, Query};
use crate::config::catchpoint::TYPE_IDS;
use crate::host::body::excerpt;

/// A test as Catchpoint lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its id.
    pub id: u64,
    /// The name that a person gave it, on one line.
    pub name: String,
    /// Its type: the word for `test_ids`, else Catchpoint's own in small letters.
    pub test_type: String,
    /// The type's id at Catchpoint.
    pub type_id: Option<u64>,
    /// The division that it is in. A call is about tests of one type and one division.
    pub division: Option<u64>,
    /// The folder that it is in.
    pub folder: Option<u64>,
    /// Since which second it is not listed any more; none while it is.
    pub gone: Option<i64>,
}

impl Test {
    /// Reads a test, also in the form of [`Self::json`]; none if it has no id.
    pub fn of(item: &Value) -> Option<Self> {
        let id = |value: Option<&Value>| match value? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64(),
        };
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str);
            excerpt(text.unwrap_or_default())
        };
        let kind = item.get("testType");
        let of_kind = |key| kind.and_then(|kind| kind.get(key));
        let type_id = id(of_kind("id")).or_else(|| id(kind));
        let known = TYPE_IDS.iter().find(|(id, _)| Some(*id) == type_id);
        let test_type = match known {
            Some((_, name)) => (*name).to_owned(),
            None => text(of_kind("name")).to_ascii_lowercase(),
        };
        Some(Self {
            id: id(item.get("id")).filter(|id| *id > 0)?,
            name: text(item.get("name")),
            test_type,
            type_id,
            division: id(item.get("divisionId")),
            folder: id(item.get("folderId")),
            gone: item.get("gone").and_then(Value::as_i64),
        })
    }

    /// The test in Catchpoint's form, as far as it is known here.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "divisionId": self.division, "folderId": self.folder,
            "testType": { "id": self.type_id, "name": self.test_type }, "gone": self.gone,
        })
    }
}

/// All tests that a filter lets through, each once: the whole list or none of it.
///
/// # Errors
/// A page did not come, or a test on it cannot be read.
pub fn fetch(client: &mut Client<'_>, filter: &str) -> Result<Vec<Test>, CallError> {
    let query = Query::Tests(filter.to_owned());
    let (mut tests, mut ids, mut next) = (Vec::new(), BTreeSet::new(), None);
    loop {
        let fetched = client.fetch_page(&query, next.as_ref())?;
        for item in fetched.page.rows_text() {
            let test = serde_json::from_str(item).ok();
            let test = test.and_then(|item| Test::of(&item));
            let missing = || CallError::new(Kind::Shape, "a test of the list has no id");
            let test = test.ok_or_else(missing)?;
            // A list that changes between two pages may have a test on both.
            if ids.insert(test.id) {
                tests.push(test);
            }
        }
        if fetched.cut {
            let what = "there are more tests, but no further page can be found";
            return Err(CallError::new(Kind::Paging, what));
        }
        next = fetched.next;
        if next.is_none() {
            return Ok(tests);
        }
    }
}
