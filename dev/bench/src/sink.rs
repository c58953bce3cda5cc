//! Stands in for carbon: takes lines as fast as they come, and counts them.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use catchpoint_testbed::wait;

use crate::catchpoint::read_call;

/// A sink that runs as long as the program.
#[derive(Clone)]
pub struct Carbon {
    /// Where it listens.
    pub addr: SocketAddr,
    lines: Arc<AtomicU64>,
    /// When the first lines came and the last: more than the one that a relay sends to see whether
    /// this is carbon.
    span: Arc<Mutex<Option<(Instant, Instant)>>>,
}

impl Carbon {
    /// Starts on a free port.
    pub fn start() -> Result<Self> {
        Self::start_at("127.0.0.1:0".parse()?)
    }

    /// Starts on this port.
    pub fn start_at(addr: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let carbon = Self {
            addr,
            lines: Arc::default(),
            span: Arc::default(),
        };
        let at = carbon.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let carbon = carbon.clone();
                thread::spawn(move || carbon.drain(stream));
            }
        });
        Ok(at)
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// The seconds from the first lines to so many.
    pub fn timed(&self, lines: u64, within: Duration) -> Result<f64> {
        self.wait(lines, within)?;
        let (begun, ended) = (*self.span()).context("no lines came")?;
        Ok((ended - begun).as_secs_f64())
    }

    /// Waits until there are so many.
    pub fn wait(&self, lines: u64, within: Duration) -> Result<()> {
        wait::until("all lines at the sink", within, || {
            Ok((self.lines() >= lines).then_some(()))
        })
        .map_err(|error| anyhow!("{error}: {} of {lines}", self.lines()))
    }

    fn span(&self) -> MutexGuard<'_, Option<(Instant, Instant)>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 1 << 18];
        // An error is the end too: what is missing is missed by whoever counts.
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let read = buffer.get(..read).unwrap_or_default();
            let newlines = read.iter().filter(|byte| **byte == b'\n').count() as u64;
            if newlines > 1 {
                let now = Instant::now();
                self.span().get_or_insert((now, now)).1 = now;
            }
            self.lines.fetch_add(newlines, Ordering::Relaxed);
        }
    }
}

/// A relay that takes whatever is posted, and keeps nothing.
pub fn relay() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || accept(stream));
        }
    });
    Ok(addr)
}

fn accept(stream: TcpStream) -> Result<()> {
    const TAKEN: &str = r#"{"batch":"b","accepted":1,"rejected":[],"rejected_total":0}"#;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(1 << 18, stream);
    while read_call(&mut stream)?.is_some() {
        let len = TAKEN.len();
        write!(
            stream.get_mut(),
            "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n{TAKEN}"
        )?;
    }
    Ok(())
}
