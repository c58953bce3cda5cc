//! The testbed's own Graphite: what goes in comes out, also over a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use catchpoint_testbed::{
    Graphite, Options, Signal, Venv,
    graphite::{Range, Series},
    wait,
};

const METRICS: [&str; 10] = [
    "DNS(ms)",
    "Connect(ms)",
    "TimeToFirstByte(ms)",
    "#Items(Total)",
    "#Connections",
    "%Availability",
    "%PingPacketLoss",
    "Apdex",
    "FileSize",
    "SignalStrength(dBm)",
];
const ALL: &str = r"seriesByTag('name=~^system\.cp\.testdata\.')";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// Sends lines as a relay does: waits until carbon has closed its side too.
fn send(carbon: SocketAddr, lines: &str) {
    let mut stream = TcpStream::connect(carbon).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// One line for each metric, with values from `first` on.
fn lines(first: u32, time: i64) -> String {
    METRICS
        .iter()
        .zip(first..)
        .map(|(metric, value)| {
            format!("system.cp.testdata.{metric};testId=81093;nodeId=257 {value}.5 {time}\n")
        })
        .collect()
}

/// Waits until there are `count` datapoints in all, and gives the series sorted by name.
fn read_back(graphite: &Graphite, count: usize, range: Range) -> Vec<Series> {
    let mut series = wait::until("all datapoints", Duration::from_secs(30), || {
        let series = graphite.render(ALL, range)?;
        let found: usize = series.iter().map(|one| one.datapoints.len()).sum();
        Ok((found >= count).then_some(series))
    })
    .unwrap();
    series.sort_by(|a, b| a.target.cmp(&b.target));
    series
}

/// What Graphite must show after `lines(first, time)` for each of `sent`.
fn expected(sent: &[(u32, i64)]) -> Vec<(String, Vec<(i64, f64)>)> {
    let mut series: Vec<_> = METRICS
        .iter()
        .zip(0u32..)
        .map(|(metric, offset)| {
            let points = sent
                .iter()
                .map(|(first, time)| (*time, f64::from(first + offset) + 0.5))
                .collect();
            let name = format!("system.cp.testdata.{metric};nodeId=257;testId=81093");
            (name, points)
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    series
}

fn plain(series: Vec<Series>) -> Vec<(String, Vec<(i64, f64)>)> {
    series
        .into_iter()
        .map(|one| (one.target, one.datapoints))
        .collect()
}

#[test]
fn every_line_is_read_back_also_after_a_restart() {
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Some("1s:6h".to_owned()),
        ..Options::default()
    };
    let mut graphite = Graphite::start(&venv, folder.path(), &options).unwrap();
    let (first, second) = (now() - 60, now() - 30);
    let range = Range {
        from: first,
        until: second,
    };

    send(graphite.carbon_addr(), &lines(100, first));
    let series = read_back(&graphite, 10, range);
    assert_eq!(series[0].tags["testId"], "81093");
    assert_eq!(plain(series), expected(&[(100, first)]));
    let names = graphite
        .wait_series(&["testId=81093"], 10, Duration::from_secs(30))
        .unwrap();
    assert_eq!(names.len(), 10);

    // Points that were not written yet would be lost with the memory of carbon.
    wait::until("10 whisper files", Duration::from_secs(30), || {
        Ok((graphite.whisper_files() == 10).then_some(()))
    })
    .unwrap();
    let before = graphite.carbon_addr();
    let status = graphite.stop_carbon(Signal::TERM).unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    assert!(TcpStream::connect(before).is_err());
    graphite.start_carbon().unwrap();
    assert_eq!(graphite.carbon_addr(), before);

    send(graphite.carbon_addr(), &lines(200, second));
    let series = read_back(&graphite, 20, range);
    assert_eq!(plain(series), expected(&[(100, first), (200, second)]));

    let png = graphite
        .render_png(&[ALL], range, &[("title", "all"), ("width", "400")])
        .unwrap();
    assert!(png.len() > 2000, "{} bytes", png.len());
}
