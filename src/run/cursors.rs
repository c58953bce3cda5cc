//! The cursors as a run finds them: read from the store, and set anew where they cannot be believed.

use std::collections::BTreeSet;

use crate::catchpoint::query::WINDOW;
use crate::config::catchpoint::{ApiVersion, CatchpointSettings};
use crate::host::Level;
use crate::run::coverage::Coverage;
use crate::run::plan::{Coverages, EDGE, seconds};
use crate::run::report::Report;
use crate::state::{Key, State};

/// Reads the cursors. Afterwards each configured test has one and it is in the store, so that what
/// is not fetched from now on is missing by it, whatever becomes of the run.
pub fn read(state: &State<'_>, settings: &CatchpointSettings, report: &mut Report) -> Coverages {
    let now = report.started.timestamp();
    let oldest = now - seconds(settings.max_backfill);
    let mut begin = match settings.version {
        // LastRaw brings what lies before as well. Half an edge is for a clock that is ahead.
        ApiVersion::V1 => now - EDGE / 2,
        ApiVersion::Explorer(_) => now - WINDOW,
    };
    let mut coverages: Coverages = match state.find(Key::Coverage) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            begin = oldest;
            let then = "everything back to max_backfill_hours is fetched again";
            state.damaged(Level::Error, Key::Coverage, &error, then);
            Coverages::new()
        }
    };
    let configured: BTreeSet<u64> = settings.test_ids().collect();
    // Another configuration, or a former one, may go on with the others.
    coverages.retain(|test, coverage| configured.contains(test) || coverage.until() > oldest);
    let mut ahead = Vec::new();
    let mut anew = false;
    for (test, coverage) in &mut coverages {
        if coverage.until() > now + EDGE {
            *coverage = Coverage::starting(oldest);
            ahead.push(*test);
        }
    }
    if !ahead.is_empty() {
        report.fail(
            "cursor",
            &ahead,
            "it was ahead of the clock, which must have been wrong".to_owned(),
            "nothing is lost: everything back to max_backfill_hours is fetched again; have the clock set by NTP",
        );
    }
    for test in configured {
        coverages.entry(test).or_insert_with(|| {
            anew = true;
            Coverage::starting(begin)
        });
    }
    if anew || !ahead.is_empty() {
        state.write(Key::Coverage, &coverages);
    }
    coverages
}
