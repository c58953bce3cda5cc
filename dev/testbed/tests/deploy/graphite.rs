//! `deploy/graphite`: a week of sparse results through a real carbon with exactly these files, read
//! back from each of the archives.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use catchpoint_testbed::graphite::Range;
use catchpoint_testbed::pipeline::{SOON, epoch_seconds};
use catchpoint_testbed::{Graphite, Options, Signal, Venv, wait};
use tempfile::TempDir;

use crate::tools::{Data, lines, read, results};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How the points of a step become one.
type RollUp = fn(&[f64]) -> f64;

const AVERAGE: RollUp = |values| values.iter().sum::<f64>() / values.len() as f64;
const SUM: RollUp = |values| values.iter().sum();
const LAST: RollUp = |values| values[values.len() - 1];

/// A metric of each kind that `storage-aggregation.conf` tells apart.
const METRICS: [(&str, RollUp); 4] = [
    ("DNS(ms)", AVERAGE),
    ("#Items(Total)", AVERAGE),
    ("#TestErrors", SUM),
    ("ExpirationTime", LAST),
];

/// One of the component's own figures, which have no tags.
const FIGURE: &str = "system.cp.collector.run.milliseconds";

/// How often a test runs, in seconds, and its id.
const TESTS: [(i64, u32); 2] = [(15 * MINUTE, 1), (HOUR, 2)];

/// A series as it is sent.
struct Sent {
    name: String,
    roll_up: RollUp,
    points: Vec<(i64, f64)>,
}

/// Seven days of results that begin ten days ago, at an odd second as they do: the first three are
/// too old for the archive of minutes, the last four were rolled up from it.
fn week(now: i64) -> Vec<Sent> {
    let begin = (now - 10 * DAY) / HOUR * HOUR + 7 * MINUTE + 23;
    let sent = |name, roll_up, interval| {
        let runs = i32::try_from(7 * DAY / interval).unwrap();
        let points = (0..runs).map(|run| {
            // Neither rising nor falling, so that first, last, least, most and mean all differ.
            let value = f64::from(run * 37 % 101);
            (begin + i64::from(run) * interval, value)
        });
        Sent {
            name,
            roll_up,
            points: points.collect(),
        }
    };
    let mut week = vec![sent(FIGURE.to_owned(), AVERAGE, TESTS[0].0)];
    for (interval, test) in TESTS {
        for (metric, roll_up) in METRICS {
            let name = format!("system.cp.testdata.{metric};nodeId=5;testId={test}");
            week.push(sent(name, roll_up, interval));
        }
    }
    week
}

/// What the week must look like in steps of so many seconds.
fn rolled_up(now: i64, step: i64) -> Data {
    let series = week(now).into_iter().map(|sent| {
        let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (time, value) in sent.points {
            steps.entry(time / step * step).or_default().push(value);
        }
        let rolled = steps
            .into_iter()
            .map(|(time, values)| (time, (sent.roll_up)(&values)));
        (sent.name, rolled.collect())
    });
    series.collect()
}

/// The part of some data in a range, both ends included.
fn within(data: Data, range: Range) -> Data {
    let series = data.into_iter().map(|(name, mut points)| {
        points.retain(|(time, _)| (range.from..=range.until).contains(time));
        (name, points)
    });
    series.collect()
}

fn shown(graphite: &Graphite, range: Range) -> Data {
    let mut data = results(graphite, range);
    // Found by its file and not by the index, it cannot be read while carbon makes that.
    let figure = graphite.render(FIGURE, range).unwrap_or_default();
    data.extend(figure.into_iter().map(|one| (one.target, one.datapoints)));
    data
}

/// A Graphite with the recommended files, `storage-aggregation.conf` changed, that has got the week.
fn filled(folder: &TempDir, now: i64, change: impl Fn(String) -> String) -> Graphite {
    let venv = Venv::ensure_default().unwrap();
    let mut graphite = Graphite::start(&venv, folder.path(), &Options::default()).unwrap();
    graphite.stop_carbon(Signal::TERM).unwrap();
    let file = graphite.folder().join("conf/storage-aggregation.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, change(text)).unwrap();
    graphite.start_carbon().unwrap();

    let week = week(now);
    let lines = lines(week.iter().map(|sent| (&sent.name, &sent.points)));
    let mut carbon = TcpStream::connect(graphite.carbon_addr()).unwrap();
    carbon.write_all(lines.as_bytes()).unwrap();
    carbon.shutdown(Shutdown::Write).unwrap();
    assert_eq!(carbon.read(&mut [0]).unwrap(), 0);
    graphite
}

/// Waits until carbon has written the week, and Graphite shows it like this.
fn assert_shown(graphite: &Graphite, range: Range, expected: &Data) {
    let mut last = Data::new();
    let same = wait::until("the week", SOON, || {
        last = shown(graphite, range);
        Ok((last == *expected).then_some(()))
    });
    if same.is_err() {
        assert_eq!(last, *expected);
    }
}

#[test]
fn a_week_of_sparse_results_is_there_in_every_archive() {
    let folder = tempfile::tempdir().unwrap();
    let now = epoch_seconds();
    // As on a Graphite that was there before: our sections, and carbon's own default.
    let ours = |text: String| text.split_once("\n[default]").unwrap().0.to_owned();
    let graphite = filled(&folder, now, ours);
    // Graphite reads the finest archive that reaches as far back as the question.
    for (from, step, points) in [
        (now - 6 * DAY, MINUTE, None),
        (now - 11 * DAY, 5 * MINUTE, Some(7 * 24 * 4)),
        (now - 61 * DAY, HOUR, Some(7 * 24)),
    ] {
        let range = Range { from, until: now };
        let expected = within(rolled_up(now, step), range);
        if let Some(points) = points {
            let series = &expected["system.cp.testdata.DNS(ms);nodeId=5;testId=1"];
            assert_eq!(series.len(), points, "steps of {step} s");
        }
        assert_shown(&graphite, range, &expected);
    }
}

/// Every test here runs with `carbon.conf`; the page says the same.
#[test]
fn the_page_says_what_the_configuration_has() {
    let page = read("deploy/graphite/README.md");
    let configuration = read("deploy/graphite/carbon.conf");
    let (_, table) = page.split_once("## carbon.conf").unwrap();
    let (_, table) = table.split_once("|---|---|---|\n").unwrap();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        // `inf`, or what else would do.
        let value = cells[2].split(['`', ' ']).next().unwrap();
        let value = if cells[1] == "GRAPHITE_URL" {
            "http"
        } else {
            value
        };
        assert!(
            configuration.contains(&format!("\n{} = {value}", cells[1])),
            "{row}"
        );
    }
}
