//! The body of Catchpoint's Test Data Webhook, the default JSON or our template, as the lines that
//! polling brings of the same run.
//!
//! What [`words`] has no row for becomes no line; it is counted and named. A word that is missing or
//! empty was not measured.

pub mod words;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;

use super::lenient::{Json, Raw, read, text, text_or_nothing, whole_number};
use super::page::Counts;
use crate::config::Settings;
use crate::config::catchpoint::TYPE_IDS;
use crate::config::graphite::{GraphiteSettings, Label};
use crate::graphite::{self, Part, RowEncoder};
use crate::host::body::excerpt;

/// How deep below `Summary` a value may lie; the deepest word has four parts.
const DEEPEST: usize = 6;

/// The types whose results the API gives by step or by hop only: transactions of all kinds, and
/// traceroute.
const IN_PARTS: [u64; 5] = [1, 12, 25, 26, 27];

/// The parts of a body that are read. Other objects and lists may hold values, so they are named.
const PARTS: [&str; 4] = ["TestDetail", "Summary", "Steps", "Diagnostic"];

/// Why values are skipped, besides [`graphite::EncodeError`]: the names that they are counted under.
const NOT_A_NUMBER: &str = "not_a_number";
/// The portal has not replaced a macro of the template.
const UNKNOWN_MACRO: &str = "unknown_macro";
/// The figures of a whole run, where the API has those of its steps or hops only.
const WHOLE_OF_PARTS: &str = "summary_of_steps_or_hops";
const UNREADABLE_STEP: &str = "unreadable_step";
const UNREADABLE_HOP: &str = "unreadable_hop";
/// A row without the name that a label is to hold: without the label it would be another series than
/// polling has.
const MISSING_LABEL: &str = "missing_label";

/// A JSON object whose values are read later, or never.
type Object<'a> = BTreeMap<String, Json<'a>>;

/// What a body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// The test's id.
    pub test: u64,
    /// The node's id.
    pub node: u64,
    /// When the run was, in seconds since the epoch.
    pub time: i64,
    /// Its values as lines.
    pub lines: Vec<u8>,
    /// How many values there are.
    pub counts: Counts,
    /// Words that have a value and no row.
    pub unknown: BTreeSet<String>,
}

impl Push {
    /// Reads a body, with the names and labels that the settings ask for.
    ///
    /// # Errors
    /// It is no JSON object, or does not say which test ran where and when; what is wrong, in words.
    pub fn read(body: &str, settings: &Settings) -> Result<Self, String> {
        // .NET likes to begin a text with a byte order mark.
        let body: Object<'_> = serde_json::from_str(body.trim_start_matches('\u{feff}'))
            .map_err(|error| excerpt(&format!("the body is not JSON: {error}")))?;
        let id = |key| whole_number(get(&body, key)).ok_or_else(|| format!("{key} is missing"));
        let (test, node) = (id("TestId")?, id("NodeId")?);
        let whole: Object<'_> = read(get(&body, "Summary")).ok_or("Summary is missing")?;
        let time = text(get(&whole, "Timestamp")).and_then(|text| epoch_second(&text));
        let time = time.ok_or("Summary.Timestamp is not a time such as 20260301120000000")?;
        let detail: Object<'_> = read(get(&body, "TestDetail")).unwrap_or_default();
        let kind = whole_number(get(&detail, "TypeId"));
        let mut groups = settings.catchpoint.tests.iter();
        let listed = groups.find(|group| group.ids.contains(&test));
        // What Catchpoint lists, polling finds under the name of its type.
        let mut known = TYPE_IDS.iter();
        let known = known.find(|(id, _)| Some(*id) == kind);
        let mut rows = Rows {
            names: &settings.graphite,
            test_name: text(get(&detail, "Name")),
            node_name: text(get(&body, "NodeName")),
            test_type: listed
                .map(|group| group.test_type.as_str())
                .or(known.map(|(_, name)| *name)),
            row: RowEncoder::default(),
            push: Self {
                test,
                node,
                time,
                ..Self::default()
            },
        };
        let steps: Vec<Raw<'_>> = read(get(&body, "Steps")).unwrap_or_default();
        for step in &steps {
            let step: Object<'_> = read(*step).unwrap_or_default();
            match (number_of(&step), read(get(&step, "Summary"))) {
                (Some(number), Some(words)) => rows.summary(Some(&number), &step, &words),
                _ => rows.push.counts.skip(UNREADABLE_STEP),
            }
        }
        let in_parts = !steps.is_empty() || kind.is_some_and(|kind| IN_PARTS.contains(&kind));
        match number_of(&body) {
            None if in_parts => rows.push.counts.skip(WHOLE_OF_PARTS),
            step => rows.summary(step.as_deref(), &body, &whole),
        }
        let diagnostic: Object<'_> = read(get(&body, "Diagnostic")).unwrap_or_default();
        let route: Object<'_> = read(get(&diagnostic, "TraceRoute")).unwrap_or_default();
        let hops: Vec<Raw<'_>> = read(get(&route, "Hops")).unwrap_or_default();
        for (index, hop) in hops.into_iter().enumerate() {
            rows.hop(index + 1, &read(hop).unwrap_or_default());
        }
        let is_part = |value: &Json<'_>| value.0.starts_with(['{', '[']);
        let others = body
            .iter()
            .filter(|(name, value)| is_part(value) && !PARTS.contains(&name.as_str()));
        rows.push
            .unknown
            .extend(others.map(|(name, _)| name.clone()));
        Ok(rows.push)
    }
}

/// What a body comes to, and what its rows are written with.
struct Rows<'p> {
    names: &'p GraphiteSettings,
    test_name: Option<Cow<'p, str>>,
    node_name: Option<Cow<'p, str>>,
    /// What the test is listed under, in the configuration or by Catchpoint.
    test_type: Option<&'p str>,
    row: RowEncoder,
    push: Push,
}

impl Rows<'_> {
    /// Begins a row of `part`; false if it has no name for a label.
    fn begin(&mut self, step: Option<&str>, hop: Option<&str>, part: &Object<'_>) -> bool {
        let Push {
            test, node, time, ..
        } = self.push;
        self.row.begin(test, node, step, hop, time);
        for label in &self.names.labels {
            let name = match label {
                Label::TestName => self.test_name.clone(),
                Label::NodeName => self.node_name.clone(),
                Label::TestType => self.test_type.map(Cow::Borrowed),
                Label::StepName if step.is_none() => continue,
                Label::StepName => text(get(part, "StepName")),
            };
            if !self.row.label(*label, &name.unwrap_or_default()) {
                self.push.counts.skip(MISSING_LABEL);
                return false;
            }
        }
        true
    }

    /// Writes the values of the run as a whole, or of one of its steps.
    fn summary(&mut self, step: Option<&str>, part: &Object<'_>, words: &Object<'_>) {
        if !self.begin(step, None, part) {
            return;
        }
        for (name, value) in words {
            if !words::NOT_MEASURED.contains(&name.as_str()) {
                self.word(name, *value, 1);
            }
        }
    }

    /// Writes the value of a word, or of all words below it.
    fn word(&mut self, path: &str, raw: Json<'_>, depth: usize) {
        if let Some(below) = read::<Object<'_>>(Some(raw)) {
            for (name, value) in below.iter().filter(|_| depth < DEEPEST) {
                self.word(&format!("{path}.{name}"), *value, depth + 1);
            }
            return;
        }
        match (words::metric(path), number_in(raw)) {
            (Some(_), Ok(None)) => self.push.counts.nulls += 1,
            (Some(metric), Ok(Some(number))) => self.write(metric, &number),
            (Some(_), Err(reason)) => self.push.counts.skip(reason),
            (None, Ok(Some(_))) => {
                self.push.unknown.insert(path.to_owned());
            }
            (None, _) => {}
        }
    }

    /// Writes what the probes of a hop say: their mean round trip, and which part of them was lost.
    fn hop(&mut self, number: usize, hop: &Object<'_>) {
        let times: Vec<Raw<'_>> = read(get(hop, "RoundTripTimes")).unwrap_or_default();
        let values = times.iter().map(|time| time.map_or(Ok(None), number_in));
        let values: Result<Vec<_>, _> = values.collect();
        let Some(values) = values.ok().filter(|values| !values.is_empty()) else {
            return self.push.counts.skip(UNREADABLE_HOP);
        };
        let came = values.iter().flatten();
        let came: Vec<f64> = came.filter_map(|number| number.parse().ok()).collect();
        if !self.begin(None, Some(&number.to_string()), hop) {
            return;
        }
        match came.is_empty() {
            true => self.push.counts.nulls += 1,
            false => {
                let mean = came.iter().sum::<f64>() / came.len() as f64;
                self.write(words::ROUND_TRIP, &hundredths(mean));
            }
        }
        let lost = (values.len() - came.len()) as f64 / values.len() as f64;
        self.write(words::PACKET_LOSS, &hundredths(100.0 * lost));
    }

    fn write(&mut self, metric: &str, number: &str) {
        self.push.counts.samples += 1;
        let (prefix, slugs) = (&self.names.metric_prefix, self.names.slug_names);
        let series = graphite::all_series(prefix, &[Some(metric.to_owned())], slugs);
        let series = series.into_iter().next().flatten().map(Part::new);
        let written = self
            .row
            .write(series.as_ref(), number, &mut self.push.lines);
        if let Err(error) = written {
            self.push.counts.skip(error.name());
        }
    }
}

/// The number that a single value is; none if it was not measured. Templates write all values as
/// texts, and yes and no as words.
///
/// # Errors
/// It is none; the name that this is counted under.
fn number_in<'a>(raw: Json<'a>) -> Result<Option<Cow<'a, str>>, &'static str> {
    let text = match text_or_nothing(Some(raw)) {
        Some(text) => text.unwrap_or_default(),
        // `true` and `false`.
        None => Cow::Borrowed(raw.0),
    };
    let word = text.trim();
    let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<Json<'_>>(word).is_ok();
    match word {
        "" => Ok(None),
        _ if is_number => Ok(Some(Cow::Owned(word.to_owned()))),
        _ if word.eq_ignore_ascii_case("true") => Ok(Some(Cow::Borrowed("1"))),
        _ if word.eq_ignore_ascii_case("false") => Ok(Some(Cow::Borrowed("0"))),
        _ if word.starts_with("${") => Err(UNKNOWN_MACRO),
        _ => Err(NOT_A_NUMBER),
    }
}

fn get<'a>(object: &Object<'a>, key: &str) -> Raw<'a> {
    object.get(key).copied()
}

/// The step that a part of the body is about, if it says so.
fn number_of(part: &Object<'_>) -> Option<String> {
    whole_number(get(part, "StepNumber")).map(|number| number.to_string())
}

/// The second of a time as the webhook writes it: `yyyyMMddHHmmssfff` in UTC. The fraction is cut
/// off, as polling does it, so that a push and a poll of one run are one point.
fn epoch_second(text: &str) -> Option<i64> {
    let digits = text.trim();
    let is_time = digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.get(..14).filter(|_| is_time)?;
    let time = NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    Some(time.and_utc().timestamp())
}

/// A mean of few figures has no more digits than that.
fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests;
