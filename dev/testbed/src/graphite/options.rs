//! What a test may choose about Graphite, and the configuration files made of it.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result};

/// The files that `deploy/graphite` recommends are those that the testbed runs with.
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

fn carbon_conf(options: &Options, ports: &Ports) -> String {
    let updates = options.max_updates_per_second;
    let updates = updates.map_or_else(|| "inf".to_owned(), |count| count.to_string());
    // TAG_QUEUE_SIZE: with its default of 10000 more than half of 30,000 new series were never
    // indexed, without any error. TAG_BATCH_SIZE: carbon gives up on a batch after five seconds, and
    // its default of 100 series can take that long on a busy machine.
    format!(
        "[cache]
USER =
DATABASE = whisper
ENABLE_LOGROTATION = False
LINE_RECEIVER_INTERFACE = {line_ip}
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_INTERFACE = {pickle_ip}
PICKLE_RECEIVER_PORT = {pickle_port}
CACHE_QUERY_INTERFACE = {query_ip}
CACHE_QUERY_PORT = {query_port}
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = {updates}
MAX_CREATES_PER_MINUTE = inf
CARBON_METRIC_INTERVAL = 0
ENABLE_TAGS = True
TAG_UPDATE_INTERVAL = 1
TAG_QUEUE_SIZE = 1000000
TAG_BATCH_SIZE = 20
GRAPHITE_URL = http://{web}
",
        line_ip = ports.line.ip(),
        line_port = ports.line.port(),
        pickle_ip = ports.pickle.ip(),
        pickle_port = ports.pickle.port(),
        query_ip = ports.query.ip(),
        query_port = ports.query.port(),
        web = ports.web,
    )
}

fn web_settings(ports: &Ports) -> String {
    // The cache durations: answers would else be kept for a minute, and a test would read old ones.
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
LOG_ROTATION = False


def do_not_wait_for_the_disk(connection, **_):
    connection.cursor().execute("PRAGMA synchronous = OFF")


connection_created.connect(do_not_wait_for_the_disk)
"#,
        query = ports.query,
    )
}
