//! Failures on demand: a list of rules, each saying which calls it strikes and what happens to them.
//!
//! As JSON, for `PUT /sandbox/faults`:
//!
//! ```json
//! [{"kind": "lastraw", "skip": 2, "times": 1, "effect": {"status": {"code": 429, "retry_after": 30}}},
//!  {"test": 142607, "effect": {"error": {"message": "Access denied"}}},
//!  {"from": 1700000000, "to": 1700001200, "effect": "refuse"}]
//! ```

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::asked::{Asked, Kind};
use crate::lock;
use crate::token::TokenTrouble;

/// Which calls fail, and how. A rule without conditions strikes every call.
///
/// Of the rules that match a call, the first one decides; delays are added to whatever happens next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only calls of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only calls that ask for this test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<u64>,
    /// Only from this time on, in seconds since 1970 by the sandbox's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Only before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    /// Lets so many matching calls pass first.
    #[serde(default)]
    pub skip: u64,
    /// Strikes at most so many calls; without it there is no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// This status and a short body in the API's form. A code outside of 200 to 599 is answered as
    /// 500.
    Status {
        /// The HTTP status.
        code: u16,
        /// Seconds for the Retry-After header.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// The answer comes so much later.
    Delay {
        /// Milliseconds.
        millis: u64,
    },
    /// The good answer, but the connection breaks in the middle of it.
    Truncate {
        /// Where, in bytes; half of the answer if it is not given.
        #[serde(default)]
        after: Option<u64>,
    },
    /// A page in HTML, as a proxy in between would send.
    Html {
        /// The HTTP status, also 200.
        code: u16,
    },
    /// The API says that the token has expired.
    ExpiredToken {
        /// How it says so; v2 always answers 401.
        trouble: TokenTrouble,
    },
    /// HTTP 200 with an error in it.
    Error {
        /// The words of the error.
        message: String,
    },
    /// No connection.
    Refuse,
    /// HTTP 200 and good JSON, but not what the API should send.
    WrongShape,
    /// Exactly this answer: a redirect, a body with one odd value, a 429 in other words.
    Answer {
        /// The HTTP status.
        code: u16,
        /// Headers by name, besides the content type, JSON, which one of them may replace.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// The 403 that Cloudflare answers to a User-Agent that it does not like.
    Cloudflare {
        /// As JSON; else as HTML.
        json: bool,
    },
    /// The good answer in gzip, whether or not it was asked for.
    Gzip,
}

impl Effect {
    /// The name of the effect in JSON, and in [`crate::Call::fault`].
    pub fn name(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(effect)) => effect.keys().next().cloned(),
            Ok(serde_json::Value::String(name)) => Some(name),
            _ => None,
        }
        .unwrap_or_default()
    }
}

impl Rule {
    /// Strikes every call, until narrowed down.
    pub fn new(effect: Effect) -> Self {
        Self {
            kind: None,
            test: None,
            from: None,
            to: None,
            skip: 0,
            times: None,
            effect,
        }
    }

    /// Only calls of this kind.
    #[must_use]
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only calls that ask for this test.
    #[must_use]
    pub fn test(mut self, id: u64) -> Self {
        self.test = Some(id);
        self
    }

    /// Only at times of at least `from` and less than `to`.
    #[must_use]
    pub fn between(mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        self.from = Some(from.timestamp());
        self.to = Some(to.timestamp());
        self
    }

    /// Lets so many matching calls pass first.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Strikes at most so many calls.
    #[must_use]
    pub fn times(mut self, calls: u64) -> Self {
        self.times = Some(calls);
        self
    }

    fn matches(&self, asked: &Asked, now: i64) -> bool {
        self.kind.is_none_or(|kind| kind == asked.kind)
            && self.test.is_none_or(|test| asked.tests().contains(&test))
            && self.from.is_none_or(|from| from <= now)
            && self.to.is_none_or(|to| now < to)
    }
}

/// What the rules say about one call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Strike {
    pub delay: Duration,
    /// Never a delay.
    pub effect: Option<Effect>,
}

impl Strike {
    pub fn name(&self) -> Option<String> {
        let delay = (!self.delay.is_zero()).then(|| "delay".to_owned());
        self.effect.as_ref().map(Effect::name).or(delay)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Counted>>);

#[derive(Debug)]
struct Counted {
    rule: Rule,
    /// Matching calls so far.
    seen: u64,
}

impl Faults {
    /// Replaces all rules; their counts start anew.
    pub fn set(&self, rules: Vec<Rule>) {
        *lock(&self.0) = rules
            .into_iter()
            .map(|rule| Counted { rule, seen: 0 })
            .collect();
    }

    pub fn add(&self, rule: Rule) {
        lock(&self.0).push(Counted { rule, seen: 0 });
    }

    pub fn all(&self) -> Vec<Rule> {
        lock(&self.0)
            .iter()
            .map(|counted| counted.rule.clone())
            .collect()
    }

    /// Asks the rules about a call. Each rule that it comes to counts it; those after the one that
    /// decides do not see it.
    pub fn strike(&self, asked: &Asked, now: DateTime<Utc>) -> Strike {
        let mut strike = Strike::default();
        for Counted { rule, seen } in lock(&self.0).iter_mut() {
            if !rule.matches(asked, now.timestamp()) {
                continue;
            }
            let nth = *seen;
            *seen = seen.saturating_add(1);
            let end = rule
                .times
                .map_or(u64::MAX, |times| rule.skip.saturating_add(times));
            if !(rule.skip..end).contains(&nth) {
                continue;
            }
            if let Effect::Delay { millis } = rule.effect {
                strike.delay = strike.delay.saturating_add(Duration::from_millis(millis));
            } else {
                strike.effect = Some(rule.effect.clone());
                break;
            }
        }
        strike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str) -> Asked {
        Asked::of(&http::Request::get(uri).body(Vec::new()).unwrap())
    }

    /// Which of the calls, one a second from 0, a rule strikes.
    fn struck(rule: Rule, uris: &[&str]) -> Vec<usize> {
        let faults = Faults::default();
        faults.add(rule);
        let hit = |(n, uri): (usize, &&str)| {
            let now = DateTime::from_timestamp(n as i64, 0).unwrap();
            faults.strike(&asked(uri), now).effect.map(|_| n)
        };
        uris.iter().enumerate().filter_map(hit).collect()
    }

    #[test]
    fn rules_strike_the_calls_they_name() {
        const RAW: &str = "/ui/api/v1/performance/raw?tests=1,2";
        const RANGED: &str = "/ui/api/v1/performance/raw/2";
        const V2: &str = "/api/v2/tests/explorer/raw?testIds=3";
        let calls = [RAW, RANGED, V2, RAW, RAW];
        let check = |rule: Rule, expect: &[usize]| assert_eq!(struck(rule, &calls), expect);
        let rule = || Rule::new(Effect::Refuse);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        check(rule(), &[0, 1, 2, 3, 4]);
        check(rule().on(Kind::LastRaw), &[0, 3, 4]);
        check(rule().on(Kind::LastRaw).skip(1), &[3, 4]);
        check(rule().on(Kind::LastRaw).skip(1).times(1), &[3]);
        check(rule().times(2), &[0, 1]);
        check(rule().times(0), &[]);
        check(rule().test(2), &[0, 1, 3, 4]);
        check(rule().test(3), &[2]);
        check(rule().between(at(1), at(3)), &[1, 2]);
    }

    #[test]
    fn delays_add_up_and_the_first_other_effect_decides() {
        let faults = Faults::default();
        faults.set(vec![
            Rule::new(Effect::Delay { millis: 200 }),
            Rule::new(Effect::Delay { millis: 50 }),
            Rule::new(Effect::WrongShape).times(1),
            Rule::new(Effect::Refuse),
        ]);
        for expect in [Effect::WrongShape, Effect::Refuse] {
            let strike = faults.strike(&asked("/"), DateTime::UNIX_EPOCH);
            assert_eq!(strike.delay, Duration::from_millis(250));
            assert_eq!(strike.effect, Some(expect));
        }
    }

    #[test]
    fn rules_are_read_from_json_and_slips_are_refused() {
        let rule = r#"{"kind":"ranged","skip":0,"times":3,"effect":{"status":{"code":503,"retry_after":null}}}"#;
        let read: Rule = serde_json::from_str(rule).unwrap();
        let status = Effect::Status {
            code: 503,
            retry_after: None,
        };
        assert_eq!(read, Rule::new(status).on(Kind::Ranged).times(3));
        assert_eq!(serde_json::to_string(&read).unwrap(), rule);
        assert!(serde_json::from_str::<Rule>(r#"{"effect":"refuse","time":1}"#).is_err());
        assert!(serde_json::from_str::<Rule>(r#"{"effect":"explode"}"#).is_err());
    }
}
