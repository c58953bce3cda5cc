//! The relay with much in its spool: how long it takes to start, whether it answers meanwhile, its
//! memory, and how fast carbon gets the backlog.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use catchpoint_testbed::{Process, port};

use crate::{
    Edition, measure,
    report::{Report, Row, Unit},
    sink::Carbon,
};

/// How long a backlog may take.
const LONGEST: Duration = Duration::from_secs(900);
/// A line as the component makes them.
pub const LINE: &str =
    "system.cp.testdata.DNS(ms);testId=142600;nodeId=7;stepNumber=0 12.5 1700000000\n";
/// A file system may allow no more than 65,000 names for one file.
const NAMES: u64 = 10_000;

/// Runs the relay on 10 GiB in batches of a megabyte, and on 200,000 batches of a line.
pub fn run(report: &Report, edition: &Edition) -> Result<()> {
    for (batches, lines) in [(10_240, (1 << 20) / LINE.len()), (200_000, 1)] {
        report.add(deliver(edition, batches, lines)?)?;
    }
    Ok(())
}

fn deliver(edition: &Edition, batches: u64, lines: usize) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let spool = folder.path().join("spool");
    fill(&spool.join("batches"), batches, &LINE.repeat(lines))?;
    let config = folder.path().join("config_graphite.yaml");
    fs::write(&config, "relay: { spool_max_bytes: 17179869184 }")?;
    let carbon = Carbon::start()?;
    let addr = port::free()?;
    let mut command = Command::new(edition.program("catchpoint-graphite-relay"));
    command
        .arg(format!("--listen={addr}"))
        .arg(format!("--carbon={}", carbon.addr))
        .arg("--config")
        .arg(config)
        .arg("--spool")
        .arg(spool);
    let begun = Instant::now();
    let relay = Process::spawn("relay", command, &folder.path().join("log"))?;
    let (mut started, mut slowest) = (None, Duration::ZERO);
    // Its own lines come on top.
    let all = batches * lines as u64;
    while carbon.lines() < all {
        ensure!(
            begun.elapsed() < LONGEST,
            "not delivered: {}",
            relay.printed()
        );
        let asked = Instant::now();
        if is_ok(addr, "/healthz") {
            slowest = slowest.max(asked.elapsed());
            if started.is_none() && is_ok(addr, "/readyz") {
                started = Some(begun.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let delivered = begun.elapsed();
    let memory = measure::memory(relay.id()).context("the relay is gone")?;
    let note = format!(
        "ready after {:.2} s, slowest healthz {} ms, delivered in {:.1} s",
        started.unwrap_or(delivered).as_secs_f64(),
        slowest.as_millis(),
        delivered.as_secs_f64(),
    );
    let bytes = (all * LINE.len() as u64) >> 20;
    let what = format!("relay, peak memory with {batches} batches of {bytes} MiB");
    let row = Row::new(&what, "at most", Unit::Megabytes, &[memory], &[64.0]);
    Ok(row.wanted(1.0).note(note))
}

/// Makes so many batches with the same lines. Each file has several names, so that it takes less time.
pub fn fill(folder: &Path, batches: u64, lines: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut checksum = flate2::Crc::new();
    checksum.update(lines.as_bytes());
    let (count, bytes, checksum) = (lines.lines().count(), lines.len(), checksum.sum());
    let path = |number: u64| {
        let sequence = 1_700_000_000_000_000 + number;
        folder.join(format!("{sequence}-{count}-{bytes}-{checksum:08x}.lines"))
    };
    for number in 0..batches {
        match number % NAMES {
            0 => fs::write(path(number), lines)?,
            name => fs::hard_link(path(number - name), path(number))?,
        }
    }
    Ok(())
}

fn is_ok(addr: SocketAddr, path: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(addr)?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200 "))
    };
    ask().unwrap_or(false)
}
