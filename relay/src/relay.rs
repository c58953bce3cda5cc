//! A running relay: its parts, put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};
use tracing::{info, warn};

use crate::access::{Access, AccessError, Gate};
use crate::carbon::Forwarder;
use crate::carbon::connect::Carbon;
use crate::clock;
use crate::config::Settings;
use crate::http::Service;
use crate::http::body::Reader;
use crate::inlet;
use crate::metrics::Metrics;
use crate::phase::Phase;
use crate::rejected::Rejects;
use crate::spool::commit::Committer;
use crate::spool::disk::{Disk, OsDisk};
use crate::spool::recovery::OpenError;
use crate::spool::{Content, Spool};
use crate::status::{Status, host_node};

/// Memory for bodies beside the largest one that is allowed: one sender alone cannot take all.
const MORE_BODIES_BYTES: usize = 8 << 20;
/// How long answers that are on their way may take when the relay stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Tokens or TLS.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} (listen, --listen): {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A running relay. Dropping it stops it at once; nothing that was answered is lost.
pub struct Relay {
    settings: Settings,
    address: SocketAddr,
    spool: Arc<Spool>,
    service: Arc<Service>,
    phase: watch::Sender<Phase>,
    /// The inlet, the forwarder and the reporter; none of them ends by itself.
    tasks: JoinSet<()>,
    running: Vec<AbortHandle>,
    commit: thread::JoinHandle<()>,
}

impl Relay {
    /// Opens the spool, listens, and begins to forward. Carbon need not be there.
    ///
    /// # Errors
    /// When a file, the spool or the address cannot be used.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_on(settings, Arc::new(OsDisk)).await
    }

    /// The same with the spool on this disk, for tests that pull the plug.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(settings: Settings, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::default());
        let gate = Arc::new(Gate::new(Access::load(&settings)?));
        let spool = Arc::new(Spool::open(
            &settings.spool,
            settings.limits,
            disk,
            Arc::clone(&metrics),
        )?);
        let listen = |source| StartError::Listen {
            address: listed(&settings.listen),
            source,
        };
        let listener = inlet::listen(&settings.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (committer, commit) = Committer::start(Arc::clone(&spool), Arc::clone(&metrics))
            .map_err(StartError::Thread)?;
        let status = Status::new(Arc::clone(&spool), Arc::clone(&metrics));
        let (own_lines, own_lines_out) = mpsc::channel(1);
        let phase = watch::Sender::new(Phase::Running);
        let service = Arc::new(Service {
            gate,
            committer,
            reader: Reader::new(
                settings.max_body_bytes,
                MORE_BODIES_BYTES,
                settings.patience,
            ),
            rejects: Arc::new(Rejects::new(&settings.spool)),
            status: status.clone(),
            metrics: Arc::clone(&metrics),
            phase: phase.subscribe(),
            under_way: watch::Sender::new(0),
        });
        let forwarder = Forwarder::new(
            Arc::clone(&spool),
            Carbon::new(
                &settings.carbon_host,
                settings.carbon_port,
                Arc::clone(&metrics),
            ),
            metrics,
            settings.timing,
            settings.max_lines_per_second,
            own_lines_out,
            phase.subscribe(),
        );
        let mut tasks = JoinSet::new();
        let running = vec![
            tasks.spawn(inlet::serve(
                listener,
                Arc::clone(&service),
                settings.patience,
            )),
            tasks.spawn(forwarder.run()),
            tasks.spawn(report(status, own_lines, settings.own_lines_interval)),
        ];
        Ok(Self {
            address,
            spool,
            service,
            phase,
            tasks,
            running,
            commit,
            settings,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is in its spool.
    #[must_use]
    pub fn content(&self) -> Content {
        self.spool.content()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }

    /// Reads the token file and the certificate again.
    pub fn reload(&self) {
        self.service.gate.reload(&self.settings);
    }

    /// Whether all its parts are at work.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.commit.is_finished() && !self.running.iter().any(AbortHandle::is_finished)
    }

    /// Takes no more posts.
    pub fn refuse(&self) {
        self.phase.send_replace(Phase::Refusing);
    }

    /// Takes no more posts, sends what is in the spool for at most the drain timeout, and stops.
    /// Gives what stays in the spool, which the next start sends.
    pub async fn stop(mut self) -> Content {
        let deadline = tokio::time::Instant::now() + self.settings.drain_timeout;
        self.refuse();
        let mut under_way = self.service.under_way.subscribe();
        let drained = async {
            // Fails only without a sender, and the service has it.
            let _ = under_way.wait_for(|count| *count == 0).await;
            self.phase.send_replace(Phase::Draining);
            // The first to end is the forwarder; badly only by a panic, which was printed then.
            let _ = self.tasks.join_next().await;
        };
        if timeout_at(deadline, drained).await.is_err() {
            warn!(
                seconds = self.settings.drain_timeout.as_secs(),
                "the drain timeout is over"
            );
        }
        self.phase.send_replace(Phase::Closing);
        // The next to end is the inlet, when all answers are out.
        let _ = timeout(CLOSE_TIMEOUT, self.tasks.join_next()).await;
        self.tasks.shutdown().await;
        drop(self.service);
        // The last connection gone, the thread ends; with it the spool's lock becomes free.
        // A hung disk does not hold up the stop.
        let _ = timeout(
            CLOSE_TIMEOUT,
            tokio::task::spawn_blocking(move || self.commit.join()),
        )
        .await;
        self.spool.content()
    }
}

/// Offers the relay's own figures to the forwarder now and then. While it is busy they are
/// dropped: they are only worth something fresh.
async fn report(status: Status, own_lines: mpsc::Sender<Vec<u8>>, every: Duration) {
    let host = host_node();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = clock::now();
        let _ = own_lines.try_send(status.own_lines(&host, now));
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    texts.join(" or ")
}

/// Says what the settings are, secrets apart.
pub fn announce(settings: &Settings) {
    info!(
        listen = listed(&settings.listen),
        carbon = format!("{}:{}", settings.carbon_host, settings.carbon_port),
        spool = %settings.spool.display(),
        spool_max_bytes = settings.limits.max_bytes,
        replay_window_seconds = settings.limits.replay_window.as_secs(),
        max_lines_per_second = settings.max_lines_per_second,
        max_body_bytes = settings.max_body_bytes,
        drain_timeout_seconds = settings.drain_timeout.as_secs(),
        token_file = settings.token_file.as_ref().map(|path| path.display().to_string()),
        tls_cert = settings.tls.as_ref().map(|files| files.cert.display().to_string()),
        "settings in force"
    );
    if clock::now() < clock::CERTAINLY_PAST {
        warn!(
            "the clock of this machine is wrong: until it is right, no line is refused because its time is in the future"
        );
    }
    if settings.is_open() {
        warn!(
            "--insecure: other machines reach this port, and it lacks a token file or TLS or both"
        );
    }
}
