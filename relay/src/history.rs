//! What the status page shows of the past. It is bounded, in memory, and gone when the relay stops.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::lines::{CheckedLines, Reason};
use crate::metrics::Metrics;

/// Minutes that the page shows, the one that goes on included.
pub const MINUTES: usize = 60;
/// Examples of refused lines that are kept for each reason.
const EXAMPLES: usize = 3;
/// Collectors whose last report is kept, and figures of each.
const MAX_COLLECTORS: usize = 16;
const MAX_FIGURES: usize = 200;
/// Longest series name of a report that is believed.
const MAX_NAME_BYTES: usize = 200;
/// What the first line of a report is about; the name before it is the collector's.
const REPORT_MARK: &[u8] = b".run.milliseconds";

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
    /// What was counted at the start and at the end of each whole minute, the newest last.
    ends: VecDeque<Minute>,
    /// What each collector has reported of its runs, by its `self_metrics_prefix`.
    pub runs: BTreeMap<String, Run>,
    /// The last examples of refused lines.
    pub refused: BTreeMap<Reason, VecDeque<String>>,
}

/// What happened in a minute, or up to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Lines stored.
    pub stored: u64,
    /// Lines that carbon confirmed, those sent again included.
    pub confirmed: u64,
    /// Lines that waited at its end.
    pub waiting: u64,
}

/// The last figures that a collector has reported, by their names without its prefix, and when. One of a
/// test type that is 0 does not replace that of an earlier run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// When the last run ended, in seconds since 1970.
    pub ended: u64,
    figures: BTreeMap<String, (u64, u64)>,
}

/// What the last run with results of a test type brought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeRun<'a> {
    /// The type.
    pub name: &'a str,
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
            ends: VecDeque::from([Minute::default()]),
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
        let mut past = self.past();
        past.last_arrival = Some(clock::now());
        // Anything else is no report.
        let _ = first_block.and_then(|block| past.note_report(block));
    }

    /// Notes examples of refused lines.
    pub fn refused(&self, lines: &CheckedLines) {
        let mut past = self.past();
        for (reason, example) in &lines.samples {
            let examples = past.refused.entry(*reason).or_default();
            examples.push_back(example.clone());
            if examples.len() > EXAMPLES {
                examples.pop_front();
            }
        }
    }

    /// Ends a minute. The gauges must be up to date.
    pub fn end_minute(&self, metrics: &Metrics) {
        let ends = &mut self.past().ends;
        ends.push_back(Minute::up_to_now(metrics));
        if ends.len() > MINUTES {
            ends.pop_front();
        }
    }
}

impl Minute {
    fn up_to_now(metrics: &Metrics) -> Self {
        Self {
            stored: metrics.lines_accepted.get(),
            confirmed: metrics.lines_confirmed.get(),
            waiting: metrics.spool_lines.get(),
        }
    }
}

impl Past {
    /// The last minutes, the one that goes on at the end. The gauges must be up to date.
    #[must_use]
    pub fn minutes(&self, metrics: &Metrics) -> Vec<Minute> {
        let ends = self.ends.iter().skip(1).copied();
        let ends = ends.chain([Minute::up_to_now(metrics)]);
        let minute = |(begin, end): (&Minute, Minute)| Minute {
            stored: end.stored.saturating_sub(begin.stored),
            confirmed: end.confirmed.saturating_sub(begin.confirmed),
            waiting: end.waiting,
        };
        self.ends.iter().zip(ends).map(minute).collect()
    }

    /// Notes the lines of a report, if these are such lines.
    fn note_report(&mut self, block: &[u8]) -> Option<()> {
        // Most posts are none, which their first name shows.
        let name = block.split(|byte| *byte == b' ').next()?;
        let collector = str::from_utf8(name.strip_suffix(REPORT_MARK)?).ok()?;
        if collector.len() > MAX_NAME_BYTES {
            return None;
        }
        let mut run = self.runs.get(collector).cloned().unwrap_or_default();
        for line in str::from_utf8(block).ok()?.lines() {
            run.note(line.strip_prefix(collector)?.strip_prefix('.')?)?;
        }
        self.runs.insert(collector.to_owned(), run);
        if self.runs.len() > MAX_COLLECTORS {
            let oldest = self.runs.iter().min_by_key(|(_, run)| run.ended);
            let oldest = oldest.map(|(name, _)| name.clone())?;
            self.runs.remove(&oldest);
        }
        Some(())
    }
}

impl Run {
    fn note(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split_ascii_whitespace();
        let (name, value, time) = (fields.next()?, fields.next()?, fields.next()?);
        let (value, time) = (value.parse().ok()?, time.parse().ok()?);
        self.ended = time;
        let is_known = self.figures.contains_key(name);
        let is_room = self.figures.len() < MAX_FIGURES && name.len() <= MAX_NAME_BYTES;
        let earlier_stays = is_known && value == 0 && name.starts_with("types.");
        if (is_known || is_room) && !earlier_stays {
            self.figures.insert(name.to_owned(), (value, time));
        }
        Some(())
    }

    /// A figure of the last run; 0 if it has none.
    #[must_use]
    pub fn figure(&self, name: &str) -> u64 {
        self.figure_at(name, self.ended)
    }

    fn figure_at(&self, name: &str, ended: u64) -> u64 {
        let figure = self.figures.get(name).filter(|(_, time)| *time == ended);
        figure.map_or(0, |(value, _)| *value)
    }

    /// The runs by test type.
    pub fn types(&self) -> impl Iterator<Item = TypeRun<'_>> {
        self.figures.iter().filter_map(|(name, (tests, ended))| {
            let name = name.strip_prefix("types.")?.strip_suffix(".tests")?;
            Some(TypeRun {
                name,
                ended: *ended,
                tests: *tests,
                lines: self.figure_at(&format!("types.{name}.lines"), *ended),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(history: &History, collector: &str, ended: u64, types: &[(&str, u64)]) {
        let mut text = format!("{collector}.run.milliseconds 2310 {ended}\n");
        for (name, tests) in types {
            text += &format!("{collector}.types.{name}.tests {tests} {ended}\n");
            text += &format!("{collector}.types.{name}.lines {} {ended}\n", tests * 10);
        }
        history.stored(Some(text.as_bytes()));
    }

    #[test]
    fn a_report_is_kept_by_collector_and_type() {
        let history = History::default();
        note(&history, "a.b", 900, &[("web", 3), ("dns", 2)]);
        note(&history, "a.b", 1800, &[("web", 3), ("dns", 0)]);
        // Neither is a report.
        history.stored(Some(b"a.b.c 1 2700\n"));
        history.stored(Some(b"a.b.run.milliseconds 1 2700\na.c 1 2700\n"));
        let past = history.past();
        assert_eq!(past.runs.len(), 1);
        let run = &past.runs["a.b"];
        assert_eq!((run.ended, run.figure("run.milliseconds")), (1800, 2310));
        let of_type = |name, ended, tests, lines| TypeRun {
            name,
            ended,
            tests,
            lines,
        };
        let expected = [of_type("dns", 900, 2, 20), of_type("web", 1800, 3, 30)];
        assert!(run.types().eq(expected));
    }

    #[test]
    fn all_is_bounded() {
        let (history, metrics) = (History::default(), Metrics::default());
        let types: Vec<_> = (0..200).map(|n| format!("type{n}")).collect();
        let types: Vec<_> = types.iter().map(|name| (name.as_str(), 1)).collect();
        for n in 0..100 {
            note(&history, &format!("collector{n}"), n, &types);
            metrics.lines_accepted.inc_by(n);
            history.end_minute(&metrics);
        }
        metrics.lines_accepted.inc_by(7);
        note(&history, &"x".repeat(300), 1, &[]);
        let past = history.past();
        assert_eq!(past.runs.len(), MAX_COLLECTORS);
        assert_eq!(past.runs["collector99"].figures.len(), MAX_FIGURES);
        let minutes = past.minutes(&metrics);
        assert_eq!(minutes.len(), MINUTES);
        let stored: Vec<_> = minutes.iter().rev().map(|minute| minute.stored).collect();
        assert_eq!(stored[..3], [7, 99, 98]);
    }
}
