//! One result that Catchpoint pushes, from its body to the relay's disk.
//!
//! It takes no lease and writes nothing to the store: nodes push at any moment, also while a run is
//! under way, and what came is in Graphite. So polling cannot know what came, and fetches it again;
//! Graphite keeps one of two equal points. How much came the relay counts.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::Serialize;

use crate::catchpoint::webhook::Push;
use crate::config::Settings;
use crate::graphite::{self, Part, RowEncoder};
use crate::host::{self, Host, Level};
use crate::relay::{Delivered, RelayClient, RelayError};
use crate::retry::later;

/// The longest body. A page of hundreds of hosts has some 100 KiB.
pub const MOST_BODY: usize = 1 << 20;

/// How long the relay is tried: a node waits 20 seconds for the answer.
const DEADLINE: Duration = Duration::from_secs(15);

/// Most words that an answer names.
const NAMED: usize = 50;

/// What became of a body; the answer to the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Lines that the relay has on its disk.
    pub accepted: u64,
    /// Lines that it did not take, by its reason.
    pub rejected: BTreeMap<String, u64>,
    /// Values of metrics that polling brings, too.
    pub samples: u64,
    /// Words without a value: not measured in this run.
    pub nulls: u64,
    /// Values that cannot be lines, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How many words have a value and no metric.
    pub unknown: u64,
    /// The first of them.
    pub unknown_words: Vec<String>,
}

/// Why nothing of a body is in Graphite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can never be used.
    #[error("{0}")]
    Unusable(String),
    /// The relay does not have it yet.
    #[error("{0}")]
    Relay(#[from] RelayError),
}

/// Whether somebody can push: the variable `webhook_token` is set.
pub fn is_open(host: &dyn Host) -> bool {
    let token = host.variable("webhook_token").ok().flatten();
    token.is_some_and(|token| !token.trim().is_empty())
}

/// Takes a body and returns when its lines are on the relay's disk.
///
/// # Errors
/// They are not.
pub fn receive(host: &dyn Host, settings: &Settings, body: &[u8]) -> Result<Received, Refused> {
    let received = deliver(host, settings, body);
    let (level, line) = match &received {
        Ok(received) if !received.rejected.is_empty() => {
            let rejected = &received.rejected;
            (
                Level::Error,
                format!("the relay rejected lines: {rejected:?}"),
            )
        }
        Ok(received) => (Level::Debug, format!("{received:?}")),
        Err(refused @ Refused::Unusable(_)) => (Level::Warn, format!("cannot be used: {refused}")),
        // The node posts again, and the runs report the relay.
        Err(refused) => (Level::Debug, refused.to_string()),
    };
    host::log(
        host,
        settings.catchpoint.log_level,
        level,
        &format!("webhook: {line}"),
    );
    received
}

fn deliver(host: &dyn Host, settings: &Settings, body: &[u8]) -> Result<Received, Refused> {
    let text = String::from_utf8_lossy(body);
    let mut push = Push::read(&text, settings).map_err(Refused::Unusable)?;
    let mut lines = std::mem::take(&mut push.lines);
    if let Some(prefix) = &settings.graphite.self_metrics_prefix {
        own_lines(prefix, &push, &mut lines);
    }
    let mut hash = DefaultHasher::new();
    body.hash(&mut hash);
    let Push {
        test, node, time, ..
    } = push;
    // A node posts a body again when it has not read our answer.
    let key = format!("webhook-{test}-{node}-{time}-{:016x}", hash.finish());
    let deadline = later(host.now(), DEADLINE);
    let mut delivered = Delivered::default();
    RelayClient::new(host, settings, &key, deadline, None)
        .of_result(time)
        .post(&mut lines, false, &mut delivered)?;
    Ok(Received {
        accepted: delivered.accepted,
        rejected: delivered.rejected,
        samples: push.counts.samples,
        nulls: push.counts.nulls,
        skipped: push.counts.skipped,
        unknown: push.unknown.len() as u64,
        unknown_words: push.unknown.into_iter().take(NAMED).collect(),
    })
}

/// What a body has that becomes no line, at the run's own second: series of each test and node, because
/// instances know nothing of each other, and Graphite can add the series up.
fn own_lines(prefix: &str, push: &Push, lines: &mut Vec<u8>) {
    let mut row = RowEncoder::default();
    row.begin(push.test, push.node, None, None, push.time);
    for (name, value) in [
        ("webhook.unknown", push.unknown.len() as u64),
        ("webhook.skipped", push.counts.skipped.values().sum()),
    ] {
        if value > 0 {
            let series = graphite::series(prefix, name).map(Part::new);
            // A time that is no time of carbon has been counted with each value.
            let _ = row.write(series.as_ref(), &value.to_string(), lines);
        }
    }
}
