//! What takes lines as fast as they come, and counts them.

use std::{
    convert::Infallible,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use bytes::Bytes;
use catchpoint_testbed::wait;
use flate2::read::GzDecoder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

/// Stands in for carbon: reads whatever comes over TCP and counts its lines.
pub struct Carbon {
    /// Where it listens.
    pub addr: SocketAddr,
    lines: Arc<AtomicU64>,
}

impl Carbon {
    /// Starts on a free port, for as long as the program runs.
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
        .map_err(|error| anyhow::anyhow!("{error}: {} of {lines}", self.lines()))
    }
}

fn drain(mut stream: TcpStream, lines: &AtomicU64) {
    let mut buffer = vec![0; 1 << 18];
    // An error is the end too: what is missing is missed by whoever counts.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let read = buffer.get(..read).unwrap_or_default();
        lines.fetch_add(newlines(read), Ordering::Relaxed);
    }
}

/// Stands in for the relay: unpacks what is posted, counts its lines, says 202.
pub async fn relay(listener: tokio::net::TcpListener, lines: Arc<AtomicU64>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let lines = Arc::clone(&lines);
        let service = service_fn(move |request| take(request, Arc::clone(&lines)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn take(
    request: Request<Incoming>,
    lines: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let accepted = match body.map(|body| unpacked(&body.to_bytes())) {
        Ok(Ok(count)) => count,
        _ => {
            let mut refused = Response::new(Full::default());
            *refused.status_mut() = http::StatusCode::BAD_REQUEST;
            return Ok(refused);
        }
    };
    lines.fetch_add(accepted, Ordering::Relaxed);
    let answer = format!(r#"{{"batch":"b","accepted":{accepted},"rejected":[]}}"#);
    let mut response = Response::new(Full::from(answer));
    *response.status_mut() = http::StatusCode::ACCEPTED;
    Ok(response)
}

fn unpacked(body: &[u8]) -> Result<u64> {
    let (mut gzip, mut buffer, mut lines) = (GzDecoder::new(body), vec![0; 1 << 16], 0);
    loop {
        match gzip.read(&mut buffer)? {
            0 => break,
            read => lines += newlines(buffer.get(..read).unwrap_or_default()),
        }
    }
    if lines == 0 {
        bail!("a body without lines");
    }
    Ok(lines)
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
