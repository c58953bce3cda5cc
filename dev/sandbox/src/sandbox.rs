//! One call, from its arrival to its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::{Request, Response, StatusCode};

use crate::asked::{Asked, Kind};
use crate::clock::Clock;
use crate::control;
use crate::faults::{Effect, Faults, Rule};
use crate::limits::{Exceeded, Gate, Peak};
use crate::record::{Call, Calls, Served, Tally};
use crate::reply::{Body, JSON, Outcome, Reply, add_header, gzip, response};
use crate::row::Datapoint;
use crate::settings::Settings;
use crate::test_type::TestType;
use crate::token::{Refusal, TokenTrouble, Tokens};
use crate::world::{Test, World};
use crate::{v1, v2};

/// A Catchpoint API.
pub struct Sandbox {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) tokens: Tokens,
    pub(crate) gate: Gate,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) served: Served,
}

impl Sandbox {
    /// An API for a world, by a clock.
    pub fn new(world: World, clock: Clock, settings: Settings) -> Self {
        Self {
            tokens: Tokens::new(world.seed),
            gate: Gate::new(settings.limits),
            world,
            clock,
            settings,
            faults: Faults::default(),
            calls: Calls::default(),
            served: Served::default(),
        }
    }

    /// Answers one call. Nothing is waited for.
    pub fn handle(&self, request: &Request<Vec<u8>>) -> Reply {
        if let Some(response) = control::handle(self, request) {
            return Reply {
                delay: Duration::ZERO,
                outcome: Outcome::Answer(response),
            };
        }
        let now = self.clock.now();
        let asked = Asked::of(request);
        let strike = self.faults.strike(&asked, now);
        let mut fault = strike.name();
        let access = self.access(&asked, now);
        let outcome = match strike.effect {
            Some(Effect::Refuse) => Outcome::Refused,
            effect => Outcome::Answer(match (self.gate.arrive(now), effect) {
                (Err(exceeded), _) => {
                    fault = None;
                    self.too_many(&asked, now, &exceeded)
                }
                (Ok(()), None) if self.is_banned(&asked) => cloudflare(false),
                (Ok(()), Some(effect)) => self.fail(effect, &asked, now, access),
                (Ok(()), None) => self.answer(&asked, now, access),
            }),
        };
        let status = match &outcome {
            Outcome::Answer(response) => Some(response.status().as_u16()),
            Outcome::Refused => None,
        };
        self.calls.record(Call {
            at: now,
            kind: asked.kind,
            tests: asked.tests().to_vec(),
            status,
            fault,
            credentials_ok: access.is_ok(),
        });
        Reply {
            delay: strike.delay,
            outcome,
        }
    }

    /// The world that is asked about.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The clock that limits, tokens and windows follow.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Everything the world ever produced; see [`World::truth`].
    pub fn truth(&self, from: i64, to: i64) -> impl Iterator<Item = Datapoint> + Send + use<> {
        self.world.truth(from, to)
    }

    /// What was served so far, by test type; a type of which nothing was served is not in it.
    pub fn served(&self) -> BTreeMap<TestType, Tally> {
        self.served.all()
    }

    /// The calls so far, the last 100,000 of them. Those of `/sandbox/…` are not among them.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// The most calls that each window ever held, whether or not there are limits.
    pub fn peak(&self) -> Peak {
        self.gate.peak()
    }

    /// Adds a rule after those in force.
    pub fn add_fault(&self, rule: Rule) {
        self.faults.add(rule);
    }

    /// Replaces all rules; an empty list ends all faults.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.faults.set(rules);
    }

    /// The tests that are asked for; nothing if one of them is not known.
    pub(crate) fn tests(&self, asked: &Asked) -> Option<Vec<Arc<Test>>> {
        let tests = asked.tests().iter();
        tests.map(|&id| self.world.test(id).cloned()).collect()
    }

    /// Whether a call may have what it asks for.
    fn access(&self, asked: &Asked, now: DateTime<Utc>) -> Result<(), Refusal> {
        let settings = &self.settings;
        let good = match asked.kind {
            Kind::LastRaw | Kind::Ranged => return self.tokens.check(asked.bearer.as_deref(), now),
            Kind::V2 => asked.bearer.as_ref() == Some(&settings.api_key),
            Kind::Token => {
                asked.param("client_id") == Some(&settings.client_id)
                    && asked.param("client_secret") == Some(&settings.client_secret)
            }
            Kind::Other => true,
        };
        if good { Ok(()) } else { Err(Refusal::Invalid) }
    }

    fn is_banned(&self, asked: &Asked) -> bool {
        let banned = self.settings.banned_agent.as_deref();
        banned.is_some_and(|banned| asked.user_agent.contains(banned))
    }

    fn answer(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        access: Result<(), Refusal>,
    ) -> Response<Body> {
        let response = match (asked.kind, access) {
            (Kind::Other, _) => v1::message(StatusCode::NOT_FOUND, "Not found"),
            (Kind::Token, _) => v1::token(self, asked, now, access),
            (_, Err(refusal)) => self.refuse(asked, now, refusal, self.settings.token_trouble),
            (Kind::V2, Ok(())) => v2::raw(self, asked, now),
            (Kind::LastRaw, Ok(())) => v1::last_raw(self, asked, now),
            (Kind::Ranged, Ok(())) => v1::ranged(self, asked, now),
        };
        if self.settings.gzip && asked.gzip {
            gzip(response)
        } else {
            response
        }
    }

    fn refuse(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        refusal: Refusal,
        trouble: TokenTrouble,
    ) -> Response<Body> {
        let status = match trouble {
            TokenTrouble::Message if asked.kind != Kind::V2 => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        };
        self.status(asked, now, status, refusal.message())
    }

    fn too_many(&self, asked: &Asked, now: DateTime<Utc>, exceeded: &Exceeded) -> Response<Body> {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut response = self.status(asked, now, status, &exceeded.message());
        if self.settings.retry_after {
            let seconds = exceeded.retry_after.to_string();
            add_header(&mut response, "retry-after", &seconds);
        }
        if self.settings.rate_limit_headers {
            let reset = TimeDelta::seconds(i64::try_from(exceeded.retry_after).unwrap_or(0));
            let reset = now.checked_add_signed(reset).unwrap_or(now);
            let reset = reset.to_rfc3339_opts(SecondsFormat::Micros, true);
            add_header(&mut response, "x-rate-limit-limit", exceeded.period());
            add_header(&mut response, "x-rate-limit-remaining", "0");
            add_header(&mut response, "x-rate-limit-reset", &reset);
        }
        response
    }

    /// A status with some words, in the form of the API that is asked.
    fn status(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        status: StatusCode,
        message: &str,
    ) -> Response<Body> {
        if asked.kind != Kind::V2 {
            return v1::message(status, message);
        }
        let exceeded = (status == StatusCode::TOO_MANY_REQUESTS).then_some(message);
        v2::failure(self, now, status, message, exceeded)
    }

    fn fail(
        &self,
        effect: Effect,
        asked: &Asked,
        now: DateTime<Utc>,
        access: Result<(), Refusal>,
    ) -> Response<Body> {
        match effect {
            Effect::Status { code, retry_after } => {
                let status = status(code);
                let message = status.canonical_reason().unwrap_or("Trouble");
                let mut response = self.status(asked, now, status, message);
                if let Some(seconds) = retry_after {
                    add_header(&mut response, "retry-after", &seconds.to_string());
                }
                response
            }
            Effect::Html { code } => response(status(code), "text/html", HTML),
            Effect::ExpiredToken { trouble } => self.refuse(asked, now, Refusal::Expired, trouble),
            Effect::Error { message } => match asked.kind {
                Kind::V2 => v2::failure(self, now, StatusCode::OK, &message, None),
                _ => v1::error(StatusCode::OK, &message),
            },
            Effect::WrongShape => {
                let body = match asked.kind {
                    Kind::Token => r#"{"token":{"value":17}}"#,
                    Kind::V2 => r#"{"data":[{"items":"none"}],"completed":"yes"}"#,
                    _ => r#"{"detail":{"fields":[],"items":{"first":"none"}}}"#,
                };
                response(StatusCode::OK, JSON, body)
            }
            Effect::Truncate { after } => {
                let response = self.answer(asked, now, access);
                response.map(|body| body.cut(after))
            }
            Effect::Answer {
                code,
                headers,
                body,
            } => {
                let mut response = response(status(code), JSON, body);
                for (name, value) in &headers {
                    add_header(&mut response, name, value);
                }
                response
            }
            Effect::Cloudflare { json } => cloudflare(json),
            Effect::Gzip => gzip(self.answer(asked, now, access)),
            // The faults keep delays apart, and a refusal has no answer.
            Effect::Delay { .. } | Effect::Refuse => self.answer(asked, now, access),
        }
    }
}

const HTML: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
    <body><h1>We will be back soon</h1></body></html>\n";

/// What Cloudflare answers, in front of the API, to a caller whose User-Agent it does not like.
fn cloudflare(as_json: bool) -> Response<Body> {
    const AS_HTML: &str = "<!DOCTYPE html>\n<html><head><title>Access denied | io.catchpoint.com \
        used Cloudflare to restrict access</title></head><body><h1>Error 1010</h1><p>The owner of \
        this website has banned your access based on your browser's signature.</p></body></html>\n";
    const AS_JSON: &str = r#"{"title":"Error 1010: Access denied","status":403,"detail":"The site owner has blocked access based on your browser's signature.","error_code":1010,"error_name":"browser_signature_banned","cloudflare_error":true}"#;
    let mut response = match as_json {
        true => response(StatusCode::FORBIDDEN, JSON, AS_JSON),
        false => response(StatusCode::FORBIDDEN, "text/html; charset=UTF-8", AS_HTML),
    };
    add_header(&mut response, "server", "cloudflare");
    response
}

fn status(code: u16) -> StatusCode {
    match StatusCode::from_u16(code) {
        Ok(status) if (200..600).contains(&code) => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
