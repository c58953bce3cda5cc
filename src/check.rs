//! What a configuration means, in words: what is collected, how many calls that takes, where it
//! goes.

use std::fmt::Write;

use crate::config::Settings;
use crate::config::catchpoint::ApiVersion;
use crate::run::plan;

/// The words, or why the schedule cannot work. `allowed` is what the host lets through to
/// Catchpoint, if it tells.
///
/// # Errors
/// The calls of the schedule do not fit the API's limits; the text says which and what to change.
pub fn check(settings: &Settings, allowed: Option<&str>) -> Result<String, String> {
    let catchpoint = &settings.catchpoint;
    let calls = plan::calls_per_run(catchpoint);
    let minutes = catchpoint.run_every.as_secs().div_ceil(60).max(1);
    let runs = 1440u64.div_ceil(minutes);
    let sweeps = plan::sweeps_per_day(catchpoint);
    let day = calls * runs + sweeps;
    let limits = &catchpoint.limits;
    // At `per_minute` calls a minute, the last call of a run begins this late.
    let shortest = calls.saturating_sub(1) / u64::from(limits.per_minute) * 60;
    let tests: usize = catchpoint.tests.iter().map(|group| group.ids.len()).sum();
    let mut text = String::new();
    // Writing into a String does not fail.
    let mut say = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    let version = catchpoint.version.as_str();
    say(format!(
        "Catchpoint   {} API {version}",
        catchpoint.origin()
    ));
    say(format!(
        "tests        {} of {}, up to {} in a call",
        count(tests as u64, "test"),
        count(catchpoint.tests.len() as u64, "type"),
        catchpoint.batch_size
    ));
    for group in &catchpoint.tests {
        let batches = group.ids.len().div_ceil(catchpoint.batch_size);
        say(format!(
            "             {:<12} tests {:>4}, calls {:>3}",
            group.test_type,
            group.ids.len(),
            batches
        ));
    }
    say(format!(
        "schedule     every {} by run_every_minutes; the trigger in spin.toml must say the same",
        count(minutes, "minute")
    ));
    say(format!(
        "calls        {} a run (at most {} a minute); {day} a day (at most {})",
        count(calls, "call"),
        limits.per_minute,
        limits.per_day
    ));
    if sweeps > 0 {
        say(format!(
            "             {sweeps} of these a day for what lies between the windows of LastRaw; fewer with more max_backfill_hours"
        ));
    }
    say(format!(
        "gaps         filled up to {} back",
        count(catchpoint.max_backfill.as_secs() / 3600, "hour")
    ));
    say(format!(
        "relay        {}{}",
        settings.relay_url,
        if settings.relay_token.is_some() {
            ", with a token"
        } else {
            ", without a token"
        }
    ));
    say(format!(
        "series       {}.<metric>;testId=…;nodeId=…",
        settings.graphite.metric_prefix
    ));
    if catchpoint.version == ApiVersion::V1 {
        say("hint         API v2 takes a span of time, so late results and gaps cost no calls of their own; v1 needs one for each test. Set version: v2 and an API key".to_owned());
    }
    let origin = catchpoint.origin();
    if let Some(allowed) = allowed.filter(|allowed| allowed.trim_end_matches('/') != origin) {
        say(format!(
            "hint         the host lets calls through to {allowed}, and they will go to {origin}: set the variable catchpoint_host to that"
        ));
    }
    let by_hour = calls * 60u64.div_ceil(minutes);
    let refused = if day > u64::from(limits.per_day) {
        Some(format!(
            "{day} calls a day are more than the {} that limits.per_day allows",
            limits.per_day
        ))
    } else if by_hour > u64::from(limits.per_hour) {
        Some(format!(
            "{by_hour} calls an hour are more than the {} that limits.per_hour allows",
            limits.per_hour
        ))
    } else if shortest >= catchpoint.run_deadline.as_secs() {
        Some(format!(
            "at {} a minute a run takes {shortest} s, longer than run_deadline_seconds",
            count(limits.per_minute.into(), "call")
        ))
    } else {
        None
    };
    match refused {
        None => Ok(text),
        Some(why) => Err(format!(
            "{text}\n{why}\n  help: raise batch_size, run less often (run_every_minutes and spin.toml), split the tests over \
             several API consumers, or use version: v2\n"
        )),
    }
}

/// `1 test`, `2 tests`.
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::{Source, catchpoint};

    struct Given(String);

    impl Source for Given {
        fn file(&self, name: &str) -> std::io::Result<String> {
            let is_graphite = name != catchpoint::FILE_NAME;
            Ok(if is_graphite {
                String::new()
            } else {
                self.0.clone()
            })
        }
        fn variable(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
    }

    /// What is said of these keys, with so many tests.
    fn said(tests: u64, keys: &str) -> Result<String, String> {
        let ids: Vec<u64> = (1..=tests).collect();
        let yaml = format!(
            "client_id: a\nclient_secret: b\napi_key: c\ntest_ids: {{ web: {ids:?} }}\n{keys}\n"
        );
        let settings = Settings::load(&Given(yaml)).unwrap();
        check(&settings, Some("https://io.catchpoint.com"))
    }

    #[test]
    fn one_is_not_many() {
        assert_snapshot!(said(1, "").unwrap(), @"
        Catchpoint   https://io.catchpoint.com API v1
        tests        1 test of 1 type, up to 10 in a call
                     web          tests    1, calls   1
        schedule     every 15 minutes by run_every_minutes; the trigger in spin.toml must say the same
        calls        2 calls a run (at most 20 a minute); 194 a day (at most 2000)
                     2 of these a day for what lies between the windows of LastRaw; fewer with more max_backfill_hours
        gaps         filled up to 24 hours back
        relay        http://127.0.0.1:2080, without a token
        series       system.cp.testdata.<metric>;testId=…;nodeId=…
        hint         API v2 takes a span of time, so late results and gaps cost no calls of their own; v1 needs one for each test. Set version: v2 and an API key
        ");
        assert_snapshot!(said(12, "version: v2\nbatch_size: 12\nrun_every_minutes: 1\nmax_backfill_hours: 1\ndomain: eu.example").unwrap(), @"
        Catchpoint   https://eu.example API v2
        tests        12 tests of 1 type, up to 12 in a call
                     web          tests   12, calls   1
        schedule     every 1 minute by run_every_minutes; the trigger in spin.toml must say the same
        calls        1 call a run (at most 20 a minute); 1440 a day (at most 2000)
        gaps         filled up to 1 hour back
        relay        http://127.0.0.1:2080, without a token
        series       system.cp.testdata.<metric>;testId=…;nodeId=…
        hint         the host lets calls through to https://io.catchpoint.com, and they will go to https://eu.example: set the variable catchpoint_host to that
        ");
    }

    /// The last words of a refusal, before the help.
    fn refusal(tests: u64, keys: &str) -> String {
        let words = said(tests, keys).unwrap_err();
        let (words, _) = words.split_once("\n  help").unwrap();
        words.lines().last().unwrap().to_owned()
    }

    #[test]
    fn a_schedule_that_does_not_fit_is_refused() {
        // 11 calls and a token 96 times a day, and 99 tests swept every 20 hours.
        let tight = |per_day: u64| format!("batch_size: 9\nlimits: {{ per_day: {per_day} }}");
        assert!(said(99, &tight(1271)).is_ok());
        assert_snapshot!(refusal(99, &tight(1270)), @"1271 calls a day are more than the 1270 that limits.per_day allows");
        // Between runs that far apart lies a gap of each test.
        assert!(said(40, "run_every_minutes: 15").is_ok());
        assert_snapshot!(refusal(40, "run_every_minutes: 30"), @"2160 calls a day are more than the 2000 that limits.per_day allows");
        assert!(said(40, "run_every_minutes: 30\nversion: v2").is_ok());
        assert_snapshot!(refusal(40, "limits: { per_hour: 19 }"), @"20 calls an hour are more than the 19 that limits.per_hour allows");
        assert_snapshot!(refusal(40, "limits: { per_minute: 1 }\nrun_deadline_seconds: 240"), @"at 1 call a minute a run takes 240 s, longer than run_deadline_seconds");
    }
}
