use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;

/// The original's two files, as its README shows them, with the slip in the `dns` line mended.
const ORIGINAL: &str = include_str!("testdata/original_catchpoint.yaml");
const ORIGINAL_GRAPHITE: &str = "carbon_server: '127.0.0.1'\ncarbon_port: 2003\n";

/// The value of a variable that cannot be read.
const BROKEN: &str = "(broken)";

/// A configuration in memory.
struct Given {
    files: BTreeMap<&'static str, String>,
    variables: BTreeMap<&'static str, &'static str>,
}

impl Source for Given {
    fn file(&self, name: &str) -> std::io::Result<String> {
        self.files
            .get(name)
            .cloned()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match self.variables.get(name) {
            Some(&BROKEN) => Err("the vault is sealed".to_owned()),
            text => Ok(text.map(|text| (*text).to_owned())),
        }
    }
}

fn load(catchpoint: &str, graphite: &str) -> Result<Settings, Problems> {
    Settings::load(&Given {
        files: BTreeMap::from([
            (catchpoint::FILE_NAME, catchpoint.to_owned()),
            (graphite::FILE_NAME, graphite.to_owned()),
        ]),
        variables: BTreeMap::new(),
    })
}

/// The whole text of the errors of a configuration.
fn errors(catchpoint: &str, graphite: &str) -> String {
    load(catchpoint, graphite).unwrap_err().to_string()
}

/// The original's files, and one variable.
fn with_variable(name: &'static str, value: &'static str) -> Result<Settings, Problems> {
    Settings::load(&Given {
        files: BTreeMap::from([
            (catchpoint::FILE_NAME, ORIGINAL.to_owned()),
            (graphite::FILE_NAME, String::new()),
        ]),
        variables: BTreeMap::from([(name, value)]),
    })
}

#[test]
fn the_originals_files_load_unchanged() {
    let settings = load(ORIGINAL, ORIGINAL_GRAPHITE).unwrap();
    let tests: Vec<String> = settings
        .catchpoint
        .tests
        .iter()
        .map(|group| format!("{} {:?}", group.test_type, group.ids))
        .collect();
    assert_snapshot!(tests.join("\n"), @r"
    web [142619, 142620, 142621, 142622]
    traceroute [142607, 142608, 142609]
    api [142637, 142638, 142683, 142689]
    transaction [142602, 142603]
    dns [142644, 142645, 142646, 142647]
    smtp [142604]
    websocket [842700]
    ping [142599, 142600, 142601]
    ");
    assert_eq!(
        settings.catchpoint.token_url(),
        "https://io.catchpoint.com/ui/api/token"
    );
    assert_eq!(settings.catchpoint.batch_size, 10);
    assert_eq!(settings.graphite.carbon_port, 2003);
}

#[test]
fn the_shipped_files_need_only_credentials_and_tests() {
    let shipped = include_str!("../../config/config_catchpoint.yaml");
    let graphite = include_str!("../../config/config_graphite.yaml");
    assert_snapshot!(errors(shipped, graphite));
}

#[test]
fn the_slip_in_the_originals_readme_is_explained() {
    let pasted = ORIGINAL.replace("dns : [", "dns : ");
    assert_snapshot!(errors(&pasted, ORIGINAL_GRAPHITE));
}

#[test]
fn everything_wrong_is_shown_at_once() {
    let catchpoint = "\
client_id: 'abc'
client_secret: 'top secret'
protocol: ftp
domain: 'https://io.catchpoint.com/ui/api'
version: v3
batchsize: 10
batch_size: lots
time_format: '%Q'
limits: { per_day: 0, per_week: 1 }
test_ids: { web: [1, 'x2', [3]], dns: { a: 1 }, ping: 4 }
";
    let graphite = "\
carbon_server: 'http://127.0.0.1:2003'
carbon_port: 70000
metric_prefix: 'a..b'
relay:
  listne: 127.0.0.1:1
  spool: [a]
";
    assert_snapshot!(errors(catchpoint, graphite));
}

#[test]
fn an_error_never_shows_a_secret() {
    for text in [
        "client_secret: 'hunter2\n",
        "client_secret: [hunter2]\n",
        "client_secret:\n  [hunter2]\n",
        "{ client_id: a, client_secret: [hunter2] }\n",
        "api_key: {a: hunter2}\n",
        "client_secret: hunter2: x\n",
        "client_secert: 'hunter2'\n",
        "client_secert: 'hunter2\n",
        "apikey: hunter2\n",
        "Api-Key: hunter2: x\n",
        "relay_token: hunter2\n",
        "relay_token: 'hunter2\n",
        "collect_token: hunter2: x\n",
        "limits: { per_day: 0, password: hunter2 }\n",
        "'größe': 1\n\"pass\\u0077ord\": hunter2\n",
        "domain: &long wwwwwwwwwwwwwwwwwwwwwwwww\n*long : hunter2\n",
        "log_file: a\nlog_file: hunter2\n",
    ] {
        let shown = errors(text, "");
        assert!(!shown.contains("hunter2"), "{text}{shown}");
    }
    let shown = with_variable("relay_url", "http://user:hunter2@relay").unwrap_err();
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
    assert!(!format!("{:?}", load(ORIGINAL, "").unwrap()).contains("SECRET"));
}

#[test]
fn scalars_are_taken_as_written() {
    let settings = load(
        "client_id: 0123\nclient_secret: 1e5\ntest_ids: { web: [ 007, '8', 9 ], dns: 7 }\n",
        "",
    )
    .unwrap();
    let revealed = |secret: &Option<Secret>| secret.as_ref().map(|s| s.reveal().to_owned());
    assert_eq!(
        revealed(&settings.catchpoint.client_id).as_deref(),
        Some("0123")
    );
    assert_eq!(
        revealed(&settings.catchpoint.client_secret).as_deref(),
        Some("1e5")
    );
    // An id listed twice counts once, whatever the type.
    assert_eq!(
        settings.catchpoint.test_ids().collect::<Vec<_>>(),
        [7, 8, 9]
    );
}

#[test]
fn variables_win_over_the_file() {
    let settings = Settings::load(&Given {
        files: BTreeMap::from([
            (catchpoint::FILE_NAME, ORIGINAL.to_owned()),
            (graphite::FILE_NAME, String::new()),
        ]),
        variables: BTreeMap::from([
            ("catchpoint_client_secret", "from the host"),
            ("relay_url", "https://relay.example:8443/"),
            ("relay_token", "t"),
        ]),
    })
    .unwrap();
    let secret = settings.catchpoint.client_secret.unwrap();
    assert!(secret.matches("from the host") && !secret.matches("from the hos"));
    assert_eq!(settings.relay_url, "https://relay.example:8443");
    assert!(settings.relay_token.is_some());
}

#[test]
fn a_variable_that_cannot_be_read_is_not_one_that_is_not_set() {
    assert_snapshot!(with_variable("relay_url", BROKEN).unwrap_err(), @"
    variable relay_url: cannot be read: the vault is sealed
      help: look after the host's provider of variables; without it nothing is done, because a default may send data elsewhere
    ");
    let problems = with_variable("relay_token", BROKEN).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
}

#[test]
fn what_is_missing_is_said_beside_what_is_wrong() {
    assert_snapshot!(errors("protocol: ftp\nclient_secert: x\nsomething_else: y\ntest_ids: { web: [a] }\n", "carbon: x\n"), @"
    config_catchpoint.yaml:1:11: protocol: `ftp` is not one of the words it can be
      1 | protocol: ftp
        |           ^
      help: write one of: https, http
    config_catchpoint.yaml:2:1: unknown key `client_secert`
      2 | client_secert: ***
        | ^
      help: did you mean `client_secret`?
    config_catchpoint.yaml:3:1: unknown key `something_else`
      3 | something_else: ***
        | ^
      help: known here: client_id, client_secret, api_key, refresh_token, protocol, domain, token_endpoint, version, rawdata_endpoint, explorer_endpoint, time_format, token_encoding, test_ids, batch_size, log_file, log_level, limits, run_every_minutes, run_deadline_seconds, request_timeout_seconds, overlap_minutes, max_backfill_hours
    config_catchpoint.yaml:4:19: test_ids.web: `a` is not a test id
      4 | test_ids: { web: [a] }
        |                   ^
      help: a test id is the number in the test's address in the portal, for instance 142619
    config_graphite.yaml:1:1: unknown key `carbon`
      1 | carbon: ***
        | ^
      help: known here: carbon_server, carbon_port, metric_prefix, self_metrics, self_metrics_prefix, batch_bytes, relay
    config_catchpoint.yaml: client_id is not set
      help: write the key of your API consumer here, or set the variable catchpoint_client_id
    ");
    assert_snapshot!(errors("version: v3\n", ""), @"
    config_catchpoint.yaml:1:10: version: `v3` is not one of the words it can be
      1 | version: v3
        |          ^
      help: write one of: v1, v2
    config_catchpoint.yaml: test_ids holds no test id
      help: list what to collect, for instance `test_ids: { web: ['142619', '142620'] }`
    ");
    assert_snapshot!(errors("version: 'v1\n", ""), @"
    config_catchpoint.yaml:1:10: this is not valid YAML: while scanning a quoted scalar, found unexpected end of stream
      1 | version: 'v1
        |          ^
      help: look for a missing quote, bracket, comma or colon here or just above
    ");
}

#[test]
fn a_second_document_is_not_left_out_silently() {
    assert_snapshot!(errors(&format!("{ORIGINAL}---\nbatch_size: 20\n"), "---\n...\n"), @"
    config_catchpoint.yaml:22:1: a second document begins here, which nobody would read
      22 | ---
         | ^
      help: write all keys into one, without a line `---` between them
    ");
}

#[test]
fn a_time_format_must_be_one_that_can_be_written() {
    for format in ["%#z", "%Q", "%"] {
        let shown = errors(&format!("{ORIGINAL}time_format: '{format}'\n"), "");
        assert!(shown.contains("not a strftime format"), "{shown}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*|([a-z_]{1,8}: ?[\\[{'\"]?[0-9a-z,]*[\\]}'\"]?\n){0,9}") {
        let _ = load(&text, &text).map_err(|problems| problems.to_string());
    }
}
