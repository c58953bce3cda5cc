//! What limits leave for calls that are not regular, and when a backfill continues.

use chrono::{DateTime, TimeDelta, Utc};

use super::{AFTER_RUN, Run};
use crate::catchpoint::CallError;
use crate::catchpoint::budget::midnight_after;
use crate::catchpoint::error::Kind;
use crate::run::plan;

impl Run<'_> {
    /// Whether limits allow a call that is not regular: what the runs of the day and of the next
    /// hour need comes first.
    pub(super) fn may_spend(&mut self) -> bool {
        !self.stopped && self.leaves_day() && self.leaves_hour()
    }

    pub(super) fn calls_per_run(&self) -> u64 {
        let now = self.host.now().timestamp();
        plan::announce(&self.settings.catchpoint, &self.exclusions, now).per_run
    }

    pub(super) fn leaves_day(&mut self) -> bool {
        let now = self.host.now();
        let left_of_day = (midnight_after(now) - now).to_std().unwrap_or_default();
        let every = self.settings.catchpoint.run_every.as_secs().max(1);
        let reserved = (left_of_day.as_secs() / every).saturating_mul(self.calls_per_run());
        u64::from(self.client.left_today()) > reserved
    }

    pub(super) fn leaves_hour(&mut self) -> bool {
        let next = plan::next_run(&self.settings.catchpoint, self.last_run, self.host.now());
        let calls = usize::try_from(self.calls_per_run()).unwrap_or(usize::MAX);
        self.client.leaves_hour(next, calls)
    }

    /// When a backfill continues, and what it waits for.
    pub(super) fn continue_at(&mut self) -> (Option<DateTime<Utc>>, Option<&'static str>) {
        let now = self.host.now();
        let next_run = plan::next_run(&self.settings.catchpoint, self.last_run, now) + AFTER_RUN;
        if let Some(error) = &self.exhausted {
            let until = error.limit.map_or(next_run, |(_, until)| until);
            return (Some(until), Some(waits_for(error)));
        }
        if self.stopped {
            return (None, None);
        }
        if !self.leaves_day() {
            return (Some(midnight_after(now) + AFTER_RUN), Some("day"));
        }
        if !self.leaves_hour() {
            return (Some(next_run), Some("hour"));
        }
        if self.lease.is_awaited() {
            return (Some(now + AFTER_RUN), Some("run"));
        }
        match (
            self.client.next_call(),
            self.plan().next_requested(&self.failed),
        ) {
            (_, None) => (None, None),
            (Some(until), _) if until > now + TimeDelta::seconds(2) => {
                (Some(until), Some("minute"))
            }
            _ => (Some(now), None),
        }
    }
}

/// What a backfill waits for when a limit is used up.
fn waits_for(error: &CallError) -> &'static str {
    match (error.kind, error.limit) {
        (Kind::DayQuota, _) | (_, Some(("per_day", _))) => "day",
        (_, Some(("per_hour", _))) => "hour",
        (Kind::NoTime, _) => "run",
        _ => "minute",
    }
}
