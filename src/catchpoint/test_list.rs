//! The list of tests that Catchpoint has, from v2 on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::{CallError, Kind};
use super::lenient::{Json, fields, text, whole_number};
use super::{Client, Query};
use crate::config::catchpoint::TYPE_IDS;
use crate::host::body::excerpt;

/// A test as Catchpoint lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Reads a test of the list; none if it has no id.
    fn read(item: Json<'_>) -> Option<Self> {
        let names = ["id", "name", "testType", "divisionId", "folderId"];
        let [id, name, kind, division, folder] = fields(item, names)?;
        let line = |json| excerpt(&text(json).unwrap_or_default());
        let [kind_id, kind_name] = kind
            .and_then(|kind| fields(kind, ["id", "name"]))
            .unwrap_or_default();
        let type_id = whole_number(kind_id).or_else(|| whole_number(kind));
        let known = TYPE_IDS.iter().find(|(id, _)| Some(*id) == type_id);
        Some(Self {
            id: whole_number(id).filter(|id| *id > 0)?,
            name: line(name),
            test_type: match known {
                Some((_, name)) => (*name).to_owned(),
                None => line(kind_name).to_ascii_lowercase(),
            },
            type_id,
            division: whole_number(division),
            folder: whole_number(folder),
            gone: None,
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
            let missing = || CallError::new(Kind::Shape, "a test of the list has no id");
            let test = Test::read(Json(item)).ok_or_else(missing)?;
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
