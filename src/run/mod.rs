//! One collection run, from top to bottom.
//!
//! Take the lease; then, call by call inside the API's limits: fetch, turn to lines, hand over to
//! the relay, and only when all lines of the call are on the relay's disk, move the cursors of its
//! tests. What fails is noted and costs no other call. Whatever a run does not get to is still
//! missing by its cursors, and the next run goes on from there.

pub mod backfill;
pub mod collector;
pub mod coverage;
pub mod cursors;
pub mod exclusions;
pub mod plan;
pub mod progress;
pub mod report;

use crate::catchpoint::query::Query;
use crate::config::Settings;
use crate::host::{self, Host, Level};
use crate::relay::Delivered;
use crate::run::collector::Collector;
use crate::run::coverage::Coverage;
use crate::run::plan::{EDGE, Planned, seconds};
use crate::run::report::Report;
use crate::state::{Key, State};
use crate::time_range::TimeRange;

/// Collects once, logs the report and returns it.
pub fn collect(host: &dyn Host, settings: &Settings) -> Report {
    let mut report = Report::begun(host);
    let deadline = report.started + settings.catchpoint.run_deadline;
    if let Some(run) = Collector::begin(host, settings, &mut report, deadline) {
        collect_with(run);
        report.end(host.now());
        State::new(host).write(Key::Report, &report);
    }
    let wanted = settings.catchpoint.log_level;
    host::log(host, wanted, report.level(), &report.to_string());
    report
}

/// The report of the last run that did something, as JSON, if there was one.
pub fn last_report(host: &dyn Host) -> Option<String> {
    State::new(host).text(Key::Report)
}

fn collect_with(mut run: Collector<'_>) {
    give_up_what_is_too_old(&mut run);
    run.say_refused();
    run.say_refused_ranged();
    let settings = &run.settings.catchpoint;
    // Of the second that the cursors were looked at in, or the time between would age out.
    let now = run.report.started.timestamp();
    let regular = plan::regular(settings, &run.coverages, &run.verdicts, now);
    let regular_calls = regular.len();
    for planned in regular {
        run.fetch(planned, &mut move_cursors);
    }
    judge(&mut run);
    // Of a test that is answered again after a long time, once more.
    give_up_what_is_too_old(&mut run);
    // Planned only now, because the answers have shown what is missing.
    let now = run.host.now().timestamp();
    for planned in plan::gap_fills(settings, &run.coverages, &run.verdicts, now) {
        if !run.may_spend(regular_calls) || !run.leaves_hour(regular_calls) {
            break;
        }
        run.fetch(planned, &mut move_cursors);
    }
    finish(run);
}

/// The tests that can miss something. A refused one has nothing to lose; its cursor stays where it
/// was refused, for the day on which it is answered again.
fn asked_for(run: &Collector<'_>) -> Vec<u64> {
    let configured = run.settings.catchpoint.test_ids();
    configured
        .filter(|test| !run.verdicts.is_refused(*test))
        .collect()
}

fn give_up_what_is_too_old(run: &mut Collector<'_>) {
    let max_backfill = seconds(run.settings.catchpoint.max_backfill);
    let oldest = run.report.started.timestamp() - max_backfill;
    let (mut too_old, mut lost) = (Vec::new(), 0);
    for test in asked_for(run) {
        let coverage = run.coverages.get_mut(&test);
        let of_test = coverage.map_or(0, |coverage| coverage.give_up_before(oldest));
        if of_test > 0 {
            lost += of_test;
            too_old.push(test);
        }
    }
    if lost > 0 {
        run.report.gaps.aged_out += lost;
        let cause = format!(
            "{lost} s of results, summed over the tests, are older than max_backfill_hours and lost"
        );
        let mend = "fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages";
        run.report.fail("gap", &too_old, cause, mend);
    }
}

/// All of an answer is in the relay.
///
/// What v2 brings from before the regular window was a gap, found and filled at once.
fn move_cursors(run: &mut Collector<'_>, planned: &Planned, span: TimeRange) {
    let now = run.host.now().timestamp();
    let overlap = seconds(run.settings.catchpoint.overlap);
    let due = plan::due(&run.settings.catchpoint, run.report.started.timestamp());
    for test in planned.query.tests() {
        let Some(coverage) = run.coverages.get_mut(test) else {
            continue;
        };
        let (before, was_until) = (coverage.missing(), coverage.until());
        let mut found = coverage.cover(span);
        if let Query::Explorer(..) = &planned.query {
            let late = coverage.until().min(due) - was_until;
            found += if late > EDGE { late } else { 0 };
        }
        coverage.settle(span, now, overlap);
        run.report.gaps.found += found;
        run.report.gaps.filled += before + found - coverage.missing();
        if run.verdicts.acquit(*test) {
            let line = format!("test {test} is answered again");
            let wanted = run.settings.catchpoint.log_level;
            host::log(run.host, wanted, Level::Info, &line);
        }
    }
    run.state.write(Key::Coverage, &run.coverages);
}

/// Remembers which tests were refused alone. While Catchpoint refuses everything, it is not
/// about single tests.
fn judge(run: &mut Collector<'_>) {
    let now = run.host.now().timestamp();
    if !run.collected.is_empty() {
        for (query, reason) in std::mem::take(&mut run.refused) {
            run.verdicts.refuse(&query, &reason, now);
        }
    }
    run.state.write(Key::Verdicts, &run.verdicts);
}

fn finish(mut run: Collector<'_>) {
    judge(&mut run);
    // What is between windows, and what lies between a cursor and the window before this run.
    let due = plan::due(&run.settings.catchpoint, run.report.started.timestamp());
    let open = |coverage: &Coverage| coverage.missing() + (due - coverage.until()).max(0);
    let tests = asked_for(&run);
    let coverages = tests.iter().filter_map(|test| run.coverages.get(test));
    let missing: Vec<i64> = coverages.map(open).collect();
    let gaps = &mut run.report.gaps;
    gaps.open = missing.iter().sum();
    gaps.tests = missing.iter().filter(|seconds| **seconds > EDGE).count() as u64;
    run.close();
    let settings = run.settings;
    if let (Some(prefix), false) = (&settings.graphite.self_metrics_prefix, run.relay_failed) {
        let mut delivered = Delivered::default();
        let posted = run.relay.post(&run.report.lines(prefix), &mut delivered);
        run.count_rejected(&delivered);
        if let Err(error) = posted {
            let what = "hand-over of the run's own figures";
            run.report.fail(what, &[], error.to_string(), error.hint());
        }
    }
    run.state.write(Key::Coverage, &run.coverages);
    run.release();
}
