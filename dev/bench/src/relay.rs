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

use crate::{
    Edition, ROUNDS,
    backlog::{LINE, fill},
    curve::Curve,
    measure,
    report::{Report, Row, Spread, Unit},
    sink::Carbon,
};

/// Bodies of one run, 1 MiB each.
const BODIES: usize = 64;
const BODY: usize = 1 << 20;
/// How long one run may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a program may take to start or stop.
const GRACE: Duration = Duration::from_secs(10);

/// A relay that runs.
pub struct Relay {
    /// Where it listens.
    pub addr: SocketAddr,
    process: Process,
}

impl Relay {
    /// Starts it, and waits until it takes posts.
    pub fn start(edition: &Edition, folder: &Path, carbon: SocketAddr) -> Result<Self> {
        Self::start_with(edition, folder, carbon, &[])
    }

    fn start_with(
        edition: &Edition,
        folder: &Path,
        carbon: SocketAddr,
        environment: &[(&str, &Path)],
    ) -> Result<Self> {
        let addr = port::free()?;
        let mut command = Command::new(edition.program("catchpoint-graphite-relay"));
        command
            .arg(format!("--listen={addr}"))
            .arg(format!("--carbon={carbon}"))
            .arg("--spool")
            .arg(folder.join("spool"))
            .envs(environment.iter().copied());
        let mut process = Process::spawn("relay", command, &folder.join("log"))?;
        wait_ready(&mut process, addr)?;
        Ok(Self { addr, process })
    }

    /// Its processor time so far, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        measure::cpu(self.process.id())
    }

    fn stop(self) -> Result<()> {
        self.process.stop(GRACE).map(drop)
    }
}

/// A program that passes lines on to a carbon of its own.
struct Contender {
    name: &'static str,
    /// What is sent at once: a request that is answered, or lines as they are.
    piece: Vec<u8>,
    is_http: bool,
    addr: SocketAddr,
    carbon: Carbon,
    process: Process,
}

/// Runs the rows about the relay.
pub fn run(report: &Report, editions: &[Edition]) -> Result<()> {
    throughput(report, editions)?;
    let edition = editions.first().context("no edition")?;
    slow_disk(report, edition)?;
    replay(report, edition)
}

/// Lines a second, with one connection and with 16.
fn throughput(report: &Report, editions: &[Edition]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lines = lines(BODY);
    let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64 * BODIES as u64;
    let mut contenders = Vec::new();
    for edition in editions {
        let carbon = Carbon::start()?;
        let Relay { addr, process } =
            Relay::start(edition, &folder.path().join(edition.name), carbon.addr)?;
        let (name, piece) = (edition.name, request(&lines));
        contenders.push(Contender {
            name,
            piece,
            is_http: true,
            addr,
            carbon,
            process,
        });
    }
    for (name, start) in [
        (
            "carbon-c-relay",
            carbon_c_relay as fn(&Path, SocketAddr, SocketAddr) -> Result<Option<Command>>,
        ),
        ("socat", socat),
    ] {
        let (carbon, addr) = (Carbon::start()?, port::free()?);
        let Some(command) = start(folder.path(), addr, carbon.addr)? else {
            report.say(&format!(
                "Nothing is compared with {name}, which is not installed."
            ))?;
            continue;
        };
        let mut process = Process::spawn(name, command, &folder.path().join("log"))?;
        process.wait_port(addr, GRACE)?;
        contenders.push(Contender {
            name,
            piece: lines.clone(),
            is_http: false,
            addr,
            carbon,
            process,
        });
    }
    for connections in [1, 16] {
        let mut costs = vec![(Vec::new(), Vec::new()); contenders.len()];
        for _ in 0..ROUNDS {
            for (contender, (walls, cpus)) in contenders.iter().zip(&mut costs) {
                let name = contender.name;
                let (wall, cpu) = contender
                    .pass(count, connections)
                    .with_context(|| format!("{name}, {connections} connections"))?;
                walls.push(wall);
                cpus.push(cpu);
            }
        }
        let Some(((ours, cpu), theirs)) = costs.split_first() else {
            continue;
        };
        for (contender, (walls, cpus)) in contenders.iter().skip(1).zip(theirs) {
            let what = format!("relay, 1 MiB posts, {connections} connections");
            let row = Row::new(
                &what,
                contender.name,
                Unit::Rate(count as f64, "lines"),
                ours,
                walls,
            );
            report.add(match contender.name {
                "carbon-c-relay" => row.wanted(12.0),
                "socat" => row.wanted(0.3),
                _ => row,
            })?;
            if contender.name == "carbon-c-relay" {
                let million = |cpus: &[f64]| -> Vec<f64> {
                    cpus.iter().map(|cpu| cpu / count as f64 * 1e6).collect()
                };
                report.add(
                    Row::new(
                        &format!("{what}, CPU a million lines"),
                        contender.name,
                        Unit::Seconds,
                        &million(cpu),
                        &million(cpus),
                    )
                    .wanted(10.0),
                )?;
            }
        }
    }
    Ok(())
}

impl Contender {
    /// The time until all lines have come out, and the processor time.
    fn pass(&self, count: u64, connections: usize) -> Result<(f64, f64)> {
        let (before, cpu) = (self.carbon.lines(), measure::cpu(self.process.id())?);
        let begun = Instant::now();
        send(
            self.addr,
            &self.piece,
            self.is_http,
            connections,
            BODIES / connections,
        )?;
        self.carbon.wait(before + count, LONGEST)?;
        Ok((
            begun.elapsed().as_secs_f64(),
            measure::cpu(self.process.id())? - cpu,
        ))
    }
}

/// Sends a piece so many times over each of some connections.
fn send(
    addr: SocketAddr,
    piece: &[u8],
    is_http: bool,
    connections: usize,
    times: usize,
) -> Result<()> {
    let sender = || -> Result<()> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST))?;
        for _ in 0..times {
            stream.write_all(piece)?;
            if is_http {
                answered(&mut stream)?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(sender)).collect();
        for sender in senders {
            match sender.join() {
                Ok(sent) => sent?,
                Err(_) => bail!("a sender died"),
            }
        }
        Ok(())
    })
}

/// Posts of ten lines where each fsync takes 5 ms more: many at once share one, and one after the
/// other cannot.
fn slow_disk(report: &Report, edition: &Edition) -> Result<()> {
    const SLOW: &str = include_str!("../slow_fsync.c");
    const POSTS: usize = 40;
    let folder = tempfile::tempdir()?;
    let (source, library) = (
        folder.path().join("slow_fsync.c"),
        folder.path().join("slow_fsync.so"),
    );
    fs::write(&source, SLOW)?;
    let mut cc = Command::new("cc");
    measure::run(
        cc.args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source),
    )?;
    let carbon = Carbon::start()?;
    let preload = [("LD_PRELOAD", library.as_path())];
    let relay = Relay::start_with(edition, folder.path(), carbon.addr, &preload)?;
    let post = request(&lines(800));
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (connections, costs) in [(64, &mut together), (1, &mut alone)] {
            let begun = Instant::now();
            send(relay.addr, &post, true, connections, POSTS)?;
            costs.push(begun.elapsed().as_secs_f64() / connections as f64);
        }
    }
    let what = "relay, 10-line posts over 64 connections, each fsync 5 ms slower";
    let row = Row::new(
        what,
        "one post after the other",
        Unit::Rate(POSTS as f64, "posts"),
        &together,
        &alone,
    );
    report.add(row.wanted(20.0))
}

/// What waits on disk, sent to a carbon that has come back.
fn replay(report: &Report, edition: &Edition) -> Result<()> {
    const CONNECTIONS: usize = 4;
    let folder = tempfile::tempdir()?;
    let lines = lines(BODY);
    let count =
        lines.iter().filter(|byte| **byte == b'\n').count() as u64 * (CONNECTIONS * BODIES) as u64;
    let file = folder.path().join("lines");
    fs::write(&file, lines.repeat(CONNECTIONS * BODIES))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let (own, addr) = (folder.path().join(round.to_string()), port::free()?);
        let relay = Relay::start(edition, &own, addr)?;
        send(relay.addr, &request(&lines), true, CONNECTIONS, BODIES)?;
        relay.stop()?;
        let carbon = Carbon::start_at(addr)?;
        let relay = Relay::start(edition, &own, addr)?;
        ours.push(carbon.timed(count, LONGEST)?);
        relay.stop()?;
        let carbon = Carbon::start()?;
        let mut socat = Command::new("socat");
        socat
            .args(["-u", "-b", "262144"])
            .arg(format!("OPEN:{}", file.display()))
            .arg(format!("TCP:{}", carbon.addr));
        if measure::run(&mut socat).is_err() {
            return report.say("The replay is compared with nothing: socat is not installed.");
        }
        theirs.push(carbon.timed(count, LONGEST)?);
    }
    report.add(
        Row::new(
            "replay of a backlog of 256 MiB",
            "socat, file to TCP",
            Unit::Rate(count as f64, "lines"),
            &ours,
            &theirs,
        )
        .wanted(0.5),
    )
}

/// How long a relay needs until it is ready, by the files in its spool.
pub fn growth(edition: &Edition) -> Result<Curve> {
    let carbon = port::free()?;
    let mut points = Vec::new();
    for files in [1, 1_000, 10_000, 50_000, 200_000] {
        let folder = tempfile::tempdir()?;
        fill(&folder.path().join("spool/batches"), files, LINE)?;
        let mut times = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            let relay = Relay::start(edition, folder.path(), carbon)?;
            times.push(begun.elapsed().as_secs_f64());
            relay.stop()?;
        }
        points.push((files as f64, Spread::of(times).median));
    }
    let title = "A start of the relay, by its spool";
    Ok(Curve::of(title, "spool files", points))
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

fn request(body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!(
        "POST /v1/lines HTTP/1.1\r\nhost: relay\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// About so many bytes of lines as the component makes them, of now: the metrics of one result after
/// the other.
fn lines(bytes: usize) -> Vec<u8> {
    const METRICS: [&str; 8] = [
        "Response(ms)",
        "DNS(ms)",
        "Connect(ms)",
        "SSL(ms)",
        "Send(ms)",
        "Wait(ms)",
        "Load(ms)",
        "%Availability",
    ];
    let now = chrono::Utc::now().timestamp();
    let mut lines = String::with_capacity(bytes);
    'results: for n in 0u32.. {
        let (test, node, step) = (142_600 + n % 200, n % 50, n % 5);
        let (tenth, time) = (n % 10, now - i64::from(n % 900));
        for metric in METRICS {
            if lines.len() + 100 > bytes {
                break 'results;
            }
            lines += &format!(
                "system.cp.testdata.{metric};testId={test};nodeId={node};stepNumber={step} {n}.{tenth} {time}\n"
            );
        }
    }
    lines.into_bytes()
}

fn socat(_: &Path, addr: SocketAddr, carbon: SocketAddr) -> Result<Option<Command>> {
    if Command::new("socat").arg("-V").output().is_err() {
        return Ok(None);
    }
    let mut command = Command::new("socat");
    // Its default of 8 KiB a read would be a handicap.
    command.args(["-u", "-b", "262144"]);
    let port = addr.port();
    command.arg(format!(
        "TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=64"
    ));
    command.arg(format!("TCP:{carbon}"));
    Ok(Some(command))
}

fn carbon_c_relay(folder: &Path, addr: SocketAddr, carbon: SocketAddr) -> Result<Option<Command>> {
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
    let config = folder.join("carbon-c-relay.conf");
    let text = format!(
        "listen type linemode {addr} proto tcp;\ncluster sink forward {carbon};\nmatch * send to sink stop;\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    // A queue for a whole run: it drops what does not fit.
    command
        .args(["-q", "2000000", "-b", "10000", "-f"])
        .arg(&config);
    Ok(Some(command))
}
