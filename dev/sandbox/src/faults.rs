//! Failures on demand: a list of rules, each saying which calls it strikes and what happens to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::asked::{Asked, Kind};
use crate::lock;
use crate::token::TokenTrouble;

/// Which calls fail, and how. A rule without conditions strikes every call.
///
/// Of the rules that match a call, the first one decides; delays are added to whatever happens next.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Only calls of this kind.
    pub kind: Option<Kind>,
    /// Only calls that ask for this test.
    pub test: Option<u64>,
    /// Only at these times.
    pub between: Option<Range<DateTime<Utc>>>,
    /// Lets so many matching calls pass first.
    pub skip: u64,
    /// Strikes at most so many calls; without it there is no end.
    pub times: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// This status and a short body in the API's form. A code outside of 200 to 599 is answered as
    /// 500.
    Status {
        /// The HTTP status.
        code: u16,
        /// Seconds for the Retry-After header.
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
        after: Option<usize>,
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
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
    },
    /// The 403 that Cloudflare answers to a User-Agent that it does not like.
    Cloudflare {
        /// As JSON; else as HTML.
        json: bool,
    },
}

impl Rule {
    /// Strikes every call, until narrowed down.
    pub fn new(effect: Effect) -> Self {
        Self {
            kind: None,
            test: None,
            between: None,
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
        self.between = Some(from..to);
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

    fn matches(&self, asked: &Asked, now: DateTime<Utc>) -> bool {
        self.kind.is_none_or(|kind| kind == asked.kind)
            && self.test.is_none_or(|test| asked.tests.contains(&test))
            && self.between.as_ref().is_none_or(|it| it.contains(&now))
    }

    /// Whether it strikes this one of the calls that match, from 0.
    fn strikes(&self, nth: u64) -> bool {
        let struck = nth.checked_sub(self.skip);
        struck.is_some_and(|struck| self.times.is_none_or(|times| struck < times))
    }
}

/// The rules in force, each with how many calls have matched it.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<(Rule, u64)>>);

impl Faults {
    /// Replaces all rules; their counts start anew.
    pub fn set(&self, rules: Vec<Rule>) {
        *lock(&self.0) = rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// The delay of a call, and what happens then; never a delay. Each rule that a call comes to
    /// counts it; those after the one that decides do not see it.
    pub fn strike(&self, asked: &Asked, now: DateTime<Utc>) -> (Duration, Option<Effect>) {
        let mut delay = Duration::ZERO;
        for (rule, seen) in lock(&self.0).iter_mut() {
            if !rule.matches(asked, now) {
                continue;
            }
            let nth = *seen;
            *seen = seen.saturating_add(1);
            match &rule.effect {
                _ if !rule.strikes(nth) => {}
                Effect::Delay { millis } => {
                    delay = delay.saturating_add(Duration::from_millis(*millis));
                }
                effect => return (delay, Some(effect.clone())),
            }
        }
        (delay, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_the_calls_they_name() {
        // One call a second from 0.
        let calls = [
            "/ui/api/v1/performance/raw?tests=1,2",
            "/ui/api/v1/performance/raw/2",
            "/api/v2/tests/explorer/raw?testIds=3",
            "/ui/api/v1/performance/raw?tests=1,2",
            "/ui/api/v1/performance/raw?tests=1,2",
        ];
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let check = |rule: Rule, expect: &[usize]| {
            let faults = Faults::default();
            faults.set(vec![Rule::new(Effect::Delay { millis: 50 }), rule]);
            let strikes = |(nth, uri): (usize, &&str)| {
                let asked = Asked::of(&http::Request::get(*uri).body(Vec::new()).unwrap());
                let (delay, effect) = faults.strike(&asked, at(nth as i64));
                assert_eq!(delay, Duration::from_millis(50));
                effect.map(|_| nth)
            };
            let struck: Vec<usize> = calls.iter().enumerate().filter_map(strikes).collect();
            assert_eq!(struck, expect);
        };
        let rule = || Rule::new(Effect::Refuse);
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
}
