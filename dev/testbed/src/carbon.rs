//! A stand-in for carbon: a TCP listener that records what it gets and misbehaves on demand.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;

use anyhow::{Context as _, Result};

use crate::{port, wait};

/// The receive buffer of a stand-in that reads slowly or not at all from its start: small, so that
/// little is enough to fill it.
const SMALL_BUFFER: usize = 4096;

/// How the stand-in treats the connections that it accepts from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Reads and records all lines until the peer has shut down its side, then closes.
    Read,
    /// Reads and records at about this many bytes a second.
    ReadSlowly {
        /// Bytes a second, at least 1.
        bytes_per_second: u32,
    },
    /// Accepts and never reads: the socket buffers fill, then the peer blocks.
    NeverRead,
    /// Accepts and closes at once.
    Close,
    /// Accepts and resets the connection at once.
    Reset,
    /// Reads and records this many lines, then resets the connection.
    ResetAfter {
        /// Lines to read before.
        lines: usize,
    },
}

/// Everything a stand-in has recorded, over all its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Complete lines in order of arrival, without their newline; invalid UTF-8 replaced.
    pub lines: Vec<String>,
    /// Connections accepted.
    pub connections: usize,
    /// Connections that ended within a line. Carbon ignores such a half line, so it is not in
    /// `lines`.
    pub torn: usize,
}

/// A recording listener on a loopback port. Stops on drop.
#[derive(Debug)]
pub struct StandIn {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    record: Mutex<Record>,
    conduct: Mutex<Conduct>,
    /// One handle of each open connection, to end its reader when the stand-in stops.
    open: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

impl StandIn {
    /// Starts on a free port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(conduct: Conduct) -> Result<Self> {
        // Another one may have to start there later: no outgoing connection must get the port between.
        Self::start_at(port::free()?, conduct)
    }

    /// Starts on `addr`, for instance where another one has stopped before. One that begins by
    /// reading slowly or never has small receive buffers, so that a peer soon waits for room in
    /// them.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start_at(addr: SocketAddr, conduct: Conduct) -> Result<Self> {
        let listen = || format!("cannot listen on {addr}");
        let listener = TcpListener::bind(addr).with_context(listen)?;
        if matches!(conduct, Conduct::NeverRead | Conduct::ReadSlowly { .. }) {
            // Connections inherit it.
            SockRef::from(&listener)
                .set_recv_buffer_size(SMALL_BUFFER)
                .with_context(listen)?;
        }
        let addr = listener.local_addr().with_context(listen)?;
        let shared = Arc::new(Shared {
            record: Mutex::default(),
            conduct: Mutex::new(conduct),
            open: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Ok(Self {
            addr,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens, or has listened.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes how connections accepted from now on are treated.
    pub fn conduct(&self, conduct: Conduct) {
        *lock(&self.shared.conduct) = conduct;
    }

    /// What was recorded so far.
    #[must_use]
    pub fn record(&self) -> Record {
        lock(&self.shared.record).clone()
    }

    /// The complete lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.record().lines
    }

    /// Waits until at least `count` complete lines have come, and gives all of them.
    ///
    /// # Errors
    /// When they are not, saying how many there are.
    pub fn wait_lines(&self, count: usize, within: Duration) -> Result<Vec<String>> {
        let what = format!("{count} lines at the carbon stand-in");
        self.wait(&what, within, |record| record.lines.len() >= count)
            .map(|record| record.lines)
    }

    /// Waits until `enough` holds, and gives the record.
    ///
    /// # Errors
    /// When they are not, saying what there is.
    pub fn wait(
        &self,
        what: &str,
        within: Duration,
        enough: impl Fn(&Record) -> bool,
    ) -> Result<Record> {
        let found = wait::until(what, within, || {
            let record = lock(&self.shared.record);
            Ok(enough(&record).then(|| record.clone()))
        });
        found.with_context(|| {
            let record = self.record();
            let (lines, torn) = (record.lines.len(), record.torn);
            format!(
                "{lines} lines and {torn} torn ones came over {} connections",
                record.connections
            )
        })
    }

    /// Stops listening, cuts all connections and gives the record. A new one may
    /// [start](Self::start_at) on the same address.
    #[must_use]
    pub fn stop(mut self) -> Record {
        self.end();
        self.record()
    }

    fn end(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor; when that fails it is gone already.
        let _ = TcpStream::connect(self.addr);
        // A panic of the thread has been printed by then.
        let _ = acceptor.join();
        for stream in lock(&self.shared.open).drain(..) {
            // Fails when the peer has closed before.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            lock(&self.record).connections += 1;
            let conduct = *lock(&self.conduct);
            match conduct {
                Conduct::Close => drop(stream),
                Conduct::Reset => reset(stream),
                Conduct::NeverRead => lock(&self.open).push(stream),
                Conduct::Read | Conduct::ReadSlowly { .. } | Conduct::ResetAfter { .. } => {
                    self.read_in_background(stream, conduct);
                }
            }
        }
    }

    fn read_in_background(self: &Arc<Self>, stream: TcpStream, conduct: Conduct) {
        // A reader that stop() cannot end is not started: the connection is refused instead.
        let Ok(handle) = stream.try_clone() else {
            return;
        };
        lock(&self.open).push(handle);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let peer = stream.peer_addr().ok();
            let (chunk, pause) = match conduct {
                // A tenth of a second's bytes at a time, and not more from the kernel either.
                Conduct::ReadSlowly { bytes_per_second } => {
                    (bytes_per_second.max(10) / 10, Duration::from_millis(100))
                }
                _ => (64 * 1024, Duration::ZERO),
            };
            let limit = match conduct {
                Conduct::ResetAfter { lines } => lines,
                _ => usize::MAX,
            };
            let mut reader = BufReader::with_capacity(chunk as usize, &stream);
            shared.read(limit, |line| {
                thread::sleep(pause);
                let mut part = reader.by_ref().take(u64::from(chunk));
                part.read_until(b'\n', line)
            });
            // Both handles must go before the connection is closed.
            lock(&shared.open).retain(|open| open.peer_addr().ok() != peer);
            if matches!(conduct, Conduct::ResetAfter { .. }) {
                reset(stream);
            }
        });
    }

    /// Records lines until the stream ends or `limit` lines have come. `more` appends bytes up to
    /// a newline to the line and says how many came, 0 at the end.
    fn read(&self, limit: usize, mut more: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>) {
        let mut line = Vec::new();
        let mut count = 0;
        while count < limit {
            match more(&mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if line.pop_if(|byte| *byte == b'\n').is_some() {
                let text = String::from_utf8_lossy(&line).into_owned();
                lock(&self.record).lines.push(text);
                line.clear();
                count += 1;
            }
        }
        if !line.is_empty() {
            lock(&self.record).torn += 1;
        }
    }
}

/// Closes with a reset instead of a clean end.
fn reset(stream: TcpStream) {
    // Fails only for a dead socket, which the peer sees as a reset anyway.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// A panic elsewhere does not make the record less true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
