//! What the status page shows of the past. It is bounded, in memory, and gone when the relay stops.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::lines::CheckedLines;
use crate::metrics::Metrics;

/// Minutes that the page shows, the one that goes on included.
pub const MINUTES: usize = 60;
/// Examples of refused lines that are kept for each reason.
const EXAMPLES: usize = 3;
/// Collectors whose last report is kept, and test types of each.
const MAX_COLLECTORS: usize = 16;
const MAX_TYPES: usize = 64;
/// Longest series name of a report that is believed.
const MAX_NAME_BYTES: usize = 200;
/// What the first line of a report is about; the name before it is the collector's.
const REPORT_MARK: &str = ".run.milliseconds";

/// Keeps the past.
#[derive(Debug)]
pub struct History(Mutex<Past>);

/// The past.
#[derive(Debug, Clone)]
pub struct Past {
    /// When the relay started, in seconds since 1970.
    pub started: u64,
    /// When lines were last stored.
    pub last_arrival: Option<u64>,
    /// The last whole minutes, the newest last.
    pub minutes: VecDeque<Minute>,
    /// The sums up to the last whole minute.
    counted: Minute,
    /// The last run of each collector, by its `self_metrics_prefix`.
    pub runs: BTreeMap<String, Run>,
    /// The last examples of refused lines, by reason.
    pub refused: BTreeMap<String, VecDeque<String>>,
}

/// What happened in a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Lines stored.
    pub stored: u64,
    /// Lines that carbon confirmed, those sent again included.
    pub confirmed: u64,
    /// Lines that waited at its end.
    pub waiting: u64,
}

/// What a collector has reported of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// When it ended, in seconds since 1970.
    pub ended: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// How many things went wrong.
    pub failures: u64,
    /// Tests in its configuration.
    pub configured: u64,
    /// Tests with an answer that the relay has.
    pub collected: u64,
    /// Tests with open gaps.
    pub gap_tests: u64,
    /// What it brought by test type; a type without an answer has that of an earlier run.
    pub types: BTreeMap<String, TypeFigures>,
}

/// What a run brought of a test type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeFigures {
    /// When that run ended.
    pub ended: u64,
    /// Tests with an answer.
    pub tests: u64,
    /// Lines that the relay stored.
    pub lines: u64,
}

impl Default for History {
    fn default() -> Self {
        Self(Mutex::new(Past {
            started: clock::now(),
            last_arrival: None,
            minutes: VecDeque::new(),
            counted: Minute::default(),
            runs: BTreeMap::new(),
            refused: BTreeMap::new(),
        }))
    }
}

impl History {
    /// The past, locked.
    pub fn past(&self) -> MutexGuard<'_, Past> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes lines that were stored. A post that begins as a report of a collector is read as one.
    pub fn stored(&self, first_block: Option<&[u8]>) {
        let report = first_block.and_then(Run::parse);
        let mut past = self.past();
        past.last_arrival = Some(clock::now());
        if let Some((collector, run)) = report {
            past.note_run(collector, run);
        }
    }

    /// Notes examples of refused lines.
    pub fn refused(&self, lines: &CheckedLines) {
        let mut past = self.past();
        let samples = lines.samples.iter();
        for (reason, example) in samples.filter_map(|sample| sample.split_once(' ')) {
            let examples = past.refused.entry(reason.to_owned()).or_default();
            examples.push_back(example.to_owned());
            if examples.len() > EXAMPLES {
                examples.pop_front();
            }
        }
    }

    /// Ends a minute. The gauges must be up to date.
    pub fn end_minute(&self, metrics: &Metrics) {
        let mut past = self.past();
        let minute = past.this_minute(metrics);
        past.minutes.push_back(minute);
        if past.minutes.len() >= MINUTES {
            past.minutes.pop_front();
        }
        past.counted.stored += minute.stored;
        past.counted.confirmed += minute.confirmed;
    }
}

impl Past {
    /// What has happened since the last whole minute.
    #[must_use]
    pub fn this_minute(&self, metrics: &Metrics) -> Minute {
        let since = |sum: u64, counted: u64| sum.saturating_sub(counted);
        Minute {
            stored: since(metrics.lines_accepted.get(), self.counted.stored),
            confirmed: since(metrics.lines_confirmed.get(), self.counted.confirmed),
            waiting: metrics.spool_lines.get(),
        }
    }

    fn note_run(&mut self, collector: String, mut run: Run) {
        let before = self.runs.remove(&collector).unwrap_or_default();
        for (name, earlier) in before.types {
            let has_answer = run.types.get(&name).is_some_and(|now| now.tests > 0);
            if !has_answer && run.types.len() < MAX_TYPES {
                run.types.insert(name, earlier);
            }
        }
        while self.runs.len() >= MAX_COLLECTORS {
            let oldest = self.runs.iter().min_by_key(|(_, run)| run.ended);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.runs.remove(&oldest);
        }
        self.runs.insert(collector, run);
    }
}

impl Run {
    /// Reads the lines of a report and the name of its collector, if these are such lines.
    fn parse(block: &[u8]) -> Option<(String, Self)> {
        let first = block.split(|byte| *byte == b'\n').next()?;
        let name = first.split(|byte| *byte == b' ').next()?;
        let collector = name.strip_suffix(REPORT_MARK.as_bytes())?;
        if collector.len() > MAX_NAME_BYTES {
            return None;
        }
        let collector = std::str::from_utf8(collector).ok()?;
        let mut run = Self::default();
        for line in std::str::from_utf8(block).ok()?.lines() {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?.strip_prefix(collector)?.strip_prefix('.')?;
            let value = fields.next()?.parse().ok()?;
            run.ended = fields.next()?.parse().ok()?;
            match name {
                "run.milliseconds" => run.milliseconds = value,
                "run.failures" => run.failures = value,
                "tests.configured" => run.configured = value,
                "tests.collected" => run.collected = value,
                "gaps.open_tests" => run.gap_tests = value,
                _ => run.note_type(name, value),
            }
        }
        Some((collector.to_owned(), run))
    }

    fn note_type(&mut self, name: &str, value: u64) {
        let figure = name.strip_prefix("types.");
        let Some((name, figure)) = figure.and_then(|name| name.rsplit_once('.')) else {
            return;
        };
        let is_room = self.types.len() < MAX_TYPES || self.types.contains_key(name);
        if !is_room || name.len() > MAX_NAME_BYTES {
            return;
        }
        let of_type = self.types.entry(name.to_owned()).or_default();
        of_type.ended = self.ended;
        match figure {
            "tests" => of_type.tests = value,
            "lines" => of_type.lines = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(collector: &str, ended: u64, types: &[(&str, u64)]) -> String {
        let mut text = format!(
            "{collector}.run.milliseconds 2310 {ended}\n{collector}.tests.collected 5 {ended}\n"
        );
        for (name, tests) in types {
            text += &format!("{collector}.types.{name}.tests {tests} {ended}\n");
            text += &format!("{collector}.types.{name}.lines {} {ended}\n", tests * 10);
        }
        text
    }

    fn note(history: &History, text: &str) {
        history.stored(Some(text.as_bytes()));
    }

    #[test]
    fn a_report_is_kept_by_collector_and_type() {
        let history = History::default();
        note(&history, &report("a.b", 900, &[("web", 3), ("dns", 2)]));
        note(&history, &report("a.b", 1800, &[("web", 3), ("dns", 0)]));
        note(&history, "a.b.c 1 2700\n");
        let past = history.past();
        let run = &past.runs["a.b"];
        assert_eq!(
            (run.ended, run.milliseconds, run.collected),
            (1800, 2310, 5)
        );
        let of_type = |ended, tests| TypeFigures {
            ended,
            tests,
            lines: tests * 10,
        };
        assert_eq!(run.types["web"], of_type(1800, 3));
        assert_eq!(run.types["dns"], of_type(900, 2));
        assert_eq!(past.runs.len(), 1);
    }

    #[test]
    fn all_is_bounded() {
        let history = History::default();
        let types: Vec<_> = (0..200).map(|n| format!("type{n}")).collect();
        let types: Vec<_> = types.iter().map(|name| (name.as_str(), 1)).collect();
        for n in 0..100 {
            note(&history, &report(&format!("collector{n}"), n, &types));
            history.end_minute(&Metrics::default());
        }
        note(&history, &report(&"x".repeat(300), 1, &[]));
        let past = history.past();
        assert_eq!(past.runs.len(), MAX_COLLECTORS);
        assert!(past.runs.contains_key("collector99"));
        assert_eq!(past.runs["collector99"].types.len(), MAX_TYPES);
        assert_eq!(past.minutes.len(), MINUTES - 1);
    }

    #[test]
    fn a_minute_has_what_came_in_it() {
        let (history, metrics) = (History::default(), Metrics::default());
        for lines in [7, 0, 5] {
            metrics.lines_accepted.inc_by(lines);
            history.end_minute(&metrics);
        }
        metrics.lines_accepted.inc_by(2);
        let past = history.past();
        let stored: Vec<_> = past.minutes.iter().map(|minute| minute.stored).collect();
        assert_eq!(stored, [7, 0, 5]);
        assert_eq!(past.this_minute(&metrics).stored, 2);
    }
}
