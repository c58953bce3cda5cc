//! What a `spin.toml` may say, key by key: Spin's manifest version 2, of which this host runs the
//! cron and the HTTP trigger. A key that is not here is an error, as it is in Spin.
//!
//! Keys that only concern Spin's own tools (`description`, `build.watch`, …) are read for their
//! type and dropped.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

type Tables = BTreeMap<String, toml::Table>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManifest {
    pub spin_manifest_version: Spanned<i64>,
    pub application: RawApplication,
    #[serde(default)]
    pub variables: BTreeMap<Spanned<String>, RawVariable>,
    pub trigger: RawTriggers,
    #[serde(default)]
    pub component: BTreeMap<Spanned<String>, RawComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawApplication {
    pub name: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    targets: Vec<toml::Value>,
    #[serde(default)]
    trigger: Tables,
    #[serde(default)]
    tool: Tables,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawVariable {
    description: Option<String>,
    #[serde(default)]
    pub required: bool,
    pub default: Option<String>,
    #[serde(default)]
    pub secret: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTriggers {
    #[serde(default)]
    pub cron: Vec<RawCron>,
    #[serde(default)]
    pub http: Vec<RawHttp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawCron {
    #[serde(default)]
    id: String,
    pub component: Spanned<String>,
    pub cron_expression: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawHttp {
    #[serde(default)]
    id: String,
    pub component: Spanned<String>,
    pub route: Spanned<RawRoute>,
    pub executor: Option<Spanned<RawExecutor>>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a path such as \"/collect\" or { private = true }"
)]
pub(super) enum RawRoute {
    Path(String),
    Private { private: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExecutor {
    pub r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawComponent {
    pub source: Spanned<toml::Value>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pub variables: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub files: Vec<Spanned<RawMount>>,
    #[serde(default)]
    pub exclude_files: Vec<Spanned<String>>,
    pub allowed_http_hosts: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    pub key_value_stores: Vec<Spanned<String>>,
    pub sqlite_databases: Option<Spanned<Vec<String>>>,
    pub ai_models: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    targets: Vec<toml::Value>,
    build: Option<RawBuild>,
    #[serde(default)]
    tool: Tables,
    dependencies_inherit_configuration: Option<bool>,
    pub dependencies: Option<Spanned<toml::Table>>,
    #[serde(default)]
    profile: Tables,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a glob pattern or { source = \"…\", destination = \"…\" }"
)]
pub(super) enum RawMount {
    Pattern(String),
    Placement { source: String, destination: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that their types are checked")]
pub(super) struct RawBuild {
    command: RawCommands,
    workdir: Option<String>,
    #[serde(default)]
    watch: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a command or a list of commands")]
#[expect(dead_code, reason = "read so that their types are checked")]
enum RawCommands {
    One(String),
    Many(Vec<String>),
}
