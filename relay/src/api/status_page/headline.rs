//! The state of the relay in one sentence, and what to do about it.

use super::figures::{counted, duration};
use crate::api::status::{Carbon, Report};

/// A collector runs every 15 minutes by default; silence of three runs is worth a look.
const SILENCE: u64 = 45 * 60;
/// What waits longer than this is a backlog.
const BACKLOG: u64 = 10;

/// The state in one sentence.
#[derive(Debug)]
pub struct Headline {
    /// How good it is, as a class of the style: `good`; `idle` where nothing is wrong and nothing flows
    /// yet; `warn`; `bad` where data does not flow.
    pub level: &'static str,
    /// What is so.
    pub title: &'static str,
    /// What that means, and what to do.
    pub advice: String,
}

/// The state of a relay where so many lines wait for carbon and so many are confirmed a minute, and that
/// has got none for `silence` seconds, if any since its start. The worst is said first.
pub fn headline(
    report: &Report,
    waiting: u64,
    confirmed_a_minute: u64,
    silence: Option<u64>,
) -> Headline {
    let age = report.spool_oldest_age_seconds;
    let (lines, wait) = (counted(waiting, "line"), duration(age));
    let (level, title, advice) = if report.starting {
        let advice = "It opens its spool. Senders are told to post again later. Nothing to do.";
        ("idle", "The relay is starting", advice.to_owned())
    } else if report.draining {
        let advice = "It sends what is in its spool. What is left is sent after the next start.";
        ("idle", "The relay is stopping", advice.to_owned())
    } else if !report.spool_writable {
        let advice = "Senders are told to post again later. Make room on the disk of the spool, or \
                      repair it: the relay goes on by itself.";
        ("bad", "The disk does not take data", advice.to_owned())
    } else if !report.ready {
        let advice =
            "Senders are told to post again later. Bring carbon back, or raise spool_max_bytes.";
        ("bad", "The spool is full", advice.to_owned())
    } else if report.carbon == Carbon::Down {
        let advice = format!(
            "Waiting on the disk: {lines}, the oldest for {wait}. Nothing is lost: all are sent when \
             carbon is back. Check that carbon runs, and that carbon_server and carbon_port name its \
             plaintext listener."
        );
        ("bad", "Carbon does not take data", advice)
    } else if report.carbon == Carbon::Unknown {
        let advice = "It is being tried. If this stays, see the relay's log: something may accept \
                      connections that is not carbon's plaintext listener.";
        (
            "idle",
            "Carbon has not confirmed anything yet",
            advice.to_owned(),
        )
    } else if waiting > 0 && age >= BACKLOG {
        let seconds = waiting.saturating_mul(60).checked_div(confirmed_a_minute);
        let left = seconds.map(|seconds| {
            let left = duration(seconds);
            format!(" At the present rate this takes about {left}.")
        });
        let left = left.unwrap_or_default();
        let advice = format!(
            "Still to be sent: {lines}, the oldest of {wait} ago.{left} The newest results come last. \
             Nothing to do, unless the backlog grows: then carbon is too slow."
        );
        ("warn", "Data is flowing, a backlog first", advice)
    } else if let Some(seconds) = silence {
        let silence = duration(seconds);
        if seconds < SILENCE {
            let advice = format!("The last lines came {silence} ago, and carbon takes them.");
            ("good", "Data is flowing", advice)
        } else {
            let advice = format!(
                "The last lines came {silence} ago. Check that the collector runs: see its log, or \
                 run `catchpoint-graphite check --online`."
            );
            ("warn", "No data comes", advice)
        }
    } else {
        let advice = "A collector posts after its next run. If none comes, check that it runs and that \
                      its relay_url and relay_token are right.";
        (
            "idle",
            "No data has come since the start",
            advice.to_owned(),
        )
    };
    Headline {
        level,
        title,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_said_first() {
        let mut report = Report {
            ready: true,
            spool_writable: true,
            carbon: Carbon::Up,
            ..Report::default()
        };
        let check = |report: &Report, waiting, silence, level, title| {
            let is = headline(report, waiting, 1000, silence);
            assert_eq!((is.level, is.title), (level, title), "{report:?}");
        };
        check(&report, 0, Some(60), "good", "Data is flowing");
        check(&report, 0, Some(3600), "warn", "No data comes");
        let title = "No data has come since the start";
        check(&report, 0, None, "idle", title);
        report.spool_oldest_age_seconds = 7200;
        let title = "Data is flowing, a backlog first";
        check(&report, 9000, Some(60), "warn", title);
        let advice = headline(&report, 9000, 1000, None).advice;
        assert!(advice.contains("9,000 lines, the oldest of 2 h 0 min ago. At the present rate this takes about 9 min."), "{advice}");
        assert!(!headline(&report, 9000, 0, None).advice.contains("rate"));
        report.carbon = Carbon::Unknown;
        let title = "Carbon has not confirmed anything yet";
        check(&report, 9000, Some(60), "idle", title);
        report.carbon = Carbon::Down;
        let title = "Carbon does not take data";
        check(&report, 9000, Some(60), "bad", title);
        report.ready = false;
        check(&report, 9000, Some(60), "bad", "The spool is full");
        report.spool_writable = false;
        let title = "The disk does not take data";
        check(&report, 9000, Some(60), "bad", title);
        report.draining = true;
        check(&report, 9000, Some(60), "idle", "The relay is stopping");
        report.starting = true;
        check(&report, 9000, Some(60), "idle", "The relay is starting");
    }
}
