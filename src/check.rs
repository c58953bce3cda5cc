//! What a configuration means, in words: what is collected, how many calls that takes, where it
//! goes. And what cannot work although each key is right by itself.

use serde::Serialize;

use crate::config::catchpoint::ApiVersion;
use crate::config::graphite::Label;
use crate::config::{Settings, variable};
use crate::graphite;
use crate::run::plan::Announced;

/// What a host compares with its own schedule, deadline and allowed hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Scheme and host that the calls to Catchpoint go to.
    pub catchpoint: String,
    /// How often a run must be started.
    pub run_every_minutes: u64,
    /// How long a run may take, at most; the host must not stop it earlier.
    pub run_deadline_seconds: u64,
}

/// What a host has to agree with.
#[must_use]
pub fn facts(settings: &Settings) -> Facts {
    Facts {
        catchpoint: settings.catchpoint.origin(),
        run_every_minutes: settings.catchpoint.run_every.as_secs() / 60,
        run_deadline_seconds: settings.catchpoint.run_deadline.as_secs(),
    }
}

/// The words. `announced` are the calls that it takes; `allowed` is the variable `catchpoint_host`:
/// what the host lets through to Catchpoint, if it tells.
///
/// # Errors
/// Everything that cannot work, each with what to change: calls beyond the API's limits, a host that
/// Catchpoint cannot be reached from, a relay's address that is carbon's.
pub fn check(
    settings: &Settings,
    announced: Announced,
    allowed: Option<&str>,
) -> Result<String, String> {
    let catchpoint = &settings.catchpoint;
    let limits = &catchpoint.limits;
    let minutes = catchpoint.run_every.as_secs().div_ceil(60).max(1);
    let calls = announced.most_per_run();
    let day = announced.calls(1440u64.div_ceil(minutes), 1);
    let (origin, version) = (catchpoint.origin(), catchpoint.version.as_str());
    let (tests, types) = (catchpoint.test_ids().count(), catchpoint.tests.len());
    let (batch, per_minute, per_day) = (catchpoint.batch_size, limits.per_minute, limits.per_day);
    // Catchpoint lists tests, and no run has fetched the list.
    let is_unlisted =
        catchpoint.wanted.is_some() && catchpoint.tests.iter().all(|group| group.found.is_none());
    let mut text = format!("Catchpoint   {origin} API {version}\n");
    if is_unlisted {
        text += "tests        as Catchpoint lists them: the first run fetches the list, `tests` shows it now\n";
    }
    if !is_unlisted || types > 0 {
        let (tests, types) = (count(tests as u64, "test"), count(types as u64, "type"));
        text += &format!("tests        {tests} of {types}, up to {batch} in a call\n");
    }
    for group in &catchpoint.tests {
        let (name, tests) = (&group.test_type, group.ids.len());
        let calls = tests.div_ceil(batch);
        text += &format!("             {name:<12} tests {tests:>4}, calls {calls:>3}\n");
    }
    let (every, a_run) = (count(minutes, "minute"), count(calls, "call"));
    text +=
        &format!("schedule     every {every} by run_every_minutes; cron_expression must match\n");
    text += &match is_unlisted {
        true => {
            "calls        known after the first run, which fetches the list of tests\n".to_owned()
        }
        false => format!(
            "calls        {a_run} a run (at most {per_minute} a minute); {day} a day (at most {per_day})\n"
        ),
    };
    if announced.runs_per_round > 1 {
        let runs = announced.runs_per_round;
        text += &format!(
            "             by poll: gaps, one of {runs} runs asks for a test; push must bring the results before\n"
        );
    }
    text += &match announced.runs_per_token {
        0 => String::new(),
        1 => "             includes a token in each run\n".to_owned(),
        runs => format!("             includes a token, which lasts for {runs} runs\n"),
    };
    if announced.sweeps_per_day > 0 {
        let sweeps = count(announced.sweeps_per_day, "call");
        text += &format!(
            "             includes {sweeps} a day for results that were late for their run; a larger max_backfill_hours needs fewer\n"
        );
    }
    if let (Some(wanted), false) = (&catchpoint.wanted, is_unlisted) {
        let list = count(announced.per_list, "call");
        let hours = count(wanted.refresh.as_secs() / 3600, "hour");
        text += &format!(
            "             includes {list} every {hours} for the list of tests; `tests` shows the list\n"
        );
    }
    let back = count(catchpoint.max_backfill.as_secs() / 3600, "hour");
    let with = settings.relay_token.as_ref().map_or("without", |_| "with");
    text += &format!(
        "gaps         filled up to {back} back
relay        {}, {with} a token
carbon       {}:{}, to which the relay connects (carbon_server, carbon_port)
{}",
        settings.relay_url,
        settings.graphite.carbon_server,
        settings.graphite.carbon_port,
        series(settings)
    );
    if catchpoint.version == ApiVersion::V1 {
        text += "hint         API v2 takes a time range, so late results and gaps need no calls of their own; v1 needs one for each test. Set version: v2 and an API key\n";
    }
    let by_hour = calls * 60u64.div_ceil(minutes * announced.runs_per_round) + announced.per_list;
    // At `per_minute` calls a minute, the last call of a run begins this late.
    let in_one_run = calls + announced.per_list;
    let shortest = in_one_run.saturating_sub(1) / u64::from(per_minute) * 60;
    let too_many = if day > u64::from(per_day) {
        Some(format!(
            "{day} calls a day are more than the {per_day} that limits.per_day allows"
        ))
    } else if by_hour > u64::from(limits.per_hour) {
        let per_hour = limits.per_hour;
        Some(format!(
            "{by_hour} calls an hour are more than the {per_hour} that limits.per_hour allows"
        ))
    } else if shortest >= catchpoint.run_deadline.as_secs() {
        let calls = count(per_minute.into(), "call");
        Some(format!(
            "at {calls} a minute a run takes {shortest} s, longer than run_deadline_seconds"
        ))
    } else {
        None
    };
    let fewer = "raise batch_size, run less often (run_every_minutes and spin.toml), split the tests over several API consumers, or use version: v2";
    let too_many = too_many.map(|what| (what, fewer.to_owned()));
    let refused = [
        too_many,
        not_let_through(settings, allowed),
        relay_is_carbon(settings),
    ];
    let refused: String = refused
        .into_iter()
        .flatten()
        .map(|(what, hint)| format!("\n{what}\n  help: {hint}\n"))
        .collect();
    if refused.is_empty() {
        Ok(text)
    } else {
        Err(text + refused.as_str())
    }
}

/// The form of the series' names, and a warning if it is not the original's.
fn series(settings: &Settings) -> String {
    let names = &settings.graphite;
    let (prefix, labels) = (&names.metric_prefix, &names.labels);
    if labels.is_empty() && !names.slug_names {
        return format!("series       {prefix}.<metric>;testId=…;nodeId=…\n");
    }
    let test = settings.catchpoint.test_ids().next().unwrap_or_default();
    let name = |metric| {
        let name = graphite::series(prefix, metric).unwrap_or_default();
        format!("{name};testId={test};nodeId=…")
    };
    let (metric, slug) = ("DNS (ms)", graphite::slug("DNS (ms)"));
    let old = name(metric);
    let mut new = name(if names.slug_names { &slug } else { metric });
    for label in labels {
        new += &format!(";{}=…", label.as_str());
    }
    let mut text = format!(
        "series       {new}
warning      metric_names or labels begin new series; the old ones get no new points
             old name: {old}
             new name: {new}\n"
    );
    if labels.iter().any(|label| *label != Label::TestType) {
        text += "             if a test, node or step is renamed in Catchpoint, new series begin again\n";
    }
    if labels.contains(&Label::StepName) && settings.catchpoint.version == ApiVersion::V1 {
        text += "             API v1 sends no names of steps; stepName needs version: v2\n";
    }
    text
}

/// The host lets calls through to another place than they go to.
fn not_let_through(settings: &Settings, allowed: Option<&str>) -> Option<(String, String)> {
    let origin = settings.catchpoint.origin();
    let plain = |url: &str| {
        let url = url.trim().trim_end_matches('/').to_ascii_lowercase();
        let is_https = url.starts_with("https:");
        let port = if is_https { ":443" } else { ":80" };
        url.strip_suffix(port).map_or(url.clone(), str::to_owned)
    };
    // A pattern is for the host to compare.
    let allowed = allowed.filter(|allowed| !allowed.contains('*'))?;
    (plain(allowed) != plain(&origin)).then(|| {
        (
            format!("the host allows calls to {allowed} only, but they go to {origin}"),
            format!("set {} to {origin}", variable("catchpoint_host")),
        )
    })
}

/// The lines would go to carbon's plaintext port, which does not speak HTTP, or the relay would
/// forward them to itself.
fn relay_is_carbon(settings: &Settings) -> Option<(String, String)> {
    let (graphite, url) = (&settings.graphite, &settings.relay_url);
    let listen = &graphite.relay.listen;
    // The same host, as far as names tell.
    let plain = |host: &str| match host.trim_matches(['[', ']']).to_ascii_lowercase().as_str() {
        "127.0.0.1" | "::1" | "localhost" | "0.0.0.0" | "::" => "localhost".to_owned(),
        host => host.to_owned(),
    };
    let is_carbon = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        port.parse() == Ok(graphite.carbon_port) && plain(host) == plain(&graphite.carbon_server)
    };
    if is_carbon(url.split_once("://")?.1) {
        let what = "but carbon listens there (carbon_server, carbon_port)";
        let hint = format!(
            "set {} to the relay's address, for instance http://127.0.0.1:2080",
            variable("relay_url")
        );
        return Some((format!("relay_url is {url}, {what}"), hint));
    }
    let what = "relay.listen and carbon_server with carbon_port are the same address";
    let hint = "give the relay another port, for instance `listen: '127.0.0.1:2081'`";
    is_carbon(listen).then(|| (format!("{what}, {listen}"), hint.to_owned()))
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
    use crate::run::exclusions::Exclusions;
    use crate::run::plan::announce;

    /// The text of `config_catchpoint.yaml`, that of the other file, and `relay_url`.
    struct Given(String, String, Option<&'static str>);

    impl Source for Given {
        fn file(&self, name: &str) -> std::io::Result<String> {
            let is_graphite = name != catchpoint::FILE_NAME;
            Ok(if is_graphite {
                self.1.clone()
            } else {
                self.0.clone()
            })
        }
        fn variable(&self, name: &str) -> Result<Option<String>, String> {
            let is_relay_url = name == "relay_url";
            Ok(self.2.filter(|_| is_relay_url).map(str::to_owned))
        }
    }

    /// As far as nothing was learned.
    fn announced(settings: &Settings) -> Announced {
        announce(&settings.catchpoint, &Exclusions::default(), 0, 0)
    }

    /// What is said of these keys, with so many tests.
    fn said(tests: u64, keys: &str) -> Result<String, String> {
        let ids: Vec<u64> = (1..=tests).collect();
        let yaml = format!(
            "client_id: a\nclient_secret: b\napi_key: c\ntest_ids: {{ web: {ids:?} }}\n{keys}\n"
        );
        let settings = Settings::load(&Given(yaml, String::new(), None)).unwrap();
        check(
            &settings,
            announced(&settings),
            Some("https://io.catchpoint.com"),
        )
    }

    #[test]
    fn one_is_not_many() {
        assert_snapshot!(said(1, "").unwrap(), @"
        Catchpoint   https://io.catchpoint.com API v1
        tests        1 test of 1 type, up to 10 in a call
                     web          tests    1, calls   1
        schedule     every 15 minutes by run_every_minutes; cron_expression must match
        calls        2 calls a run (at most 20 a minute); 194 a day (at most 2000)
                     includes a token in each run
                     includes 2 calls a day for results that were late for their run; a larger max_backfill_hours needs fewer
        gaps         filled up to 24 hours back
        relay        http://127.0.0.1:2080, without a token
        carbon       127.0.0.1:2003, to which the relay connects (carbon_server, carbon_port)
        series       system.cp.testdata.<metric>;testId=…;nodeId=…
        hint         API v2 takes a time range, so late results and gaps need no calls of their own; v1 needs one for each test. Set version: v2 and an API key
        ");
        assert_snapshot!(said(12, "version: v2\nbatch_size: 12\nrun_every_minutes: 1\nmax_backfill_hours: 1").unwrap(), @"
        Catchpoint   https://io.catchpoint.com API v2
        tests        12 tests of 1 type, up to 12 in a call
                     web          tests   12, calls   1
        schedule     every 1 minute by run_every_minutes; cron_expression must match
        calls        1 call a run (at most 20 a minute); 1440 a day (at most 2000)
        gaps         filled up to 1 hour back
        relay        http://127.0.0.1:2080, without a token
        carbon       127.0.0.1:2003, to which the relay connects (carbon_server, carbon_port)
        series       system.cp.testdata.<metric>;testId=…;nodeId=…
        ");
    }

    #[test]
    fn a_change_that_begins_new_series_is_warned_of() {
        let series = |graphite: &str| {
            let catchpoint = "client_id: a\nclient_secret: b\ntest_ids: { web: [142619] }\n";
            let given = Given(catchpoint.to_owned(), graphite.to_owned(), None);
            let settings = Settings::load(&given).unwrap();
            let text = check(&settings, announced(&settings), None).unwrap();
            let (_, series) = text.split_once("\nseries ").unwrap();
            format!("series {}", series.split_once("\nhint ").unwrap().0)
        };
        assert_snapshot!(series("metric_names: original\nlabels: []"), @"series       system.cp.testdata.<metric>;testId=…;nodeId=…");
        assert_snapshot!(series("metric_names: slug\nlabels: [testType]"), @"
        series       system.cp.testdata.dns_ms;testId=142619;nodeId=…;testType=…
        warning      metric_names or labels begin new series; the old ones get no new points
                     old name: system.cp.testdata.DNS(ms);testId=142619;nodeId=…
                     new name: system.cp.testdata.dns_ms;testId=142619;nodeId=…;testType=…
        ");
        assert_snapshot!(series("labels: [testName, stepName]"), @"
        series       system.cp.testdata.DNS(ms);testId=142619;nodeId=…;testName=…;stepName=…
        warning      metric_names or labels begin new series; the old ones get no new points
                     old name: system.cp.testdata.DNS(ms);testId=142619;nodeId=…
                     new name: system.cp.testdata.DNS(ms);testId=142619;nodeId=…;testName=…;stepName=…
                     if a test, node or step is renamed in Catchpoint, new series begin again
                     API v1 sends no names of steps; stepName needs version: v2
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

    /// Why one test with these settings is refused; empty if it is not.
    fn refused(graphite: &str, relay_url: Option<&'static str>, allowed: &str) -> String {
        let catchpoint = "client_id: a\nclient_secret: b\ntest_ids: { web: [1] }\n";
        let given = Given(catchpoint.to_owned(), graphite.to_owned(), relay_url);
        let settings = Settings::load(&given).unwrap();
        match check(&settings, announced(&settings), Some(allowed)) {
            Ok(_) => String::new(),
            Err(words) => words.split_once("\n\n").unwrap().1.to_owned(),
        }
    }

    const CATCHPOINT: &str = "https://io.catchpoint.com";

    #[test]
    fn c18_a_host_that_does_not_let_the_calls_through_is_refused() {
        assert_snapshot!(refused("", None, "https://eu.example"), @"
        the host allows calls to https://eu.example only, but they go to https://io.catchpoint.com
          help: set the variable catchpoint_host (SPIN_VARIABLE_CATCHPOINT_HOST in the environment) to https://io.catchpoint.com
        ");
        for same in [
            CATCHPOINT,
            "HTTPS://io.catchpoint.com/",
            "https://io.catchpoint.com:443",
            "https://*.catchpoint.com",
        ] {
            assert_eq!(refused("", None, same), "");
        }
        assert_ne!(refused("", None, "http://io.catchpoint.com"), "");
    }

    #[test]
    fn c18_a_relay_at_the_address_of_carbon_is_refused() {
        assert_snapshot!(refused("", Some("http://localhost:2003"), CATCHPOINT), @"
        relay_url is http://localhost:2003, but carbon listens there (carbon_server, carbon_port)
          help: set the variable relay_url (SPIN_VARIABLE_RELAY_URL in the environment) to the relay's address, for instance http://127.0.0.1:2080
        ");
        assert_snapshot!(refused("carbon_port: 2080", Some("http://relay.example:2080"), CATCHPOINT), @"
        relay.listen and carbon_server with carbon_port are the same address, 127.0.0.1:2080
          help: give the relay another port, for instance `listen: '127.0.0.1:2081'`
        ");
        let elsewhere = "carbon_server: carbon.example\n";
        assert_eq!(
            refused(elsewhere, Some("http://relay.example:2003"), CATCHPOINT),
            ""
        );
        assert_ne!(
            refused(elsewhere, Some("http://Carbon.example:2003"), CATCHPOINT),
            ""
        );
        assert_eq!(
            refused(elsewhere, Some("http://carbon.example"), CATCHPOINT),
            ""
        );
    }

    #[test]
    fn c18_a_host_is_told_what_to_compare() {
        let yaml = "client_id: a\nclient_secret: b\ntest_ids: { web: [1] }\nrun_every_minutes: 5\n";
        let settings = Settings::load(&Given(yaml.to_owned(), String::new(), None)).unwrap();
        let facts = serde_json::to_string(&facts(&settings)).unwrap();
        assert_snapshot!(facts, @r#"{"catchpoint":"https://io.catchpoint.com","run_every_minutes":5,"run_deadline_seconds":600}"#);
    }
}
