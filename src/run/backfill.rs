//! Fills a span of time that lies back, piece by piece.
//!
//! A piece does what fits between two runs and into the budget: it ends before the next run is due,
//! and leaves the day's and the hour's calls that the runs need. It remembers how far it has come
//! after each call, so that the next piece goes on from there, whatever became of this one. The
//! cursors of the runs stay where they are, but what a backfill fetches is no gap any more.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::error::{Kind, REFUSED_HINT};
use crate::config::Settings;
use crate::host::{self, Host, Level};
use crate::run::collector::Collector;
use crate::run::exclusions::Verdicts;
use crate::run::plan::{self, Planned};
use crate::run::progress::Progress;
use crate::run::report::Report;
use crate::state::{Key, State};
use crate::time_range::TimeRange;

/// How long before the next run is due a piece must have ended.
const BEFORE_RUN: TimeDelta = TimeDelta::seconds(10);

/// How long after a run was due the next piece may come: the run goes first.
const AFTER_RUN: TimeDelta = TimeDelta::seconds(10);

/// So long before its end a piece begins no more calls.
const LAST_CALL: TimeDelta = TimeDelta::seconds(30);

/// How long to wait for a run that is under way.
const WHILE_RUNNING: TimeDelta = TimeDelta::seconds(15);

/// Most backfills whose progress is remembered; the one that was begun first is forgotten first.
const MOST_REMEMBERED: usize = 16;

/// What a piece has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Piece {
    /// Up to here every test is filled that Catchpoint does not refuse.
    pub done_until: Option<DateTime<Utc>>,
    /// How many calls the whole backfill takes.
    pub total: u64,
    /// How many of them are done.
    pub done: u64,
    /// Nothing is left but refused tests, which are among the report's failures.
    pub finished: bool,
    /// When to ask for the next piece; none if it is finished, or if something must be mended first.
    pub continue_at: Option<DateTime<Utc>>,
    /// What the piece waits for: `run`, or the calls of the `minute`, `hour` or `day`.
    pub waits_for: Option<&'static str>,
    /// What this piece did.
    pub report: Report,
}

/// Why a piece has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it is done, or what is left has failed.
    Through,
    /// Its time was up.
    Time,
    /// A limit is used up until then, which is longer than the piece was to take.
    Limit(DateTime<Utc>),
    /// A run is due, or under way.
    Run,
    /// The runs need what is left of the hour's calls.
    Hour,
    /// The runs need what is left of the day's calls.
    Day,
}

impl End {
    /// When to go on, and what is waited for.
    fn next(
        self,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> (Option<DateTime<Utc>>, Option<&'static str>) {
        let after_run = plan::next_run(&settings.catchpoint, now) + AFTER_RUN;
        match self {
            Self::Through => (None, None),
            Self::Time => (Some(now), None),
            Self::Limit(until) => (Some(until), Some("minute")),
            Self::Run => (Some(after_run), Some("run")),
            Self::Hour => (Some(after_run), Some("hour")),
            Self::Day => (Some(midnight_after(now) + AFTER_RUN), Some("day")),
        }
    }
}

/// Does the next piece of the backfill of a span, logs and returns what it did. After `at_most` it
/// begins no call, unless one has failed.
pub fn fill(
    host: &dyn Host,
    settings: &Settings,
    span: TimeRange,
    at_most: Option<TimeDelta>,
) -> Piece {
    let mut report = Report::begun(host);
    let deadline = deadline(settings, report.started);
    // Read only with the lease, or another piece's progress would be written over.
    let mut piece = match Collector::begin(host, settings, &mut report, deadline) {
        Some(collector) => {
            let mut backfill = Backfill::read(settings, span, at_most, &collector.state);
            backfill.go_on(collector, deadline)
        }
        None => {
            let state = State::new(host);
            let backfill = Backfill::read(settings, span, at_most, &state);
            let mut piece = backfill.piece(&state.read(Key::Verdicts), host.now(), End::Run);
            piece.continue_at = Some(host.now() + WHILE_RUNNING);
            piece
        }
    };
    report.end(host.now());
    let line = format!(
        "backfill from {} to {}: {} of {} calls done; {report}",
        time(span.from).to_rfc3339_opts(SecondsFormat::Secs, true),
        time(span.to).to_rfc3339_opts(SecondsFormat::Secs, true),
        piece.done,
        piece.total,
    );
    // Short pieces are many, and whoever asks for them shows how far it is.
    if at_most.is_none() || report.level() > Level::Info {
        let wanted = settings.catchpoint.log_level;
        host::log(host, wanted, report.level(), &line);
    }
    piece.report = report;
    piece
}

/// A backfill under way.
struct Backfill<'s> {
    settings: &'s Settings,
    at_most: Option<TimeDelta>,
    progress: Progress,
    /// Other backfills that are under way.
    others: Vec<Progress>,
}

impl<'s> Backfill<'s> {
    /// As far as the store knows.
    fn read(
        settings: &'s Settings,
        span: TimeRange,
        at_most: Option<TimeDelta>,
        state: &State<'_>,
    ) -> Self {
        let mut remembered: Vec<Progress> = state.read(Key::Backfills);
        let known = remembered.iter().position(|known| known.span == span);
        let progress = known.map(|at| remembered.remove(at));
        Self {
            settings,
            at_most,
            progress: progress.unwrap_or_else(|| Progress::new(span)),
            others: remembered,
        }
    }

    fn go_on(&mut self, mut collector: Collector<'_>, deadline: DateTime<Utc>) -> Piece {
        let (host, catchpoint) = (collector.host, &self.settings.catchpoint);
        let now = host.now().timestamp();
        if self
            .progress
            .calls_left(catchpoint, &collector.verdicts, now)
            == 0
        {
            self.progress.pardon();
        }
        collector.patient = true;
        collector.say_refused();
        for (test, reason) in self.progress.refused() {
            let report = &mut *collector.report;
            report.fail("backfill", &[*test], reason.clone(), REFUSED_HINT);
        }
        let end = self.make_calls(&mut collector, deadline);
        // While Catchpoint refuses everything, it is not about single tests.
        if self.progress.has_begun() {
            for (query, reason) in std::mem::take(&mut collector.refused) {
                for test in query.tests() {
                    self.progress.refuse(*test, reason.clone());
                }
            }
        }
        let now = host.now();
        let piece = self.piece(&collector.verdicts, now, end);
        let refused = |test| collector.verdicts.refused(test, now.timestamp()).is_some();
        let whole = self.progress.refused().is_empty() && !catchpoint.test_ids().any(refused);
        self.remember(&collector.state, !(piece.finished && whole));
        // Which tests do not go together with others was found out for the runs too.
        collector.state.write(Key::Verdicts, &collector.verdicts);
        collector.close();
        collector.release();
        piece
    }

    /// Makes calls while there are any, and while they may be made.
    fn make_calls(&mut self, collector: &mut Collector<'_>, deadline: DateTime<Utc>) -> End {
        let (host, catchpoint) = (collector.host, &self.settings.catchpoint);
        let half = TimeDelta::from_std(catchpoint.run_deadline / 2).unwrap_or(LAST_CALL);
        let last_call = deadline - LAST_CALL.min(half);
        let enough = self.at_most.map(|most| collector.report.started + most);
        let now = host.now().timestamp();
        let of_a_run =
            plan::regular(catchpoint, &collector.coverages, &collector.verdicts, now).len();
        // A test that has failed waits for the next piece.
        let mut failed = BTreeSet::new();
        loop {
            let now = host.now();
            let next =
                self.progress
                    .next(catchpoint, &collector.verdicts, now.timestamp(), |test| {
                        failed.contains(&test)
                    });
            let Some(planned) = next else {
                return End::Through;
            };
            if now >= last_call {
                return self.out_of_time(deadline, now);
            }
            // After a failure it goes on, or the next piece would begin with the same one for ever.
            if failed.is_empty() && enough.is_some_and(|enough| now >= enough) {
                return End::Time;
            }
            if let (Some(enough), Some(free)) = (enough, collector.next_call())
                && free > enough
            {
                return End::Limit(free);
            }
            if !collector.may_spend(of_a_run) {
                return End::Day;
            }
            if !collector.leaves_hour(of_a_run) {
                return End::Hour;
            }
            let before: Vec<(u64, i64)> = planned
                .query
                .tests()
                .iter()
                .map(|test| (*test, self.progress.until(*test)))
                .collect();
            collector.fetch(planned, &mut |collector, planned, span| {
                self.keep(collector, planned, span);
            });
            let unfilled = before
                .into_iter()
                .filter(|(test, until)| self.progress.until(*test) == *until);
            failed.extend(unfilled.map(|(test, _)| test));
            match &collector.spent {
                Some(error) if error.kind == Kind::DayQuota => return End::Day,
                Some(error) => match error.limit {
                    Some(("per_day", _)) => return End::Day,
                    Some(("per_hour", _)) => return End::Hour,
                    Some((_, until)) if until > deadline => return End::Limit(until),
                    _ => return self.out_of_time(deadline, host.now()),
                },
                None if collector.over => return End::Through,
                None => {}
            }
        }
    }

    /// All of an answer is in the relay: a gap that it fills is none any more.
    fn keep(&mut self, collector: &mut Collector<'_>, planned: &Planned, span: TimeRange) {
        let mut filled = 0;
        for test in planned.query.tests() {
            if let Some(coverage) = collector.coverages.get_mut(test) {
                let before = coverage.missing();
                coverage.cover(TimeRange {
                    from: span.from,
                    to: span.to.min(coverage.until()),
                });
                filled += before - coverage.missing();
            }
        }
        if filled > 0 {
            collector.report.gaps.filled += filled;
            collector.state.write(Key::Coverage, &collector.coverages);
        }
        self.progress.fill(&planned.query, span);
        self.remember(&collector.state, true);
    }

    /// Writes the progress of all backfills; of this one only while it is of use.
    fn remember(&self, state: &State<'_>, this: bool) {
        let this = this.then_some(&self.progress);
        let forgotten = (self.others.len() + 1).saturating_sub(MOST_REMEMBERED);
        let others = self.others.iter().skip(forgotten);
        let all: Vec<&Progress> = others.chain(this).collect();
        state.write(Key::Backfills, &all);
    }

    fn out_of_time(&self, deadline: DateTime<Utc>, now: DateTime<Utc>) -> End {
        if deadline + BEFORE_RUN >= plan::next_run(&self.settings.catchpoint, now) {
            End::Run
        } else {
            End::Time
        }
    }

    /// How far it is, before the report is written.
    fn piece(&self, verdicts: &Verdicts, now: DateTime<Utc>, end: End) -> Piece {
        let catchpoint = &self.settings.catchpoint;
        let second = now.timestamp();
        let total = self.progress.calls_in_all(catchpoint, verdicts, second);
        let left = self.progress.calls_left(catchpoint, verdicts, second);
        let done_until = self.progress.done_until(catchpoint, verdicts, second);
        let (continue_at, waits_for) = if left == 0 {
            (None, None)
        } else {
            end.next(self.settings, now)
        };
        Piece {
            done_until: done_until.map(time),
            total,
            done: total.saturating_sub(left),
            finished: left == 0,
            continue_at,
            waits_for,
            report: Report::default(),
        }
    }
}

/// When a piece that begins now must have ended.
fn deadline(settings: &Settings, now: DateTime<Utc>) -> DateTime<Utc> {
    (now + settings.catchpoint.run_deadline)
        .min(plan::next_run(&settings.catchpoint, now) - BEFORE_RUN)
}

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or_default()
}
