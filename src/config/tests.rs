use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;

/// The original's two files, as its README shows them, with the slip in the `dns` line corrected.
const ORIGINAL: &str = include_str!("testdata/original_catchpoint.yaml");
const ORIGINAL_GRAPHITE: &str = "carbon_server: '127.0.0.1'\ncarbon_port: 2003\n";

/// The credentials of a file that has nothing else.
const CREDENTIALS: &str = "client_id: a\nclient_secret: b\n";

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

/// Both files, and the variables.
fn given(catchpoint: &str, graphite: &str, variables: &[(&'static str, &'static str)]) -> Given {
    Given {
        files: BTreeMap::from([
            (catchpoint::FILE_NAME, catchpoint.to_owned()),
            (graphite::FILE_NAME, graphite.to_owned()),
        ]),
        variables: variables.iter().copied().collect(),
    }
}

fn load(catchpoint: &str, graphite: &str) -> Result<Settings, Problems> {
    Settings::load(&given(catchpoint, graphite, &[]))
}

/// The whole text of the errors of a configuration.
fn errors(catchpoint: &str, graphite: &str) -> String {
    match load(catchpoint, graphite) {
        Ok(_) => "(nothing is wrong)".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

/// The original's files, and one variable.
fn with_variable(name: &'static str, value: &'static str) -> Result<Settings, Problems> {
    Settings::load(&given(ORIGINAL, "", &[(name, value)]))
}

/// The tests of a configuration, one type a line.
fn tests(catchpoint: &str) -> String {
    let settings = load(catchpoint, "").unwrap();
    let groups: Vec<String> = settings
        .catchpoint
        .tests
        .iter()
        .map(|group| format!("{} {:?}", group.test_type, group.ids))
        .collect();
    groups.join("\n")
}

#[test]
fn the_originals_files_load_unchanged() {
    assert_snapshot!(tests(ORIGINAL), @r"
    web [142619, 142620, 142621, 142622]
    traceroute [142607, 142608, 142609]
    api [142637, 142638, 142683, 142689]
    transaction [142602, 142603]
    dns [142644, 142645, 142646, 142647]
    smtp [142604]
    websocket [842700]
    ping [142599, 142600, 142601]
    ");
    let settings = load(ORIGINAL, ORIGINAL_GRAPHITE).unwrap();
    assert_eq!(
        settings.catchpoint.token_url(),
        "https://io.catchpoint.com/ui/api/token"
    );
    assert_eq!(settings.catchpoint.batch_size, 10);
    assert_eq!(settings.graphite.carbon_port, 2003);
}

/// Names of steps are asked for only when they are wanted.
#[test]
fn a_label_for_steps_needs_a_dimension_of_v2() {
    let check = |catchpoint: &str, graphite: &str, expect: &[u32]| {
        let keys = format!("{CREDENTIALS}test_ids: {{ web: [1] }}\n{catchpoint}\n");
        let settings = load(&keys, graphite).unwrap();
        assert_eq!(settings.catchpoint.dimension_ids, expect);
    };
    check("", "labels: [testName]", &[16, 1, 6, 90]);
    check("", "labels: [stepName]", &[16, 1, 6, 90, 23]);
    check("dimension_ids: [23]", "labels: [stepName]", &[23]);
    check("dimension_ids: []", "labels: [stepName]", &[]);
}

/// A key, a range, a default or a word that the page does not have does not exist for its reader, nor a key
/// that the shipped files do not show.
#[test]
fn the_page_has_every_key_with_its_values() {
    let page = include_str!("../../docs/configuration.md");
    let shipped = concat!(
        include_str!("../../config/config_catchpoint.yaml"),
        include_str!("../../config/config_graphite.yaml")
    );
    let (mut keys, mut values) = (0, 0);
    for (catchpoint, graphite, section) in [
        ("KEY", "", ""),
        ("limits: { KEY }", "", "limits."),
        ("version: v2\ntests: { KEY }", "", "tests."),
        ("", "KEY", ""),
        ("", "relay: { KEY }", ""),
    ] {
        let said = |entry: &str| {
            let [catchpoint, graphite] = [catchpoint, graphite].map(|it| it.replace("KEY", entry));
            errors(&catchpoint, &graphite)
        };
        let unknown = said("zzzzzz: 1");
        let (_, known) = unknown.split_once("known here: ").unwrap();
        for key in known.lines().next().unwrap().split(", ") {
            let name = format!("`{section}{key}`");
            let mut rows = page.lines().filter(|line| line.starts_with("| "));
            let row = rows.find(|row| row.split('|').nth(1).unwrap().contains(&name));
            let row = row.unwrap_or_else(|| panic!("no row for {name}"));
            let is_shown = section == "tests."
                || shipped.contains(&format!(" {key}:"))
                || shipped.contains(&format!("\n{key}:"));
            assert!(is_shown, "{key} is not in the shipped files");
            // What the code says about a wrong value is what the row must have.
            let wrong = said(&format!("{key}: zzzzzz"));
            let behind = |text: &str, end: char| {
                let (_, behind) = wrong.split_once(text)?;
                behind.split(end).next()
            };
            let range = behind(
                &format!("{key}: `zzzzzz` is not a whole number from "),
                '\n',
            );
            let default = behind(&format!("write, for instance, `{key}: "), '`');
            let words = behind(&format!("{key}: `zzzzzz` must be one of "), '\n');
            let words = words.into_iter().flat_map(|words| words.split(", "));
            let promised = range.into_iter().chain(default.filter(|_| range.is_some()));
            for value in promised.chain(words) {
                assert!(row.contains(value), "{value} in {row}");
                values += 1;
            }
            keys += 1;
        }
    }
    assert!(keys > 40 && values > 50, "{keys} keys, {values} values");
}

/// Each kind of mistake and its message, in one file.
#[test]
fn every_message() {
    let readme = |dns: &str| ORIGINAL.replace("['142644','142645','142646','142647']", dns);
    let shipped = include_str!("../../config/config_catchpoint.yaml");
    let ids = |ids: &str| format!("{CREDENTIALS}test_ids: {ids}\n");
    let keys = |keys: &str| format!("{CREDENTIALS}test_ids: {{ web: [1] }}\n{keys}\n");
    let catchpoint = [
        ("the shipped file", shipped.to_owned()),
        (
            "c01 the README's example",
            readme("'142644','142645','142646','142647'"),
        ),
        (
            "c01 the README's example with a closing bracket",
            readme("'142644','142645','142646','142647']"),
        ),
        (
            "c01 the README's example in block style",
            ids("\n  dns : '142644','142645'\n  web: ['1']"),
        ),
        ("c01 ids as types", ids("{ 142644: [1], web: ['1'] }")),
        (
            "c01 ids in two types",
            ids("{ web: ['1','2'], api: ['2'] }"),
        ),
        (
            "c01 unknown types",
            ids("{ wbe: [1], traceroutes: [2], playwright: [3] }"),
        ),
        (
            "c01 what is not an id",
            ids(
                "{ web: [0, 'x2', [3], -1, 1.5, '4,5', ~, 99999999999999999999], dns: { a: 1 }, api: '7 8' }",
            ),
        ),
        ("c01 ids without types", ids("[142644, 142645]")),
        ("c01 one id", ids("142644")),
        ("polling for gaps with v1", keys("poll: gaps")),
        (
            "c16 a secret with a tag",
            keys("api_key: x").replace("client_secret: b", "client_secret: !x"),
        ),
        (
            "c16 user and password in domain",
            keys("domain: 'user:hunter2@io.catchpoint.com/ui/api'"),
        ),
        (
            "c16 the same with a protocol",
            keys("domain: https://user:hunter2@io.catchpoint.com"),
        ),
        (
            "c16 a merge key",
            keys("limits: { <<: { per_day: 5 }, per_hour: 0 }"),
        ),
        (
            "a place behind letters beyond ASCII",
            keys("user_agent: 'größe'\nbatch_size: 0"),
        ),
        (
            "values",
            keys(
                "protocol: ftp\ndomain: 'https://io.catchpoint.com/ui/api'\nversion: v5\nbatchsize: 10\nbatch_size: lots\ntime_format: '%Q'\nlimits: { per_day: 0, per_week: 1 }\ntoken_endpoint: ''\ndimension_ids: [a, 1]\nuser_agent: 'ü'\nlog_level: trace\nsomething_else: y",
            ),
        ),
        (
            "a secret in an open quote",
            format!("protocol: 'https\n{CREDENTIALS}domain: 'x'\n"),
        ),
        (
            "what is missing beside what is wrong",
            "protocol: ftp\nclient_secert: x\ntest_ids: { web: [a] }\n".to_owned(),
        ),
        (
            "placeholders",
            "client_id: …\nclient_secret: '<secret>'\napi_key: xxx\ntest_ids: { web: [1] }\n".to_owned(),
        ),
        ("a list of tests that is not said", "version: v2\napi_key: k\ntests:\n".to_owned()),
        ("nothing", String::new()),
        (
            "a version that needs an API key",
            "version: v3.4\n".to_owned(),
        ),
        ("no version that is known", "version: v5\n".to_owned()),
        ("a list of tests with v1", format!("{CREDENTIALS}tests: {{}}\n")),
        (
            "what cannot be listed",
            "version: v2\napi_key: k\ntests:\n  folders: [x, 0]\n  labels: { env: prod }\n  types: [web, 25, wbe]\n  status: on\n  refresh_hours: 0\n  tags: [1]\n"
                .to_owned(),
        ),
    ];
    let mut all: Vec<String> = catchpoint
        .iter()
        .map(|(name, text)| format!("# {name}\n{}", errors(text, "")))
        .collect();
    let graphite = "carbon_server: 'http://127.0.0.1:2003'\ncarbon_port: 70000\nmetric_prefix: 'a..b'\nself_metrics: on\nrelay:\n  listne: 127.0.0.1:1\n  spool: [a]\n";
    all.push(format!("# the other file\n{}", errors(ORIGINAL, graphite)));
    let missing = Given {
        files: BTreeMap::from([(catchpoint::FILE_NAME, ORIGINAL.to_owned())]),
        variables: BTreeMap::new(),
    };
    all.push(format!(
        "# no file\n{}",
        Settings::load(&missing).unwrap_err()
    ));
    for (name, value) in [
        ("relay_url", BROKEN),
        ("relay_token", BROKEN),
        ("catchpoint_client_id", "…"),
        ("relay_url", "relay:2080"),
        ("relay_url", "http://user:hunter2@relay"),
    ] {
        all.push(
            format!(
                "# {name} {value}\n{}",
                with_variable(name, value).unwrap_err()
            )
            .replace("user:hunter2", "USER:PASSWORD"),
        );
    }
    let version = concat!("catchpoint-graphite/", env!("CARGO_PKG_VERSION"));
    let all = all
        .join("\n\n")
        .replace(version, "catchpoint-graphite/VERSION");
    assert!(!all.contains("hunter2"));
    assert_snapshot!(all);
}

#[test]
fn what_is_to_be_listed_becomes_a_query() {
    let wanted = |tests: &str| {
        let yaml = format!("version: v2\napi_key: k\ntests: {tests}");
        let wanted = load(&yaml, "").unwrap().catchpoint.wanted.unwrap();
        (wanted.filter, wanted.refresh.as_secs() / 3600)
    };
    assert_eq!(wanted("{}"), ("&statusId=0".to_owned(), 6));
    let all = "{ folders: [7, '8'], products: 9, labels: [1], types: [Web, transaction, 25], status: all, refresh_hours: 1 }";
    let query = "&parentFolderIds=7,8&productIds=9&labelValueIds=1&typeIds=0,1,27,25";
    assert_eq!(wanted(all), (query.to_owned(), 1));
}

#[test]
fn c01_every_id_is_used() {
    let tests = |ids: &str| tests(&format!("{CREDENTIALS}test_ids: {ids}"));
    // An id that is listed twice in a type counts once.
    assert_eq!(
        tests("{ web: [ 007, '8', 9, 8, ' 10 ' ], dns: 11, api: [], ping: , ssl: '' }"),
        "web [7, 8, 9, 10]\ndns [11]"
    );
    // The case of a type does not matter, and the report shows it as it is written.
    assert_eq!(tests("{ Web: [1], DNS: [2] }"), "Web [1]\nDNS [2]");
    // A type that is new at Catchpoint is used when the file insists.
    assert_eq!(
        tests("{ newtype: [1] }\nother_test_types: [newtype]"),
        "newtype [1]"
    );
}

proptest::proptest! {
    /// Whatever stands in a list, each number is used or the configuration is refused.
    #[test]
    fn c01_no_id_is_ever_lost(ids in proptest::collection::vec(0u64..50, 1..8), quote in "'?", types in proptest::collection::vec("web|dns|api|wbe|12|", 8), brackets in proptest::bool::ANY) {
        let mut yaml = format!("{CREDENTIALS}test_ids: {{ web: [99]");
        for (id, test_type) in ids.iter().zip(&types) {
            let id = format!("{quote}{id}{quote}");
            match (test_type.as_str(), brackets) {
                ("", _) => yaml += &format!(", {id}"),
                (test_type, true) => yaml += &format!(", {test_type}: [{id}]"),
                (test_type, false) => yaml += &format!(", {test_type}: {id}"),
            }
        }
        if let Ok(settings) = load(&format!("{yaml} }}"), "") {
            let used: Vec<u64> = settings.catchpoint.test_ids().collect();
            proptest::prop_assert!(ids.iter().all(|id| used.contains(id)), "{}", yaml);
        }
    }
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let shipped = include_str!("../../config/config_catchpoint.yaml");
    let optional: String = shipped
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# ").filter(|line| {
                line.split_once(": ")
                    .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            })
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let plain: String = shipped
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    // It needs another version, and has no default.
    let tests = "tests: {} ";
    let all = format!("{plain}{optional}");
    let v2 = all.replace("version: 'v1'", "version: v2");
    let (listed, problems) = CatchpointSettings::read("f", &v2);
    assert_eq!((listed.wanted.is_some(), problems), (true, Vec::new()));
    let (read, problems) = CatchpointSettings::read("f", &all.replace(tests, "# "));
    assert_eq!(problems, []);
    assert_eq!(
        format!("{read:?}"),
        format!("{:?}", CatchpointSettings::default())
    );
    assert_eq!(optional.lines().count(), 15, "{optional}");
}

#[test]
fn the_explorers_path_follows_the_version_unless_it_is_set() {
    let settings = |keys: &str| {
        load(&format!("api_key: a\ntest_ids: {{ web: [1] }}\n{keys}"), "")
            .unwrap()
            .catchpoint
    };
    for version in ["v2", "v3", "v3.3", "v3.4", "v4"] {
        let settings = settings(&format!("version: {version}"));
        assert_eq!(settings.version, ApiVersion::Explorer(version));
        assert_eq!(
            settings.explorer_endpoint,
            format!("api/{version}/tests/explorer/raw")
        );
    }
    let own = settings("version: V4\nexplorer_endpoint: /own/path/\ndimension_ids: []");
    assert_eq!(own.explorer_endpoint, "own/path");
    assert!(own.dimension_ids.is_empty());
}

#[test]
fn scalars_are_taken_as_written() {
    let settings = load(
        "client_id: 0123\nclient_secret: 1e5\ntest_ids: { web: [1] }\n",
        "",
    )
    .unwrap();
    let revealed = |secret: Option<Secret>| secret.unwrap().reveal().to_owned();
    assert_eq!(revealed(settings.catchpoint.client_id), "0123");
    assert_eq!(revealed(settings.catchpoint.client_secret), "1e5");
    assert!(!format!("{:?}", load(ORIGINAL, "").unwrap()).contains("SECRET"));
}

#[test]
fn variables_win_over_the_file() {
    let settings = Settings::load(&given(
        ORIGINAL,
        "",
        &[
            ("catchpoint_client_secret", "from the host"),
            ("relay_url", "https://relay.example:8443/"),
            ("relay_token", "t"),
        ],
    ))
    .unwrap();
    let secret = settings.catchpoint.client_secret.unwrap();
    assert!(secret.matches("from the host") && !secret.matches("from the hos"));
    assert_eq!(settings.relay_url, "https://relay.example:8443");
    assert!(settings.relay_token.is_some());
}

#[test]
fn c16_a_secret_below_test_ids_is_not_shown() {
    for test_ids in [
        "\n  web: [1]\n  api_key: hunter2",
        "{ web: [1], api_key: [hunter2] }",
        "{ api_key: 'hunter2', '142645', '142646' }",
        "{ client_secret hunter2: [1] }",
    ] {
        let shown = errors(&format!("{CREDENTIALS}test_ids: {test_ids}\n"), "");
        assert!(
            shown.contains("test_ids") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

/// Lines of the real files, right and wrong, so that any of them can be near a secret.
fn lines() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let line = prop_oneof![
        Just("protocol: 'https"),
        Just("domain: \"io"),
        Just("version: [v1"),
        Just("batch_size: |"),
        Just("limits: {"),
        Just("limits:"),
        Just("  per_day: x"),
        Just("time_format: >"),
        Just("test_ids: { web: [1,"),
        Just("dimension_ids: '1'"),
        Just("user_agent: ü"),
        Just("client_id hunter2"),
        Just("nobody: &a"),
        Just("domain: 'x:hunter2@y'"),
        Just("}"),
        Just("]"),
        Just("'"),
        Just("\""),
    ];
    proptest::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest::proptest! {
    #[test]
    fn c16_no_secret_value_is_ever_in_a_message(before in lines(), after in lines(), open in "['\"\\[{!|]?") {
        let text = format!("{before}\nclient_secret: {open}hunter2\n{after}\n");
        let shown = errors(&text, &text);
        proptest::prop_assert!(!shown.contains("hunter2"), "{}\n=>\n{}", text, shown);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*|([a-z_]{1,8}: ?[\\[{'\"]?[0-9a-z,]*[\\]}'\"]?\n){0,9}") {
        let _ = load(&text, &text).map_err(|problems| problems.to_string());
    }
}
