//! The state of the relay in one sentence, and what to do about it.

use super::figures::{counted, duration};
use crate::api::status::{Carbon, Report};

/// A collector runs every 15 minutes by default; silence of three runs is worth a look.
const SILENCE: u64 = 45 * 60;
/// What waits longer than this is a backlog.
const BACKLOG: u64 = 10;

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// Data flows.
    Good,
    /// Nothing is wrong, and nothing flows yet.
    Idle,
    /// Somebody should look at it.
    Warn,
    /// Data does not flow.
    Bad,
}

/// What a verdict is made of.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The relay's state.
    pub report: Report,
    /// Lines that wait for carbon.
    pub waiting: u64,
    /// Lines that carbon confirms in a minute.
    pub confirmed_a_minute: u64,
    /// Seconds since lines were stored, if any were since the start.
    pub silent_for: Option<u64>,
}

/// How good it is, what is so, and what that means and what to do. The worst is said first.
pub fn verdict(facts: &Facts) -> (Level, &'static str, String) {
    let Facts {
        report, waiting, ..
    } = facts;
    let age = report.spool_oldest_age_seconds;
    let (lines, wait) = (counted(*waiting, "line"), duration(age));
    if report.starting {
        let advice = "It opens its spool. Senders are told to post again later. Nothing to do.";
        (Level::Idle, "The relay is starting", advice.to_owned())
    } else if report.draining {
        let advice = "It sends what is in its spool. What is left is sent after the next start.";
        (Level::Idle, "The relay is stopping", advice.to_owned())
    } else if !report.spool_writable {
        let advice = "Senders are told to post again later. Make room on the disk of the spool, or \
                      repair it: the relay goes on by itself.";
        (Level::Bad, "The disk does not take data", advice.to_owned())
    } else if !report.ready {
        let advice =
            "Senders are told to post again later. Bring carbon back, or raise spool_max_bytes.";
        (Level::Bad, "The spool is full", advice.to_owned())
    } else if report.carbon == Carbon::Down {
        let advice = format!(
            "Waiting on the disk: {lines}, the oldest for {wait}. Nothing is lost: all are sent when \
             carbon is back. Check that carbon runs, and that carbon_server and carbon_port name its \
             plaintext listener."
        );
        (Level::Bad, "Carbon does not take data", advice)
    } else if *waiting > 0 && age >= BACKLOG {
        let seconds = waiting
            .saturating_mul(60)
            .checked_div(facts.confirmed_a_minute);
        let left = seconds.map_or_else(String::new, |seconds| {
            format!(
                " At the present rate this takes about {}.",
                duration(seconds)
            )
        });
        let advice = format!(
            "Still to be sent: {lines}, the oldest of {wait} ago.{left} The newest results come last. \
             Nothing to do, unless the backlog grows: then carbon is too slow."
        );
        (Level::Warn, "Data is flowing, a backlog first", advice)
    } else if let Some(seconds) = facts.silent_for {
        let silence = duration(seconds);
        if seconds < SILENCE {
            let advice = format!("The last lines came {silence} ago, and carbon takes them.");
            (Level::Good, "Data is flowing", advice)
        } else {
            let advice = format!(
                "The last lines came {silence} ago. Check that the collector runs: see its log, or \
                 run `catchpoint-graphite check --online`."
            );
            (Level::Warn, "No data comes", advice)
        }
    } else {
        let advice = "A collector posts after its next run. If none comes, check that it runs and that \
                      its relay_url and relay_token are right.";
        (
            Level::Idle,
            "No data has come since the start",
            advice.to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            report: Report {
                ready: true,
                spool_writable: true,
                carbon: Carbon::Up,
                ..Report::default()
            },
            silent_for: Some(60),
            ..Facts::default()
        }
    }

    fn check(change: impl FnOnce(&mut Facts), level: Level, title: &str) {
        let mut facts = well();
        change(&mut facts);
        let (is_level, is_title, _) = verdict(&facts);
        assert_eq!((is_level, is_title), (level, title), "{facts:?}");
    }

    #[test]
    fn the_worst_is_said_first() {
        check(|_| {}, Level::Good, "Data is flowing");
        check(
            |facts| facts.silent_for = Some(3600),
            Level::Warn,
            "No data comes",
        );
        check(
            |facts| facts.silent_for = None,
            Level::Idle,
            "No data has come since the start",
        );
        let backlog = |facts: &mut Facts| {
            (facts.waiting, facts.confirmed_a_minute) = (9000, 1000);
            facts.report.spool_oldest_age_seconds = 7200;
        };
        check(backlog, Level::Warn, "Data is flowing, a backlog first");
        let down = |facts: &mut Facts| {
            backlog(facts);
            facts.report.carbon = Carbon::Down;
        };
        check(down, Level::Bad, "Carbon does not take data");
        let full = |facts: &mut Facts| {
            down(facts);
            facts.report.ready = false;
        };
        check(full, Level::Bad, "The spool is full");
        let broken = |facts: &mut Facts| {
            full(facts);
            facts.report.spool_writable = false;
        };
        check(broken, Level::Bad, "The disk does not take data");
        let stopping = |facts: &mut Facts| facts.report.draining = true;
        check(stopping, Level::Idle, "The relay is stopping");
        let starting = |facts: &mut Facts| facts.report = Report::starting();
        check(starting, Level::Idle, "The relay is starting");
    }

    #[test]
    fn a_backlog_says_how_long_it_takes() {
        let mut facts = well();
        (facts.waiting, facts.confirmed_a_minute) = (9000, 1000);
        facts.report.spool_oldest_age_seconds = 7200;
        let (_, _, advice) = verdict(&facts);
        assert!(
            advice.starts_with("Still to be sent: 9,000 lines, the oldest of 2 h 0 min ago. At the present rate this takes about 9 min. The"),
            "{advice}"
        );
        facts.confirmed_a_minute = 0;
        assert!(!verdict(&facts).2.contains("present rate"));
    }
}
