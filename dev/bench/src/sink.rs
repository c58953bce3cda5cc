//! Stands in for carbon: takes lines as fast as they come, and counts them.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use catchpoint_testbed::wait;

/// A sink that runs as long as the program.
pub struct Carbon {
    /// Where it listens.
    pub addr: SocketAddr,
    lines: Arc<AtomicU64>,
}

impl Carbon {
    /// Starts on a free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let lines = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lines);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || drain(stream, &counter));
            }
        });
        Ok(Self { addr, lines })
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Waits until there are so many.
    pub fn wait(&self, lines: u64, within: Duration) -> Result<()> {
        wait::until("all lines at the sink", within, || {
            Ok((self.lines() >= lines).then_some(()))
        })
        .map_err(|error| anyhow!("{error}: {} of {lines}", self.lines()))
    }
}

fn drain(mut stream: TcpStream, lines: &AtomicU64) {
    let mut buffer = vec![0; 1 << 18];
    // An error is the end too: what is missing is missed by whoever counts.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let read = buffer.get(..read).unwrap_or_default();
        let newlines = read.iter().filter(|byte| **byte == b'\n').count();
        lines.fetch_add(newlines as u64, Ordering::Relaxed);
    }
}
