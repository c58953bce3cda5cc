//! A running relay: its parts, put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use strum::VariantNames as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::api::Service;
use crate::api::body::Reader;
use crate::api::status::Status;
use crate::blocking;
use crate::carbon::Forwarder;
use crate::carbon::connect::Carbon;
use crate::carbon::delivery::DeliveryError;
use crate::clock;
use crate::config::Settings;
use crate::host_node::host_node;
use crate::lines::reject_log::RejectLog;
use crate::metrics::Metrics;
use crate::server::admission::Limits;
use crate::server::auth::Tokens;
use crate::server::tls::TlsFiles;
use crate::server::watched::{FileError, Watched};
use crate::server::{Server, listen};
use crate::shutdown::Phase;
use crate::spool::commit::Committer;
use crate::spool::disk::Disk;
use crate::spool::recovery::OpenError;
use crate::spool::{Content, Spool};

/// How long answers that are on their way may take when the relay stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file of tokens, or one of TLS.
    #[error(transparent)]
    File(#[from] FileError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The address is in use, or cannot be had.
    #[error(
        "cannot listen on {address}: {error}; choose another address with `listen` or --listen, or free this one"
    )]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// The files that let a sender in.
#[derive(Clone)]
pub struct Credentials {
    tokens: Option<Arc<Watched<Tokens>>>,
    tls: Option<Arc<Watched<ServerConfig>>>,
}

impl Credentials {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, FileError> {
        let tokens = settings
            .token_file
            .as_deref()
            .map(Tokens::load)
            .transpose()?;
        let tls = settings.tls.as_ref().map(TlsFiles::load).transpose()?;
        Ok(Self {
            tokens: tokens.map(Arc::new),
            tls: tls.map(Arc::new),
        })
    }

    /// Reads each file again that has changed. One that cannot be used says nothing about the others.
    fn reload(&self) {
        self.tokens.iter().for_each(|tokens| tokens.reload());
        self.tls.iter().for_each(|tls| tls.reload());
    }
}

/// A running relay. Dropping it stops it at once; nothing that was answered is lost.
pub struct Relay {
    settings: Settings,
    address: SocketAddr,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    spool: Arc<Spool>,
    service: Arc<Service>,
    phase: watch::Sender<Phase>,
    /// The server, the forwarder and others; none of them ends by itself.
    tasks: JoinSet<()>,
    commit: thread::JoinHandle<()>,
}

impl Relay {
    /// Listens, opens the spool on this disk, and begins to forward. Carbon need not be there. While the
    /// spool is being opened the relay answers that it is starting.
    ///
    /// # Errors
    /// When a file, the address or the spool cannot be used.
    pub async fn start(settings: Settings, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        let credentials = Credentials::load(&settings)?;
        let metrics = Arc::new(Metrics::default());
        metrics.deliveries_failed.init(DeliveryError::VARIANTS);
        let phase = watch::Sender::new(Phase::Running);
        let service = Arc::new(Service::new(
            credentials.tokens.clone(),
            Reader::new(
                settings.max_body_bytes,
                settings.body_room_bytes,
                settings.timeouts,
            ),
            RejectLog::new(&settings.spool),
            Arc::clone(&metrics),
            phase.subscribe(),
            settings.max_future_seconds,
        ));
        let listen_error = |(address, error)| StartError::Listen { address, error };
        let listener = listen(&settings.listen).map_err(listen_error)?;
        let address = listener
            .local_addr()
            .map_err(|error| listen_error((String::new(), error)))?;
        let server = Server {
            service: Arc::clone(&service),
            tls: credentials.tls.clone(),
            timeouts: settings.timeouts,
            metrics: Arc::clone(&metrics),
            phase: phase.subscribe(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server.serve(listener, Limits::of_process()));
        let files = credentials.clone();
        tasks.spawn(every(settings.reload_interval, move || files.reload()));
        info!(listen = %address, "listening; posts get 503 until the spool is open");
        let (dir, limits) = (settings.spool.clone(), settings.limits);
        let counts = Arc::clone(&metrics);
        // Takes long if there is much in it.
        let spool = blocking::run(move || Spool::open(&dir, limits, disk, counts)).await?;
        let spool = Arc::new(spool);
        let committer = Committer::start(Arc::clone(&spool));
        let (committer, commit) = committer.map_err(StartError::Thread)?;
        let status = Status::new(Arc::clone(&spool), Arc::clone(&metrics));
        let (own_lines, own_lines_out) = mpsc::channel(1);
        let forwarder = Forwarder::new(
            Arc::clone(&spool),
            Carbon::new(
                &settings.carbon_host,
                settings.carbon_port,
                Arc::clone(&metrics),
            ),
            settings.timing,
            settings.max_lines_per_second,
            own_lines_out,
            phase.subscribe(),
        );
        tasks.spawn(forwarder.run());
        let (figures, host) = (status.clone(), host_node());
        tasks.spawn(every(settings.own_lines_interval, move || {
            // While the forwarder is busy they are dropped: the next ones follow soon.
            let _ = own_lines.try_send(figures.own_lines(&host, clock::now()));
        }));
        let (figures, history, counts) = (status.clone(), service.history(), Arc::clone(&metrics));
        tasks.spawn(every(settings.page_minute, move || {
            figures.refresh_metrics();
            history.end_minute(&counts);
        }));
        service.open(committer, status);
        Ok(Self {
            settings,
            address,
            credentials,
            metrics,
            spool,
            service,
            phase,
            tasks,
            commit,
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
        &self.metrics
    }

    /// Reads tokens and certificates again at once, if they have changed.
    pub fn reload(&self) {
        self.credentials.reload();
    }

    /// Whether all its parts are at work.
    #[must_use]
    pub fn is_well(&mut self) -> bool {
        !self.commit.is_finished() && self.tasks.try_join_next().is_none()
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
        let drained = async {
            self.service.idle().await;
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
        // The next to end is the server, when all answers are out.
        let _ = timeout(CLOSE_TIMEOUT, self.tasks.join_next()).await;
        self.tasks.shutdown().await;
        drop(self.service);
        // The last connection gone, the thread ends; with it the spool's lock becomes free.
        // A hung disk does not hold up the stop.
        let _ = timeout(CLOSE_TIMEOUT, blocking::run(|| self.commit.join())).await;
        self.spool.content()
    }
}

/// Does some work again and again, the first time after one interval.
async fn every(interval: Duration, work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    loop {
        sleep(interval).await;
        let work = Arc::clone(&work);
        blocking::run(move || work()).await;
    }
}

/// Logs the settings, secrets apart.
pub fn announce(settings: &Settings) {
    info!(
        listen = settings.listen_text(),
        carbon = format!("{}:{}", settings.carbon_host, settings.carbon_port),
        spool = %settings.spool.display(),
        spool_max_bytes = settings.limits.max_bytes,
        replay_window_seconds = settings.limits.replay_window.as_secs(),
        max_lines_per_second = settings.max_lines_per_second,
        max_body_bytes = settings.max_body_bytes,
        max_future_seconds = settings.max_future_seconds,
        drain_timeout_seconds = settings.drain_timeout.as_secs(),
        token_file = settings.token_file.as_ref().map(|path| path.display().to_string()),
        tls_cert = settings.tls.as_ref().map(|files| files.cert.display().to_string()),
        "settings in force"
    );
    if clock::now() < clock::CERTAINLY_PAST {
        warn!(
            "the clock of this machine is wrong: until it is right, no line is refused because its time is in the future; set it (NTP)"
        );
    }
    if settings.open_door().is_some() {
        warn!(
            "--insecure: other machines reach this port, and it lacks a token file or TLS or both"
        );
    }
}
