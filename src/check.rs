//! What a configuration means, in words: what is collected, how many calls that takes, where it
//! goes.

use std::fmt::Write;

use crate::config::Settings;
use crate::config::catchpoint_file::Version;
use crate::plan;

/// The words, or why the schedule cannot work.
///
/// # Errors
/// The calls of the schedule do not fit the API's limits; the text says which and what to change.
pub fn check(settings: &Settings) -> Result<String, String> {
    let catchpoint = &settings.catchpoint;
    let calls = plan::calls_per_run(catchpoint);
    let minutes = catchpoint.run_every.as_secs().div_ceil(60).max(1);
    let runs = 1440u64.div_ceil(minutes);
    let day = calls * runs;
    let limits = &catchpoint.limits;
    // At `per_minute` calls a minute, the last call of a run begins this late.
    let shortest = calls.saturating_sub(1) / u64::from(limits.per_minute) * 60;
    let tests: usize = catchpoint.tests.iter().map(|group| group.ids.len()).sum();
    let mut text = String::new();
    // Writing into a String does not fail.
    let mut say = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    let version = match catchpoint.version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    say(format!(
        "Catchpoint   {} API {version}",
        catchpoint.origin()
    ));
    say(format!(
        "tests        {tests} in {} types, up to {} a call",
        catchpoint.tests.len(),
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
        "schedule     every {minutes} minutes by run_every_minutes; the trigger in spin.toml must say the same"
    ));
    say(format!(
        "calls        {calls} a run of {} a minute; {day} a day of {}",
        limits.per_minute, limits.per_day
    ));
    say(format!(
        "gaps         filled up to {} hours back",
        catchpoint.max_backfill.as_secs() / 3600
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
    if catchpoint.version == Version::V1 {
        say("hint         API v2 takes a span of time, so late results and gaps cost no calls of their own; v1 needs one for each test. Set version: v2 and an API key".to_owned());
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
            "at {} calls a minute a run takes {shortest} s, longer than run_deadline_seconds",
            limits.per_minute
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
