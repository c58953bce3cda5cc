//! What a test may choose about Graphite, and the configuration files made of it.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result};

/// The files that `deploy/graphite` recommends are those that the testbed runs with.
const CARBON: &str = include_str!("../../../../deploy/graphite/carbon.conf");
const SCHEMAS: &str = include_str!("../../../../deploy/graphite/storage-schemas.conf");
const AGGREGATION: &str = include_str!("../../../../deploy/graphite/storage-aggregation.conf");

/// What a test may choose. The default is a fast and unlimited carbon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Retention of all series, as in `1s:6h,1m:1d`; `None` takes `deploy/graphite`.
    pub retention: Option<String>,
    /// carbon's `MAX_UPDATES_PER_SECOND`, writes to whisper files; `None` is without limit.
    /// Carbon's own default is 500.
    pub max_updates_per_second: Option<u32>,
}

/// Where the two programs listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub line: SocketAddr,
    pub pickle: SocketAddr,
    pub query: SocketAddr,
    pub web: SocketAddr,
}

/// Makes the folders and writes all configuration files.
pub(super) fn write(folder: &Path, options: &Options, ports: &Ports) -> Result<()> {
    for part in [
        "conf",
        "log",
        "storage/whisper",
        "storage/lists",
        "storage/static",
        "storage/log/webapp",
    ] {
        let part = folder.join(part);
        fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    }
    let schemas = options.retention.as_ref().map_or_else(
        || SCHEMAS.to_owned(),
        |retention| format!("[all]\npattern = .*\nretentions = {retention}\n"),
    );
    for (name, text) in [
        ("carbon.conf", carbon_conf(options, ports)),
        ("storage-schemas.conf", schemas),
        ("storage-aggregation.conf", AGGREGATION.to_owned()),
        ("graphite_local.py", web_settings(ports)),
    ] {
        let file = folder.join("conf").join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Sets what both programs take from the environment, and where they run.
pub(super) fn environment(mut command: Command, folder: &Path) -> Command {
    command
        .current_dir(folder)
        .env("GRAPHITE_ROOT", folder)
        .env("GRAPHITE_CONF_DIR", folder.join("conf"))
        .env("GRAPHITE_STORAGE_DIR", folder.join("storage"))
        .env("PYTHONPATH", folder.join("conf"))
        .env("GRAPHITE_SETTINGS_MODULE", "graphite_local")
        .env("DJANGO_SETTINGS_MODULE", "graphite.settings");
    command
}

/// `deploy/graphite/carbon.conf` with places of our own and what makes tests fast.
fn carbon_conf(options: &Options, ports: &Ports) -> String {
    let updates = options.max_updates_per_second;
    let updates = updates.map_or_else(|| "inf".to_owned(), |count| count.to_string());
    let ours = [
        ("LINE_RECEIVER_INTERFACE", ports.line.ip().to_string()),
        ("LINE_RECEIVER_PORT", ports.line.port().to_string()),
        ("PICKLE_RECEIVER_INTERFACE", ports.pickle.ip().to_string()),
        ("PICKLE_RECEIVER_PORT", ports.pickle.port().to_string()),
        ("CACHE_QUERY_INTERFACE", ports.query.ip().to_string()),
        ("CACHE_QUERY_PORT", ports.query.port().to_string()),
        ("GRAPHITE_URL", format!("http://{}", ports.web)),
        ("MAX_UPDATES_PER_SECOND", updates),
        ("ENABLE_LOGROTATION", "False".to_owned()),
        ("CARBON_METRIC_INTERVAL", "10".to_owned()),
        ("TAG_UPDATE_INTERVAL", "1".to_owned()),
    ];
    let is_ours = |line: &&str| {
        ours.iter()
            .any(|(key, _)| line.starts_with(&format!("{key} =")))
    };
    let kept = CARBON.lines().filter(|line| !is_ours(line));
    let ours = ours.iter().map(|(key, value)| format!("{key} = {value}\n"));
    kept.map(|line| format!("{line}\n")).chain(ours).collect()
}

fn web_settings(ports: &Ports) -> String {
    // The cache durations: answers would else be kept for a minute, and a test would read old ones.
    // The timeouts: reading everything back takes more than the default of six seconds where the
    // processor is busy, and is then answered with 500.
    // PRAGMA synchronous: SQLite would else wait for the disk several times for each new series,
    // which takes minutes where others keep the disk busy. No test cuts the power.
    format!(
        r#"import os
import sys

from django.db.backends.signals import connection_created

SECRET_KEY = "for a graphite-web on loopback only"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
TIME_ZONE = "UTC"
WEBAPP_DIR = os.path.join(sys.prefix, "webapp")
STATIC_ROOT = os.path.join(os.environ["GRAPHITE_STORAGE_DIR"], "static")
WHITENOISE_USE_FINDERS = True
CARBONLINK_HOSTS = ["{query}:a"]
CARBONLINK_TIMEOUT = 30.0
DEFAULT_CACHE_DURATION = 0
TAGDB_CACHE_DURATION = 0
FIND_CACHE_DURATION = 0
FIND_TIMEOUT = 300.0
FETCH_TIMEOUT = 300.0
LOG_ROTATION = False


def do_not_wait_for_the_disk(connection, **_):
    connection.cursor().execute("PRAGMA synchronous = OFF")


connection_created.connect(do_not_wait_for_the_disk)
"#,
        query = ports.query,
    )
}
