//! One LastRaw answer of more than 200 MB through the component in the host: however long an
//! answer is, its memory stays below 16 MB.

use std::{
    fs, io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use catchpoint_graphite_host::{
    app::{App, Options},
    manifest::Manifest,
};
use catchpoint_sandbox::{Sandbox, Settings, write_config};
use catchpoint_testbed::workspace;

use crate::{sink, table::Row, world};

/// The least bytes that the answer must have.
const ANSWER: u64 = 200_000_000;
/// The linear memory that the component must stay below, in bytes.
const MOST_MEMORY: usize = 16_000_000;

/// What was measured.
pub struct Measured {
    /// For the table.
    pub rows: Vec<Row>,
    memory: usize,
}

impl Measured {
    /// Fails if the component has had too much memory.
    pub fn judge(&self) -> Result<()> {
        if self.memory >= MOST_MEMORY {
            bail!(
                "the component had {} bytes of memory, the most is {MOST_MEMORY}",
                self.memory
            );
        }
        Ok(())
    }
}

/// Collects once.
pub fn run() -> Result<Measured> {
    let sandbox = Arc::new(world::sandbox(50, 9, 1));
    let bytes = io::copy(&mut world::last_raw(&sandbox)?, &mut io::sink())?;
    ensure!(bytes >= ANSWER, "the answer has only {bytes} bytes");
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let (memory, lines, time) = runtime.block_on(collect(sandbox, folder.path()))?;
    let row = Row::new("component in the host", lines as f64, "samples", &[time]).note(format!(
        "one answer of {} MB in {:.1} s ({:.0} MB/s), peak memory {:.1} MB of {} MB allowed",
        bytes / 1_000_000,
        time.as_secs_f64(),
        bytes as f64 / 1e6 / time.as_secs_f64(),
        memory as f64 / 1e6,
        MOST_MEMORY / 1_000_000
    ));
    let rows = vec![row];
    Ok(Measured { rows, memory })
}

/// The most memory, the lines at the relay, the time.
async fn collect(
    sandbox: Arc<Sandbox>,
    folder: &std::path::Path,
) -> Result<(usize, u64, Duration)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = folder.join("config");
    write_config(&config, address, sandbox.world(), &Settings::default())?;
    let path = config.join("config_catchpoint.yaml");
    let text = fs::read_to_string(&path)?;
    let batch = text.lines().find(|line| line.starts_with("batch_size:"));
    let text = text.replace(batch.context("no batch_size")?, "batch_size: 50");
    fs::write(&path, text)?;
    let _server = sandbox.serve(listener)?;

    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let relay_url = format!("http://{}", relay.local_addr()?);
    let lines = Arc::new(AtomicU64::new(0));
    let sink = tokio::spawn(sink::relay(relay, Arc::clone(&lines)));

    let manifest = Manifest::load(&workspace().join("spin.toml"))?;
    let variables = [
        ("catchpoint_host", format!("http://{address}")),
        ("relay_url", relay_url),
    ];
    let options = Options {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        config: Some(config),
        ..Options::new(folder.join("state"))
    };
    let app = App::new(manifest, &options)?;
    let begun = Instant::now();
    let now = u64::try_from(chrono::Utc::now().timestamp())?;
    app.fire_cron(now).await?;
    let time = begun.elapsed();
    sink.abort();
    let lines = lines.load(Ordering::Relaxed);
    ensure!(lines > 10_000_000, "only {lines} lines came");
    Ok((app.peak_memory(), lines, time))
}
