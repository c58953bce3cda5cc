//! What the tests share: a relay in this process or as its own, a sender, and lines to send.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use catchpoint_graphite_relay::carbon::backoff::Timing;
use catchpoint_graphite_relay::config::{Flags, Settings};
use catchpoint_graphite_relay::relay::{Relay, StartError};
use catchpoint_graphite_relay::spool::Content;
use catchpoint_graphite_relay::spool::disk::{Disk, Entry, OsDisk};
use catchpoint_graphite_relay::spool::recovery::OpenError;
use catchpoint_testbed::{Conduct, Error, Process, StandIn, port, wait};
use tokio::runtime::Runtime;

/// Long enough for anything that is meant to happen, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The relay's own program.
pub struct Program {
    pub process: Process,
    pub addr: SocketAddr,
}

impl Program {
    /// Starts it with its spool in `dir`; `more` are further flags.
    pub fn start(dir: &Path, carbon: SocketAddr, more: &[&str]) -> Self {
        Self::start_at(port::free().unwrap(), dir, carbon, more)
    }

    pub fn start_at(addr: SocketAddr, dir: &Path, carbon: SocketAddr, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"));
        command
            .args([
                "--listen",
                &addr.to_string(),
                "--carbon",
                &carbon.to_string(),
            ])
            .arg("--spool")
            .arg(dir.join("spool"))
            .args(more);
        let mut process = Process::spawn("relay", command, &dir.join("relay.log")).unwrap();
        process.wait_line("the relay accepts lines", SOON).unwrap();
        Self { process, addr }
    }
}

/// A relay in this process, with short times.
pub struct Inner {
    pub runtime: Runtime,
    pub relay: Option<Relay>,
    pub addr: SocketAddr,
}

pub fn settings(dir: &Path, carbon: SocketAddr) -> Settings {
    let mut settings = Settings::load(&Flags {
        listen: Some("127.0.0.1:0".to_owned()),
        carbon: Some((carbon.ip().to_string(), carbon.port())),
        spool: Some(dir.join("spool")),
        ..Flags::default()
    })
    .unwrap();
    settings.timing = Timing {
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(200),
        stall_timeout: Duration::from_millis(500),
    };
    settings
}

impl Inner {
    pub fn start(settings: Settings) -> Self {
        Self::start_on(settings, Arc::new(OsDisk))
    }

    pub fn start_on(settings: Settings, disk: Arc<dyn Disk>) -> Self {
        let runtime = Runtime::new().unwrap();
        let relay = start_relay(&runtime, &settings, &disk);
        Self {
            addr: relay.address(),
            relay: Some(relay),
            runtime,
        }
    }

    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    pub fn content(&self) -> Content {
        self.relay().content()
    }

    /// Waits until this holds of the spool.
    pub fn wait(&self, what: &str, holds: impl Fn(Content) -> bool) -> Content {
        until(what, || {
            Some(self.content()).filter(|content| holds(*content))
        })
    }

    /// Waits until everything is confirmed.
    pub fn wait_delivered(&self) -> Content {
        self.wait("all batches confirmed", |content| content.is_sent())
    }

    pub fn stop(mut self) -> Content {
        self.runtime.block_on(self.relay.take().unwrap().stop())
    }
}

/// How a [`TestDisk`] behaves.
#[derive(Default)]
pub struct Conditions {
    /// How long each write takes.
    pub write_time: Duration,
    /// Whether writes fail.
    pub fails: bool,
    /// Whether folders are not listed for now, so that a spool does not open.
    pub waits: bool,
    /// A file that is not read for now: reading it hangs.
    pub hangs_on: Option<PathBuf>,
}

/// The disk of the system, under these conditions.
#[derive(Default)]
pub struct TestDisk {
    conditions: Mutex<Conditions>,
    changed: Condvar,
}

impl TestDisk {
    pub fn new(conditions: Conditions) -> Arc<Self> {
        Arc::new(Self {
            conditions: Mutex::new(conditions),
            changed: Condvar::new(),
        })
    }

    pub fn change(&self, conditions: Conditions) {
        *self.conditions.lock().unwrap() = conditions;
        self.changed.notify_all();
    }
}

impl Disk for TestDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let conditions = self.conditions.lock().unwrap();
        let waits = |conditions: &mut Conditions| conditions.waits;
        drop(self.changed.wait_while(conditions, waits).unwrap());
        OsDisk.list(dir)
    }

    fn write(&self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        let conditions = self.conditions.lock().unwrap();
        let (time, fails) = (conditions.write_time, conditions.fails);
        drop(conditions);
        std::thread::sleep(time);
        if fails {
            return Err(io::Error::other("the disk fails"));
        }
        OsDisk.write(path, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let conditions = self.conditions.lock().unwrap();
        let hangs = |conditions: &mut Conditions| conditions.hangs_on.as_deref() == Some(path);
        drop(self.changed.wait_while(conditions, hangs).unwrap());
        OsDisk.read(path, max_bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
}

/// Starts a relay, on a spool that another one may have had a moment ago: a program that another
/// test is just starting holds the lock, too, until it has become a program of its own.
pub fn start_relay(runtime: &Runtime, settings: &Settings, disk: &Arc<dyn Disk>) -> Relay {
    until("the spool to be free", || {
        let start = Relay::start(settings.clone(), Arc::clone(disk));
        match runtime.block_on(start) {
            Err(StartError::Spool(OpenError::Locked(_))) => None,
            started => Some(started.unwrap()),
        }
    })
}

/// Waits until `look` gives something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait::until(what, SOON, || Ok::<_, Error>(look())).unwrap()
}

/// A well-behaved carbon at this address, where another one may have been before. Somebody who looks
/// for a free port may have it for a moment.
pub fn carbon_at(addr: SocketAddr) -> StandIn {
    until("a carbon at the address", || {
        StandIn::start_at(addr, Conduct::Read).ok()
    })
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request as it is, and reads the answer to its end.
pub fn send(addr: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(SOON))?;
    // Who is refused may get the answer before all is written.
    let written = stream.write_all(request);
    read_answer(&mut stream).or_else(|error| written.and(Err(error)))
}

/// Reads one answer up to the end of the connection.
pub fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| std::io::Error::other(format!("no whole answer: {text:?}")))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub fn post_with(addr: SocketAddr, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    send(addr, &request("POST", "/v1/lines", headers, body.as_ref())).unwrap()
}

pub fn post(addr: SocketAddr, body: impl AsRef<[u8]>) -> Answer {
    post_with(addr, &[], body)
}

pub fn get(addr: SocketAddr, path: &str) -> Answer {
    send(addr, &request("GET", path, &[], b"")).unwrap()
}

/// The value of a metric.
pub fn metric(addr: SocketAddr, name: &str) -> f64 {
    let page = get(addr, "/metrics").body;
    page.lines()
        .find_map(|line| {
            line.strip_prefix("catchpoint_graphite_relay_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        })
        .unwrap_or_else(|| panic!("no metric {name} in:\n{page}"))
        .parse()
        .unwrap()
}

/// Different good lines: `count` of them, of the part with this number.
pub fn lines(part: usize, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("system.cp.testdata.DNS(ms);testId={part};nodeId={n} {n}.5 1700000000"))
        .collect()
}

pub fn body(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// How many of these lines have not come yet.
pub fn missing(carbon: &StandIn, expected: &HashSet<String>) -> usize {
    let came: HashSet<String> = carbon.lines().into_iter().collect();
    expected.difference(&came).count()
}

/// Waits until all these lines have come, and checks that no others have.
pub fn wait_all(carbon: &StandIn, expected: &HashSet<String>) {
    until("all lines at carbon", || {
        (missing(carbon, expected) == 0).then_some(())
    });
    let came: HashSet<String> = carbon.lines().into_iter().collect();
    let own = |line: &&String| line.starts_with("carbon.relays.");
    let foreign: Vec<_> = came
        .difference(expected)
        .filter(|line| !own(line))
        .collect();
    assert!(foreign.is_empty(), "lines that nobody posted: {foreign:?}");
}
