//! The repository's manifests, and what is said of others.

use crate::support::options;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::manifest::Manifest;
use std::path::Path;

#[test]
fn the_repositorys_own_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, cron) in [
        ("spin.toml", Some("0 */15 * * * *")),
        ("deploy/debian/spin.toml", Some("0 */15 * * * *")),
        ("deploy/fermyon/spin.toml", None),
    ] {
        let mut manifest = Manifest::load(&root.join(path)).unwrap();
        let schedule = manifest.trigger.cron.as_ref().map(|cron| &cron.schedule);
        assert_eq!(schedule.map(|schedule| schedule.expression()), cron);
        for name in [
            "catchpoint_client_id",
            "catchpoint_client_secret",
            "catchpoint_api_key",
            "relay_token",
            "collect_token",
            "webhook_token",
        ] {
            assert!(manifest.variables.set(name, "hunter2"), "{path} {name}");
        }
        let mut lines = manifest.variables.describe();
        assert!(lines.all(|line| !line.contains("hunter2")), "{path}");
    }
}

/// All that this runner knows.
const GOOD: &str = r#"spin_manifest_version = 2
application = { name = "t", version = "1", description = "", authors = [] }
[variables]
host = { default = "http://relay:2080", description = "" }
key = { default = "", secret = true }
[[trigger.cron]]
component = "c"
cron_expression = "0 0 * * * *"
[[trigger.http]]
component = "c"
route = "/..."
[component.c]
source = "c.wasm"
description = ""
files = [{ source = "config", destination = "/config" }]
key_value_stores = ["default"]
allowed_outbound_hosts = ["{{ host }}", "https://io.catchpoint.com"]
variables = { host = "{{ host }}" }
build = { command = "make", watch = ["*"] }
"#;

/// What stands in `GOOD`, what instead of it, and what is said. Each is valid for Spin, but for the
/// last three; a value is not shown, because it may be a secret.
const REFUSED: &str = r#"
= 2                     | = 3                                   | : manifest version 3
[[trigger.http]]        | [[trigger.redis]]                     | :9:11: `redis`
"/..."                  | "/..."\nexecutor = { type = "wagi" }  | :12:1: `executor`
"/..."                  | "/a/:id"                              | :11:9: a form other than `/...`
"/..."                  | { private = true }                    | :11:11: a form other than `/...`
[[trigger.http]]        | [[trigger.http]]\ncomponent = "c"\nroute = "/..."\n[[trigger.http]] | :9:1: a second entry
component = "c"         | component = { source = "c.wasm" }     | :7:13: a form other than a string
[component.c]           | [component.d]\nsource = "d.wasm"\n[component.c] | :12:2: a second component
"c.wasm"                | { url = "https://example.com", digest = "sha256:0" } | :13:10: a form other than path string
[{ source               | ["assets/*", { source                 | :15:10: a form other than { source = …, destination = … }
"/config" }]            | "/config" }, { source = "b", destination = "/b" }] | :15:9: a second entry
build =                 | exclude_files = ["x"]\nbuild =        | :19:1: `exclude_files`
build =                 | environment = { A = "b" }\nbuild =    | :19:1: `environment`
build =                 | allowed_http_hosts = ["a"]\nbuild =   | :19:1: `allowed_http_hosts`
build =                 | sqlite_databases = ["default"]\nbuild = | :19:1: `sqlite_databases`
build =                 | ai_models = ["llama"]\nbuild =        | :19:1: `ai_models`
build =                 | dependencies = { "a:b/c" = "1" }\nbuild = | :19:1: `dependencies`
build =                 | targets = ["x"]\nbuild =              | :19:1: `targets`
default = "", secret    | required = true, secret               | :5:9: `required`
["default"]             | ["default", "other"]                  | :16:32: a form other than `default`
"{{ host }}", "https    | "https://{{ host }}", "https          | :17:26: a value that has `{{` and is not exactly one `{{ name }}`
"{{ host }}", "https    | "{{ host", "https                     | :17:26: a value that has `{{` and is not exactly one `{{ name }}`
{ default = "", secret = true } | "a secret"                  | :5:7: a form other than { default = … }
source = "c             | sorce = "c                            | :13:1: `sorce`
"#;

fn problem(from: &str, to: &str) -> String {
    let text = GOOD.replacen(from, &to.replace("\\n", "\n"), 1);
    assert_ne!(text, GOOD, "{from}");
    let error = Manifest::parse(Path::new("spin.toml"), &text)
        .err()
        .unwrap();
    error.to_string()
}

#[test]
fn what_only_spin_does_is_refused() {
    Manifest::parse(Path::new("spin.toml"), GOOD).unwrap();
    let mut wrong = String::new();
    for row in REFUSED.lines().skip(1) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let said = problem(cells[0], cells[1]);
        let suffix = " is not supported by this runner; use `spin up`, or check the spelling";
        if said != format!("spin.toml{}{suffix}", cells[2]) {
            wrong += &format!("{row}\n{said}\n");
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn problems_have_their_place() {
    insta::assert_snapshot!(problem("[[trigger.cron]]", "[[trigger"), @"spin.toml:6:10: unclosed array table, expected `]]`");
    insta::assert_snapshot!(problem("source = \"c.wasm\"", ""), @"spin.toml:12:1: missing field `source`");
    insta::assert_snapshot!(problem("key = {", "Bad-Name = {"), @"spin.toml: `Bad-Name` is not a variable name; write lower-case words joined with `_`");
    insta::assert_snapshot!(problem("component = \"c\"", "component = \"d\""), @"spin.toml: there is no [component.d]; write `c`");
    insta::assert_snapshot!(problem("\"0 0 * * * *\"", "\"*/15 * * * *\""), @"spin.toml:8:19: `cron_expression` has 5 fields; write exactly six, seconds first: `second minute hour day-of-month month day-of-week`, such as `0 */15 * * * *`, in UTC");
    insta::assert_snapshot!(problem("\"/config\"", "\"config\""), @"spin.toml: `destination` of `files` must start with `/`");
    insta::assert_snapshot!(problem("\"{{ host }}\"", "\"{{ both }}\""), @"spin.toml: declare `both` under [variables]");
    let missing = Manifest::load(Path::new("nowhere/spin.toml"))
        .err()
        .unwrap();
    insta::assert_snapshot!(missing, @"cannot read the manifest nowhere/spin.toml: No such file or directory (os error 2); start in the folder that has it, or name the file with --manifest");
}

/// Why an application with this allowed host, or without a folder, does not start.
fn start(host: &str, variables: &[(&str, &str)], mount: bool, config: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut text = GOOD.replace("[\"{{ host }}\"", &format!("[\"{host}\""));
    if !mount {
        text = text.replace(
            "files = [{ source = \"config\", destination = \"/config\" }]",
            "",
        );
    }
    let mut manifest = Manifest::parse(&folder.path().join("spin.toml"), &text).unwrap();
    for (name, value) in variables {
        manifest.variables.set(name, value);
    }
    let mut options = options(folder.path().join("state"));
    options.config = config.then(|| folder.path().to_owned());
    let error = App::new(manifest, options).err().unwrap().to_string();
    error.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn what_keeps_an_application_from_starting() {
    let host = |value: &str| start("{{ host }}", &[("host", value)], false, false);
    insta::assert_snapshot!(start("{{ host }}", &[], false, false), @"cannot read the component FOLDER/c.wasm: No such file or directory (os error 2); build it with `cargo xtask build`, or change `source` in the manifest");
    insta::assert_snapshot!(start("{{ host }}", &[], false, true), @"--config replaces the entry of `files`, and the manifest has none");
    insta::assert_snapshot!(start("{{ host }}", &[], true, false), @"cannot read the folder FOLDER/config: No such file or directory (os error 2); name the folder of config_catchpoint.yaml and config_graphite.yaml with --config");
    // Spin allows no host at all then, and says nothing.
    insta::assert_snapshot!(host(""), @"allowed_outbound_hosts: `{{ host }}` is empty; set SPIN_VARIABLE_HOST to an address, or unset it for its default");
    insta::assert_snapshot!(host("relay:2080"), @"allowed_outbound_hosts: `{{ host }}` is `relay:2080`; set SPIN_VARIABLE_HOST to `http://host:port` or `https://host:port`. Other forms are not supported by this runner; use `spin up`");
    insta::assert_snapshot!(host("http://user:hunter2@relay"), @"allowed_outbound_hosts: `{{ host }}` is not an address; set SPIN_VARIABLE_HOST to `http://host:port` or `https://host:port`. Other forms are not supported by this runner; use `spin up`");
    insta::assert_snapshot!(start("{{ key }}", &[("key", "top/secret")], false, false), @"allowed_outbound_hosts: `{{ key }}` is not an address; set SPIN_VARIABLE_KEY to `http://host:port` or `https://host:port`. Other forms are not supported by this runner; use `spin up`");
    insta::assert_snapshot!(start("https://*.example.com", &[], false, false), @"allowed_outbound_hosts: `https://*.example.com` is `https://*.example.com`; write `http://host:port` or `https://host:port`. Other forms are not supported by this runner; use `spin up`");
}
