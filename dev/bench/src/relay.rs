//! Lines through the relay, which has them on disk before it says so, against two programs that
//! pass them on from memory.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{Process, pipeline::wait_ready, port, target_dir};
use flate2::{Compression, write::GzEncoder};

use crate::{Edition, sink::Carbon, table::Row};

const ROUNDS: usize = 3;
/// Bodies of one run, 1 MiB each.
const BODIES: usize = 64;
const BODY: usize = 1 << 20;
/// How long one run may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a program may take to start or stop.
const GRACE: Duration = Duration::from_secs(10);

/// How lines are handed over.
#[derive(Clone, Copy)]
enum Way {
    /// Bodies of requests, each answered before the next.
    Http { gzip: bool },
    /// As they are.
    Tcp,
}

/// A program that passes lines on to a carbon of its own.
struct Contender {
    name: String,
    way: Way,
    addr: SocketAddr,
    carbon: Carbon,
    process: Process,
}

/// Runs all of them, with one connection and with 16.
pub fn run(editions: &[Edition]) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let lines = lines();
    let count = lines.iter().filter(|byte| **byte == b'\n').count();
    let mut contenders = Vec::new();
    for edition in editions {
        contenders.push(relay(folder.path(), edition, false)?);
        contenders.push(relay(folder.path(), edition, true)?);
    }
    for (name, start) in [
        (
            "carbon-c-relay",
            carbon_c_relay as fn(&Path) -> Result<Option<Contender>>,
        ),
        ("socat", socat),
    ] {
        match start(folder.path())? {
            Some(contender) => contenders.push(contender),
            None => println!("{name} is missing; `cargo xtask setup` gets it"),
        }
    }
    let mut rows = Vec::new();
    for connections in [1, 16] {
        let mut times = vec![Vec::new(); contenders.len()];
        let before = contenders.iter().map(Contender::cpu_seconds);
        let before = before.collect::<Result<Vec<_>>>()?;
        for _ in 0..ROUNDS {
            for (contender, times) in contenders.iter().zip(&mut times) {
                let time = contender
                    .pass(&lines, count, connections)
                    .with_context(|| format!("{}, {connections} connections", contender.name))?;
                times.push(time);
            }
        }
        for ((contender, times), before) in contenders.iter().zip(&times).zip(before) {
            let name = format!("{}, {connections} conn.", contender.name);
            let lines = (count * BODIES) as f64;
            let cpu = (contender.cpu_seconds()? - before) / (lines * ROUNDS as f64 / 1e6);
            let note = format!("{cpu:.2} CPU s a million lines");
            rows.push(Row::new(&name, lines, "lines", times).note(note));
        }
    }
    Ok(rows)
}

impl Contender {
    /// What its process has used of the processors so far.
    fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Its name, which may hold anything, ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("no process")?;
        // Those of its children that have ended, too.
        let ticks = fields.split_whitespace().skip(11).take(4);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        // Linux shows a hundredth of a second.
        Ok(ticks / 100.0)
    }

    /// How long it takes until all lines have come out.
    fn pass(&self, lines: &[u8], count: usize, connections: usize) -> Result<Duration> {
        let request = match self.way {
            Way::Tcp => lines.to_vec(),
            Way::Http { gzip: false } => request(lines, ""),
            Way::Http { gzip: true } => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(lines)?;
                request(&encoder.finish()?, "content-encoding: gzip\r\n")
            }
        };
        let before = self.carbon.lines();
        let begun = Instant::now();
        thread::scope(|scope| {
            let senders: Vec<_> = (0..connections)
                .map(|_| scope.spawn(|| self.send(&request, BODIES / connections)))
                .collect();
            for sender in senders {
                match sender.join() {
                    Ok(sent) => sent?,
                    Err(_) => bail!("a sender died"),
                }
            }
            Ok(())
        })?;
        self.carbon
            .wait(before + (count * BODIES) as u64, LONGEST)?;
        Ok(begun.elapsed())
    }

    fn send(&self, request: &[u8], times: usize) -> Result<()> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST))?;
        for _ in 0..times {
            stream.write_all(request)?;
            if let Way::Http { .. } = self.way {
                answered(&mut stream)?;
            }
        }
        Ok(())
    }
}

/// Reads one answer, which must be 202.
fn answered(stream: &mut TcpStream) -> Result<()> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        text += &String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        if read == 0 || (text.contains("\r\n\r\n") && text.trim_end().ends_with('}')) {
            break;
        }
    }
    if !text.starts_with("HTTP/1.1 202") {
        bail!("the relay answered {text}");
    }
    Ok(())
}

fn request(body: &[u8], header: &str) -> Vec<u8> {
    let head = format!(
        "POST /v1/lines HTTP/1.1\r\nhost: relay\r\ncontent-type: text/plain\r\n{header}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// About 1 MiB of lines as the component makes them, of now.
fn lines() -> Vec<u8> {
    let now = chrono::Utc::now().timestamp();
    let mut lines = String::with_capacity(BODY);
    for n in 0u32.. {
        if lines.len() >= BODY - 100 {
            break;
        }
        lines += &format!(
            "system.cp.testdata.DNS(ms);testId={};nodeId={};stepNumber={} {}.{} {}\n",
            142_600 + n % 200,
            n % 50,
            n % 5,
            n,
            n % 10,
            now - i64::from(n % 900)
        );
    }
    lines.into_bytes()
}

fn relay(folder: &Path, edition: &Edition, gzip: bool) -> Result<Contender> {
    let carbon = Carbon::start()?;
    let addr = port::free()?;
    let form = if gzip { "gzip" } else { "plain" };
    let own = folder.join(format!("{}-{form}", edition.name));
    let mut command = Command::new(edition.program("catchpoint-graphite-relay"));
    command
        .arg(format!("--listen={addr}"))
        .arg(format!("--carbon={}", carbon.addr))
        .arg("--spool")
        .arg(own.join("spool"));
    let name = format!("{}, {form}", edition.name);
    started(
        &name,
        Way::Http { gzip },
        addr,
        carbon,
        command,
        &own.join("log"),
    )
}

fn socat(folder: &Path) -> Result<Option<Contender>> {
    if Command::new("socat").arg("-V").output().is_err() {
        return Ok(None);
    }
    let carbon = Carbon::start()?;
    let addr = port::free()?;
    let mut command = Command::new("socat");
    // Its default of 8 KiB a read would be a handicap.
    command.args(["-u", "-b", "262144"]);
    command.arg(format!(
        "TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,backlog=64",
        addr.port()
    ));
    command.arg(format!("TCP:{}", carbon.addr));
    started(
        "socat",
        Way::Tcp,
        addr,
        carbon,
        command,
        &folder.join("socat.log"),
    )
    .map(Some)
}

fn carbon_c_relay(folder: &Path) -> Result<Option<Contender>> {
    // Setup unpacks it there; somebody may have another one.
    let unpacked = target_dir().join("tools/usr/bin/carbon-c-relay");
    let program = if unpacked.exists() {
        unpacked
    } else {
        "carbon-c-relay".into()
    };
    if Command::new(&program).arg("-v").output().is_err() {
        return Ok(None);
    }
    let carbon = Carbon::start()?;
    let addr = port::free()?;
    let config = folder.join("carbon-c-relay.conf");
    let text = format!(
        "listen type linemode {} proto tcp;\ncluster sink forward {};\nmatch * send to sink stop;\n",
        addr, carbon.addr
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    // A queue for a whole run: it drops what does not fit.
    command
        .args(["-q", "2000000", "-b", "10000", "-f"])
        .arg(&config);
    let log = folder.join("carbon-c-relay.log");
    started("carbon-c-relay", Way::Tcp, addr, carbon, command, &log).map(Some)
}

fn started(
    name: &str,
    way: Way,
    addr: SocketAddr,
    carbon: Carbon,
    command: Command,
    log: &Path,
) -> Result<Contender> {
    let mut process = Process::spawn(name, command, log)?;
    match way {
        Way::Http { .. } => wait_ready(&mut process, addr)?,
        Way::Tcp => process.wait_port(addr, GRACE)?,
    }
    Ok(Contender {
        name: name.to_owned(),
        way,
        addr,
        carbon,
        process,
    })
}
