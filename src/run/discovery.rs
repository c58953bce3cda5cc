//! Which tests Catchpoint lists. The list is kept from run to run and fetched again on a schedule; a
//! page that fails leaves it as it is. A test that is not listed any more is collected for another
//! day: its last results may be late, and it may come back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Start;
use crate::catchpoint::error::Concerns;
use crate::catchpoint::test_list::{self, Test};
use crate::catchpoint::{CallError, Client};
use crate::config::Settings;
use crate::config::catchpoint::{ApiVersion, CatchpointSettings, NEEDS_V2, TestGroup, WantedTests};
use crate::host::Host;
use crate::run::exclusions::Exclusions;
use crate::run::purpose::Purpose;
use crate::run::report::Report;
use crate::state::{Key, Lease, Priority, Store, under_way};
use crate::time_range::seconds;

/// After so many seconds a list that failed is fetched again.
const RETRY: i64 = 3600;

/// For so many seconds a test that is not listed any more is collected.
const GONE_FOR: i64 = 24 * 3600;

const LIST_HINT: &str =
    "check the ids below `tests` in config_catchpoint.yaml, and that the API key may list tests";

/// The list as it is stored.
#[derive(Default, Serialize, Deserialize)]
struct Found {
    /// What it was asked for with.
    filter: String,
    /// When it is fetched again.
    due: i64,
    tests: Vec<Test>,
}

impl Found {
    /// Takes over a new list, and keeps what is not on it any more for a while.
    fn replace(&mut self, listed: Vec<Test>, filter: &str, report: &mut Report) {
        let ids: BTreeSet<u64> = listed.iter().map(|test| test.id).collect();
        let before: BTreeSet<u64> = self.tests.iter().map(|test| test.id).collect();
        let mut others = std::mem::replace(&mut self.tests, listed);
        // With another filter, somebody wants others.
        others.retain(|test| self.filter == filter && !ids.contains(&test.id));
        for test in &mut others {
            test.gone.get_or_insert(report.started.timestamp());
        }
        let (new, gone) = (ids.difference(&before).count(), others.len());
        if new + gone > 0 {
            let all = ids.len();
            report.notes.push(format!(
                "list of tests: {all} listed, {new} new, {gone} not listed any more"
            ));
        }
        self.tests.append(&mut others);
        filter.clone_into(&mut self.filter);
    }

    /// Drops the tests that have been away for long, and those that Catchpoint refuses since. Returns
    /// whether there are such.
    fn drop_gone(&mut self, exclusions: &Exclusions, report: &mut Report) -> bool {
        let now = report.started.timestamp();
        let before = self.tests.len();
        self.tests.retain(|test| {
            let stays = test.gone.is_none_or(|since| {
                now - since < GONE_FOR && !exclusions.was_refused(test.id, Purpose::Regular)
            });
            if !stays {
                let id = test.id;
                let note = format!("test {id} is not collected any more: it is not listed");
                report.notes.push(note);
            }
            stays
        });
        self.tests.len() < before
    }

    /// Adds the tests to those that are listed by hand, in place of what was found before.
    fn add_to(self, settings: &mut CatchpointSettings) {
        let groups = &mut settings.tests;
        groups.retain(|group| group.found.is_none());
        let by_hand: BTreeSet<u64> = settings.test_ids().collect();
        for test in self.tests {
            let found = Some((test.type_id, test.division));
            let same =
                |group: &&mut TestGroup| group.found == found && group.test_type == test.test_type;
            if by_hand.contains(&test.id) {
                continue;
            }
            match settings.tests.iter_mut().find(same) {
                Some(group) => group.ids.push(test.id),
                None => settings.tests.push(TestGroup {
                    test_type: test.test_type,
                    ids: vec![test.id],
                    found,
                }),
            }
        }
    }
}

/// Settings with the tests that an earlier run has found, if they ask for such.
pub fn with_found(host: &dyn Host, mut settings: Settings) -> Settings {
    if settings.catchpoint.wanted.is_some() {
        Store::new(host)
            .read::<Found>(Key::Tests)
            .add_to(&mut settings.catchpoint);
    }
    settings
}

/// Fetches the list if that is due, and adds its tests to the settings.
pub(super) fn discover(start: &mut Start<'_>, settings: &mut CatchpointSettings) {
    let Some(WantedTests { filter, refresh }) = settings.wanted.clone() else {
        return;
    };
    let (now, every) = (start.report.started.timestamp(), seconds(refresh));
    let mut found: Found = start.lease.store().read(Key::Tests);
    // One that is due later than that was stored by a clock that was ahead.
    let waits = now < found.due && found.due <= now + every;
    let asks = start.priority == Priority::Run && !(waits && found.filter == filter);
    if asks {
        let listed = test_list::fetch(&mut start.client, &filter);
        let listed = listed.map_err(|error| (error.to_string(), hint(&error)));
        // Everything at once is not gone, but hidden from the API key, or behind a wrong id.
        let some = |tests: Vec<Test>| match tests.is_empty() {
            true => Err(("no test matches".to_owned(), LIST_HINT.into())),
            false => Ok(tests),
        };
        let pause = match listed.and_then(some) {
            Ok(tests) => {
                found.replace(tests, &filter, &mut start.report);
                every
            }
            Err((cause, hint)) => {
                let kept = match found.tests.is_empty() {
                    true => "",
                    false => "the last complete list stays in use; ",
                };
                let hint = format!("{kept}{hint}");
                start.report.fail("list of tests", &[], &cause, hint);
                RETRY
            }
        };
        found.due = now + pause;
    }
    if found.drop_gone(&start.exclusions, &mut start.report) || asks {
        start.lease.write(Key::Tests, &found);
    }
    found.add_to(settings);
}

/// The tests that Catchpoint lists now: those that `tests` asks for, else all that the API key may see.
///
/// # Errors
/// There is no list; a status for HTTP, and why.
pub fn list(host: &dyn Host, settings: &Settings) -> Result<Vec<Test>, (u16, String)> {
    let catchpoint = &settings.catchpoint;
    if catchpoint.version == ApiVersion::V1 {
        return Err((400, NEEDS_V2.join("\n  help: ")));
    }
    let run = format!("{:016x}", host.random());
    let lease = Lease::take(host, &run, Priority::Run);
    let lease = lease.map_err(|until| (409, under_way(until)))?;
    let lease = Rc::new(lease);
    let deadline = host.now() + catchpoint.run_deadline;
    let mut client = Client::new(host, catchpoint, Rc::clone(&lease), deadline);
    let filter = catchpoint
        .wanted
        .as_ref()
        .map(|wanted| wanted.filter.as_str());
    let listed = test_list::fetch(&mut client, filter.unwrap_or_default());
    lease.release();
    listed.map_err(|error| (502, format!("{error}\n  help: {}", hint(&error))))
}

/// What to do about a list that did not come.
fn hint(error: &CallError) -> Cow<'static, str> {
    let class = error.class();
    match class.concerns {
        Concerns::Tests => LIST_HINT.into(),
        _ => class.hint.advice,
    }
}
