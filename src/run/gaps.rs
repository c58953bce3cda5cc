//! What is missing, what is lost, and which tests are skipped: noted in the report.

use super::Run;
use crate::catchpoint::error::{RANGED_HINT, REFUSED_HINT};
use crate::config::catchpoint::ApiVersion;
use crate::run::call::Purpose;
use crate::run::coverage::{Coverage, GAP_TOLERANCE};
use crate::run::exclusions::Exclusion;
use crate::run::plan;
use crate::run::report::{Excluded, time};
use crate::state::Key;
use crate::time_range::{TimeRange, seconds};

impl Run<'_> {
    /// The tests that can miss something. A refused one has nothing to lose; its coverage stays where
    /// it was refused, for the day on which it is answered again.
    pub(super) fn asked_for(&self) -> Vec<u64> {
        let configured = self.settings.catchpoint.test_ids();
        configured
            .filter(|test| !self.exclusions.is_refused(*test))
            .collect()
    }

    pub(super) fn give_up_what_is_too_old(&mut self) {
        let max_backfill = seconds(self.settings.catchpoint.max_backfill);
        let oldest = self.report.started.timestamp() - max_backfill;
        for test in self.asked_for() {
            let coverage = self.coverages.get_mut(&test);
            let lost = coverage.map_or(0, |coverage| coverage.give_up_before(oldest));
            if lost > 0 {
                self.lose(
                    test,
                    lost,
                    "results are older than max_backfill_hours and lost",
                );
            }
        }
    }

    /// Notes that seconds of a test are lost.
    pub(super) fn lose(&mut self, test: u64, seconds: i64, cause: &str) {
        self.report.gaps.aged_out += seconds;
        let hint = "fetch them with `backfill` if Catchpoint still has them; raise max_backfill_hours for longer outages";
        self.report.fail("gap", &[test], cause.to_owned(), hint);
    }

    /// What is missing between windows, and between a test's coverage and the window before this run.
    pub(super) fn measure_gaps(&mut self) {
        let expected =
            plan::expected_through(&self.settings.catchpoint, self.report.started.timestamp());
        let late = |coverage: &Coverage| (expected - coverage.until()).max(0);
        let (mut open, mut tests) = (0, 0);
        for test in self.asked_for() {
            if let Some(coverage) = self.coverages.get(&test) {
                open += coverage.missing() + late(coverage);
                tests += u64::from(coverage.longest_gap().max(late(coverage)) > GAP_TOLERANCE);
            }
        }
        self.report.gaps.open = open;
        self.report.gaps.tests = tests;
    }

    /// Notes which tests are skipped, and for which no gap is filled.
    pub(super) fn report_refused(&mut self) {
        let now = self.host.now().timestamp();
        let (settings, exclusions) = (self.settings, &self.exclusions);
        let mut skipped = |calls: &str, test: Option<u64>, exclusion: &Exclusion| {
            let reason = exclusion.reason.clone().unwrap_or_default();
            let (since, until) = (time(exclusion.since), time(exclusion.until));
            let cause = format!(
                "skipped until {}, refused since {}: {reason}",
                until.format("%Y-%m-%d %H:%M UTC"),
                since.format("%Y-%m-%d %H:%M UTC")
            );
            let (what, hint) = match (calls, settings.catchpoint.version) {
                ("all", _) => ("calls", REFUSED_HINT),
                (_, ApiVersion::V1) => ("gap filling", RANGED_HINT),
                _ => ("gap filling", REFUSED_HINT),
            };
            let tests: Vec<u64> = test.into_iter().collect();
            self.report.fail(what, &tests, cause, hint);
            self.report.excluded.extend(test.map(|test| Excluded {
                test,
                calls: calls.to_owned(),
                since,
                until,
                reason,
            }));
        };
        for test in settings.catchpoint.test_ids() {
            if let Some(exclusion) = exclusions.refused(test, Purpose::Regular, now) {
                skipped("all", Some(test), exclusion);
            } else if let Some(exclusion) = exclusions.refused(test, Purpose::Gap, now) {
                skipped("gaps", Some(test), exclusion);
            }
        }
        if let Some(exclusion) = exclusions.refused_past(now) {
            skipped("gaps", None, exclusion);
        }
        let of_all = self.report.excluded.iter();
        self.report.tests.excluded =
            of_all.filter(|excluded| excluded.calls == "all").count() as u64;
    }

    /// Remembers which tests were refused alone. While Catchpoint refuses everything, it is not about
    /// single tests.
    pub(super) fn record_refusals(&mut self) {
        let refusals = std::mem::take(&mut self.refusals);
        if refusals.is_empty() || self.dry_run.is_some() {
            return;
        }
        if !self.answers() {
            self.refusals = refusals;
            return;
        }
        let now = self.host.now().timestamp();
        self.exclusions
            .record_refusals(refusals, self.past_answered, now);
        self.lease.write(Key::Exclusions, &self.exclusions);
    }

    /// A test that Catchpoint refuses has no past time either.
    pub(super) fn leave_out_refused(&mut self) {
        let all = TimeRange {
            from: i64::MIN,
            to: i64::MAX,
        };
        let tests: Vec<u64> = self.settings.catchpoint.test_ids().collect();
        for test in tests {
            let coverage = self.coverages.get_mut(&test);
            let coverage = coverage.filter(|coverage| coverage.requested_in(all) > 0);
            if let (Some(coverage), true) = (coverage, self.exclusions.is_refused(test)) {
                coverage.cancel(all);
                let cause = "left out: Catchpoint refuses this test".to_owned();
                self.report.fail("backfill", &[test], cause, REFUSED_HINT);
            }
        }
    }

    /// Whether Catchpoint answers calls, so that a refusal is about a test.
    pub(super) fn answers(&self) -> bool {
        self.answers || !self.collected.is_empty()
    }
}
