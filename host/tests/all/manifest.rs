//! The repository's own manifest, and what is said of broken ones.

use catchpoint_graphite_host::app::{App, Options};
use catchpoint_graphite_host::manifest::Manifest;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_repositorys_own_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
    let manifest = Manifest::load(&path).unwrap();
    assert_eq!(manifest.name, "catchpoint-graphite");
    assert_eq!(manifest.crons[0].schedule.expression(), "0 */15 * * * *");
    let secrets: Vec<&str> = manifest
        .variables
        .iter()
        .filter(|(_, variable)| variable.secret)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        secrets,
        [
            "catchpoint_api_key",
            "catchpoint_client_id",
            "catchpoint_client_secret",
            "collect_token",
            "relay_token"
        ]
    );
}

/// What is wrong with a manifest: `lines` behind a sound head.
fn problems(lines: &str) -> String {
    let text = format!("spin_manifest_version = 2\n[application]\nname = \"t\"\n{lines}");
    Manifest::parse(Path::new("spin.toml"), &text)
        .unwrap_err()
        .to_string()
}

const TRIGGER: &str = "[[trigger.cron]]\ncomponent = \"c\"\ncron_expression = \"0 0 * * * *\"\n[component.c]\nsource = \"c.wasm\"\n";

#[test]
fn syntax_and_unknown_keys() {
    insta::assert_snapshot!(problems("[trigger"), @"spin.toml:4:9: unclosed table, expected `]`");
    insta::assert_snapshot!(problems("authers = []\n[trigger]"), @"spin.toml:4:1: unknown field `authers`, expected one of `name`, `version`, `description`, `authors`, `targets`, `trigger`, `tool`");
    insta::assert_snapshot!(problems("[[trigger.cron]]\ncomponent = \"c\"\nexpression = \"x\""), @"spin.toml:6:1: unknown field `expression`, expected one of `id`, `component`, `cron_expression`");
    insta::assert_snapshot!(problems("[[trigger.redis]]\ncomponent = \"c\""), @"spin.toml:4:11: unknown field `redis`, expected `cron` or `http`");
    insta::assert_snapshot!(problems(&format!("{TRIGGER}allowed_hosts = []")), @"spin.toml:9:1: unknown field `allowed_hosts`, expected one of `source`, `description`, `variables`, `environment`, `files`, `exclude_files`, `allowed_http_hosts`, `allowed_outbound_hosts`, `key_value_stores`, `sqlite_databases`, `ai_models`, `targets`, `build`, `tool`, `dependencies_inherit_configuration`, `dependencies`, `profile`");
    insta::assert_snapshot!(problems(&format!("{TRIGGER}files = [{{ source = \"a\" }}]")), @r#"spin.toml:9:9: expected a glob pattern or { source = "…", destination = "…" }"#);
    insta::assert_snapshot!(problems("[variables]\na = { pattern = \"x\" }\n[trigger]"), @"spin.toml:5:7: unknown field `pattern`, expected one of `description`, `required`, `default`, `secret`");
    insta::assert_snapshot!(problems("variables.a = 1\n[trigger]"), @"spin.toml:4:1: unknown field `variables`, expected one of `name`, `version`, `description`, `authors`, `targets`, `trigger`, `tool`");
    insta::assert_snapshot!(problems(""), @"spin.toml:1:1: missing field `trigger`");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let lines = r#"
[variables]
Bad-Name = { default = "" }
both = { default = "", required = true }
neither = { secret = true }

[[trigger.cron]]
component = "d"
cron_expression = "*/15 * * * *"

[[trigger.http]]
component = "c"
route = "collect"
executor = { type = "wagi" }

[component.c]
source = { url = "https://example.com/c.wasm", digest = "sha256:0" }
files = ["[", { source = "config", destination = "config" }]
exclude_files = ["***"]
key_value_stores = ["../x"]
sqlite_databases = ["default"]
allowed_http_hosts = ["example.com"]
allowed_outbound_hosts = ["example.com", "https://{{ host }}", "https://{{ both"]
variables = { Token = "{{ token }}" }
dependencies = { "a:b/c" = "1" }

[component.Bad]
source = "b.wasm"
"#;
    insta::assert_snapshot!(problems(lines), @r#"
    spin.toml:6:1: `Bad-Name` is not a variable name; write lower-case words joined with `_`
    spin.toml:7:1: variable `both` has a `default` and is `required`; keep one
    spin.toml:8:1: variable `neither` needs `default = "…"` or `required = true`
    spin.toml:11:13: no [component.d] in this manifest; it has: Bad, c
    spin.toml:12:19: `cron_expression = "*/15 * * * *"` has 5 fields; write exactly six, seconds first: `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC
    spin.toml:16:9: `route = "collect"`: a route starts with `/`
    spin.toml:17:12: this host runs `wasi:http` components only; remove `executor`
    spin.toml:20:10: `source` is not a path; this host runs local files only, such as "target/…/component.wasm"
    spin.toml:21:10: `[` is not a glob pattern: invalid range pattern
    spin.toml:21:15: `destination = "config"` is not absolute; write "/config"
    spin.toml:22:18: `***` is not a glob pattern: wildcards are either regular `*` or recursive `**`
    spin.toml:23:21: `../x` is not a store label; write lower-case words, such as "default"
    spin.toml:24:20: `sqlite_databases` is not offered by this host; remove it or use `spin up`
    spin.toml:25:22: `allowed_http_hosts` is of an older Spin; use `allowed_outbound_hosts`
    spin.toml:26:27: `example.com` is no outbound host: it has no scheme, such as `https://`; write `scheme://host[:port]`
    spin.toml:26:42: `{{ host }}` names no variable; declare `host` under [variables]
    spin.toml:26:64: `{{` without `}}` in a template; a variable is written `{{ name }}`
    spin.toml:27:15: `Token` is not a variable name; write lower-case words joined with `_`
    spin.toml:27:23: `{{ token }}` names no variable; declare `token` under [variables]
    spin.toml:28:16: `dependencies` are not composed by this host; remove them or use `spin up`
    spin.toml:30:12: `Bad` is not a component id; write lower-case words joined with `-`
    "#);
}

#[test]
fn a_wrong_version() {
    let text = "spin_manifest_version = 1\napplication.name = \"t\"\ntrigger = {}";
    let error = Manifest::parse(Path::new("a/spin.toml"), text).unwrap_err();
    insta::assert_snapshot!(error, @"a/spin.toml:1:25: `spin_manifest_version = 1` is not known; write 2");
}

#[test]
fn a_missing_file() {
    let error = Manifest::load(Path::new("nowhere/spin.toml")).unwrap_err();
    insta::assert_snapshot!(error, @"cannot read the manifest nowhere/spin.toml: No such file or directory (os error 2); name the file with `--manifest`");
}

/// Why an application with this component does not start.
fn start(lines: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "spin_manifest_version = 2\napplication.name = \"t\"\n\
         [variables]\nhost = {{ default = \"\" }}\nkey = {{ default = \"\", secret = true }}\n\
         {TRIGGER}{lines}"
    );
    let manifest = Manifest::parse(&folder.path().join("spin.toml"), &text).unwrap();
    let given = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let options = Options {
        variables: given.collect::<BTreeMap<_, _>>(),
        cache: None,
        ..Options::new(folder.path().join("state"))
    };
    let error = App::new(manifest, &options).err().unwrap().to_string();
    error.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn what_keeps_an_application_from_starting() {
    let hosts = "allowed_outbound_hosts = [\"{{ host }}\", \"https://{{ key }}\"]";
    insta::assert_snapshot!(start("", &[]), @"no component at FOLDER/c.wasm; build it with `cargo xtask build`, or mend `source` in the manifest");
    insta::assert_snapshot!(start(hosts, &[("host", "relay:2080")]), @"line 11 of the manifest: `{{ host }}` in `allowed_outbound_hosts` becomes `relay:2080`: it has no scheme, such as `https://`; write `scheme://host[:port]` into SPIN_VARIABLE_HOST");
    insta::assert_snapshot!(start(hosts, &[("host", "http://user:hunter2@relay")]), @"line 11 of the manifest: `{{ host }}` in `allowed_outbound_hosts` becomes something else, which is secret; write `scheme://host[:port]` into SPIN_VARIABLE_HOST");
    insta::assert_snapshot!(start(hosts, &[("key", "top/secret")]), @"line 11 of the manifest: `https://{{ key }}` in `allowed_outbound_hosts` becomes something else, which is secret; write `scheme://host[:port]` into SPIN_VARIABLE_KEY");
    insta::assert_snapshot!(start("files = [{ source = \"gone\", destination = \"/x\" }]", &[]), @"`files`: cannot read FOLDER/gone: No such file or directory (os error 2)");
}
