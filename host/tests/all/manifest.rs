//! The repository's manifests, and what is said of others.

use catchpoint_graphite_host::app::{App, Options};
use catchpoint_graphite_host::manifest::Manifest;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_repositorys_own_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, cron) in [
        ("spin.toml", Some("0 */15 * * * *")),
        ("deploy/fermyon/spin.toml", None),
    ] {
        let manifest = Manifest::load(&root.join(path)).unwrap();
        assert_eq!(manifest.name, "catchpoint-graphite");
        let expression = manifest.cron.as_ref().map(|cron| cron.expression());
        assert_eq!(expression, cron);
        let secrets = manifest
            .variables
            .values()
            .filter(|variable| variable.secret);
        assert_eq!(secrets.count(), 5, "{path}");
    }
}

const HEAD: &str = "spin_manifest_version = 2\napplication.name = \"t\"\n";
const COMPONENT: &str = "[component.c]\nsource = \"c.wasm\"\n";

fn problems(text: &str) -> String {
    let error = Manifest::parse(Path::new("spin.toml"), text);
    error.unwrap_err().to_string()
}

/// Each is valid for Spin.
#[test]
fn what_only_spin_does_is_refused() {
    let cron = "[[trigger.cron]]\ncomponent = \"c\"\ncron_expression = \"0 0 * * * *\"\n";
    let http = "[[trigger.http]]\ncomponent = \"c\"\nroute = \"/...\"\n";
    let on_component = |keys: &str| format!("{COMPONENT}{keys}");
    for (what, text) in [
        (
            "`redis`",
            format!("[[trigger.redis]]\ncomponent = \"c\"\nchannel = \"x\"\n{COMPONENT}"),
        ),
        (
            "`executor`",
            format!("{http}executor = {{ type = \"wagi\" }}\n{COMPONENT}"),
        ),
        (
            "a route other than \"/...\"",
            format!("{}{COMPONENT}", http.replace("/...", "/a/:id")),
        ),
        (
            "this form",
            format!(
                "{}{COMPONENT}",
                http.replace("\"/...\"", "{ private = true }")
            ),
        ),
        (
            "a second [[trigger.http]]",
            format!("{http}{http}{COMPONENT}"),
        ),
        (
            "a second [[trigger.cron]]",
            format!("{cron}{cron}{COMPONENT}"),
        ),
        (
            "a second component",
            format!("{COMPONENT}[component.d]\nsource = \"d.wasm\"\n"),
        ),
        (
            "this form",
            format!(
                "{}{COMPONENT}",
                cron.replace("\"c\"", "{ source = \"c.wasm\" }")
            ),
        ),
        (
            "this form",
            "[component.c]\nsource = { url = \"https://example.com\", digest = \"sha256:0\" }\n"
                .to_owned(),
        ),
        ("this form", on_component("files = [\"assets/**/*\"]")),
        (
            "a second entry of `files`",
            on_component(
                "files = [{ source = \"a\", destination = \"/a\" }, { source = \"b\", destination = \"/b\" }]",
            ),
        ),
        ("`exclude_files`", on_component("exclude_files = [\"x\"]")),
        ("`environment`", on_component("environment = { A = \"b\" }")),
        (
            "`allowed_http_hosts`",
            on_component("allowed_http_hosts = [\"example.com\"]"),
        ),
        (
            "`sqlite_databases`",
            on_component("sqlite_databases = [\"default\"]"),
        ),
        ("`ai_models`", on_component("ai_models = [\"llama\"]")),
        (
            "`dependencies`",
            on_component("dependencies = { \"a:b/c\" = \"1\" }"),
        ),
        (
            "`required`",
            format!("[variables]\na = {{ required = true }}\n{COMPONENT}"),
        ),
        ("`targets`", on_component("targets = [\"x\"]")),
        (
            "a key-value store other than \"default\"",
            on_component("key_value_stores = [\"default\", \"other\"]"),
        ),
        ("manifest version 3", COMPONENT.to_owned()),
    ] {
        let head = if what.ends_with('3') {
            HEAD.replace('2', "3")
        } else {
            HEAD.to_owned()
        };
        let said = problems(&format!("{head}{text}"));
        let expect =
            format!("{what} is not supported by this runner; use `spin up`, or check the spelling");
        assert!(said.ends_with(&expect), "{text}\n{said}");
    }
}

#[test]
fn problems_have_their_place() {
    insta::assert_snapshot!(problems("[trigger"), @"");
    insta::assert_snapshot!(problems(""), @"");
    insta::assert_snapshot!(problems(&format!("{HEAD}component.c = {{}}")), @"");
    let many = r#"
[variables]
Bad-Name = { default = "" }
[[trigger.cron]]
component = "d"
cron_expression = "*/15 * * * *"
[component.c]
source = "c.wasm"
files = [{ source = "config", destination = "config" }]
allowed_outbound_hosts = ["https://{{ host }}", "https://{{ both"]
"#;
    insta::assert_snapshot!(problems(&format!("{HEAD}{many}")), @"");
    let missing = Manifest::load(Path::new("nowhere/spin.toml")).unwrap_err();
    insta::assert_snapshot!(missing, @"");
}

/// Why an application with these lines of its component does not start.
fn start(lines: &str, variables: &[(&str, &str)], config: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{HEAD}[variables]\nhost.default = \"\"\nkey = {{ default = \"\", secret = true }}\n\
         {COMPONENT}{lines}"
    );
    let manifest = Manifest::parse(&folder.path().join("spin.toml"), &text).unwrap();
    let given = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options {
        variables: given.collect::<BTreeMap<_, _>>(),
        config: config.then(|| folder.path().to_owned()),
        ..Options::new(folder.path().join("state"))
    };
    let error = App::new(manifest, &options).err().unwrap().to_string();
    error.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn what_keeps_an_application_from_starting() {
    let hosts = "allowed_outbound_hosts = [\"{{ host }}\"]";
    let secret = "allowed_outbound_hosts = [\"https://{{ key }}\"]";
    let files = "files = [{ source = \"gone\", destination = \"/config\" }]";
    insta::assert_snapshot!(start("", &[], false), @"");
    insta::assert_snapshot!(start("", &[], true), @"");
    insta::assert_snapshot!(start(files, &[], false), @"");
    // Spin allows no host at all then, and says nothing.
    insta::assert_snapshot!(start(hosts, &[], false), @"");
    insta::assert_snapshot!(start(hosts, &[("host", "relay:2080")], false), @"");
    insta::assert_snapshot!(start(hosts, &[("host", "http://user:hunter2@relay")], false), @"");
    insta::assert_snapshot!(start(hosts, &[("host", "https://*.example.com")], false), @"");
    insta::assert_snapshot!(start(secret, &[("key", "top/secret")], false), @"");
}
