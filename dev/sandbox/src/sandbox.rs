//! One call, from its arrival to its answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use flate2::Compression;
use flate2::read::GzEncoder;
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};

use crate::asked::{Asked, Kind};
use crate::clock::Clock;
use crate::control;
use crate::faults::{Effect, Faults, Rule};
use crate::limits::{Exceeded, Gate, Peak};
use crate::record::{Call, Calls, Served, Tally};
use crate::reply::{Body, Outcome, Reply, json, response};
use crate::row::Datapoint;
use crate::settings::Settings;
use crate::test_type::TestType;
use crate::token::{Refusal, TokenTrouble, Tokens};
use crate::v1::{self, ErrorBody, Message};
use crate::v2;
use crate::world::World;

/// A Catchpoint API.
pub struct Sandbox {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) tokens: Tokens,
    pub(crate) gate: Gate,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) served: Arc<Served>,
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
            served: Arc::default(),
        }
    }

    /// Answers one call. Nothing is waited for, and the body is made while it is read.
    pub fn handle(&self, request: &Request<Vec<u8>>) -> Reply {
        if let Some(reply) = control::handle(self, request) {
            return reply.into();
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
                (Ok(()), None) => self.answer(&asked, now, access, Some(&self.served)),
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
            fault: fault.map(str::to_owned),
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

    /// Whether a call may have what it asks for.
    fn access(&self, asked: &Asked, now: DateTime<Utc>) -> Result<(), Refusal> {
        let Settings {
            client_id,
            client_secret,
            api_key,
            ..
        } = &self.settings;
        let good = match asked.kind {
            Kind::LastRaw | Kind::Ranged => return self.tokens.check(asked.bearer.as_deref(), now),
            Kind::V2 => asked.bearer.as_ref() == Some(api_key),
            Kind::Token => {
                asked.param("client_id") == Some(client_id)
                    && asked.param("client_secret") == Some(client_secret)
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
        served: Option<&Arc<Served>>,
    ) -> Response<Body> {
        let response = self.plain(asked, now, access, served);
        if self.settings.gzip && asked.gzip {
            gzip(response)
        } else {
            response
        }
    }

    fn plain(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        access: Result<(), Refusal>,
        served: Option<&Arc<Served>>,
    ) -> Response<Body> {
        match (asked.kind, access) {
            (Kind::Other, _) => json(
                StatusCode::NOT_FOUND,
                &Message {
                    message: "Not found",
                },
            ),
            (Kind::Token, _) => v1::token(self, asked, now, access),
            (_, Err(refusal)) => self.refuse(asked, now, refusal, self.settings.token_trouble),
            (Kind::V2, Ok(())) => v2::raw(self, asked, now, served),
            (Kind::LastRaw, Ok(())) => v1::last_raw(self, asked, now, served),
            (Kind::Ranged, Ok(())) => v1::ranged(self, asked, now, served),
        }
    }

    fn refuse(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        refusal: Refusal,
        trouble: TokenTrouble,
    ) -> Response<Body> {
        let message = refusal.message();
        match trouble {
            _ if asked.kind == Kind::V2 => {
                v2::failure(self, now, StatusCode::UNAUTHORIZED, message, None)
            }
            TokenTrouble::Unauthorized => json(StatusCode::UNAUTHORIZED, &Message { message }),
            TokenTrouble::Message => json(StatusCode::OK, &Message { message }),
        }
    }

    fn too_many(&self, asked: &Asked, now: DateTime<Utc>, exceeded: &Exceeded) -> Response<Body> {
        let retry_after = self.settings.retry_after.then_some(exceeded.retry_after);
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut response = self.status(asked, now, status, &exceeded.message(), retry_after);
        if self.settings.rate_limit_headers {
            let reset = TimeDelta::seconds(i64::try_from(exceeded.retry_after).unwrap_or(0));
            let reset = now.checked_add_signed(reset).unwrap_or(now);
            let headers = [
                ("x-rate-limit-limit", exceeded.period().to_owned()),
                ("x-rate-limit-remaining", "0".to_owned()),
                (
                    "x-rate-limit-reset",
                    reset.to_rfc3339_opts(SecondsFormat::Micros, true),
                ),
            ];
            for (name, value) in headers {
                add_header(&mut response, name, &value);
            }
        }
        response
    }

    fn status(
        &self,
        asked: &Asked,
        now: DateTime<Utc>,
        status: StatusCode,
        message: &str,
        retry_after: Option<u64>,
    ) -> Response<Body> {
        let mut response = match asked.kind {
            Kind::V2 => {
                let exceeded = (status == StatusCode::TOO_MANY_REQUESTS).then_some(message);
                v2::failure(self, now, status, message, exceeded)
            }
            _ => json(status, &Message { message }),
        };
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
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
                self.status(asked, now, status, message, retry_after)
            }
            Effect::Html { code } => response(status(code), "text/html", Body::whole(HTML)),
            Effect::ExpiredToken { trouble } => self.refuse(asked, now, Refusal::Expired, trouble),
            Effect::Error { message } => match asked.kind {
                Kind::V2 => v2::failure(self, now, StatusCode::OK, &message, None),
                _ => json(StatusCode::OK, &ErrorBody { error: &message }),
            },
            Effect::WrongShape => {
                let body = match asked.kind {
                    Kind::Token => r#"{"token":{"value":17}}"#,
                    Kind::V2 => r#"{"data":[{"items":"none"}],"completed":"yes"}"#,
                    _ => r#"{"detail":{"fields":[],"items":{"first":"none"}}}"#,
                };
                response(StatusCode::OK, crate::reply::JSON, Body::whole(body))
            }
            Effect::Truncate { after } => {
                let after = after.unwrap_or_else(|| {
                    // The length is known only once the body is made, so it is made twice.
                    let mut body = self.answer(asked, now, access, None).into_body();
                    // Neither the body nor the sink can fail.
                    io::copy(&mut body, &mut io::sink()).unwrap_or(0) / 2
                });
                self.answer(asked, now, access, Some(&self.served))
                    .map(|body| body.cut(after))
            }
            Effect::Answer {
                code,
                headers,
                body,
            } => {
                let body = Body::whole(body);
                let mut response = response(status(code), crate::reply::JSON, body);
                for (name, value) in &headers {
                    add_header(&mut response, name, value);
                }
                response
            }
            Effect::Cloudflare { json } => cloudflare(json),
            Effect::Gzip => gzip(self.plain(asked, now, access, Some(&self.served))),
            // The faults keep delays apart, and a refusal has no answer.
            Effect::Delay { .. } | Effect::Refuse => {
                self.answer(asked, now, access, Some(&self.served))
            }
        }
    }
}

const HTML: &str = "<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\
    <body><h1>We will be back soon</h1></body></html>\n";

/// What Cloudflare answers, in front of the API, to a caller whose User-Agent it does not like.
fn cloudflare(as_json: bool) -> Response<Body> {
    let (content, body) = if as_json {
        (crate::reply::JSON, CLOUDFLARE_JSON)
    } else {
        ("text/html; charset=UTF-8", CLOUDFLARE_HTML)
    };
    let mut response = response(StatusCode::FORBIDDEN, content, Body::whole(body));
    add_header(&mut response, "server", "cloudflare");
    response
}

const CLOUDFLARE_HTML: &str = "<!DOCTYPE html>\n<html><head><title>Access denied | \
    io.catchpoint.com used Cloudflare to restrict access</title></head>\
    <body><h1>Error 1010</h1><p>The owner of this website has banned your access based on your \
    browser's signature.</p></body></html>\n";
const CLOUDFLARE_JSON: &str = r#"{"title":"Error 1010: Access denied","status":403,"detail":"The site owner has blocked access based on your browser's signature.","error_code":1010,"error_name":"browser_signature_banned","cloudflare_error":true}"#;

fn gzip(response: Response<Body>) -> Response<Body> {
    let mut response = response.map(|body| Body::new(GzEncoder::new(body, Compression::fast())));
    let encoding = HeaderValue::from_static("gzip");
    response.headers_mut().insert(CONTENT_ENCODING, encoding);
    response
}

/// Sets a header; one that HTTP does not allow is left out.
fn add_header(response: &mut Response<Body>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
        response.headers_mut().insert(name, value);
    }
}

fn status(code: u16) -> StatusCode {
    match StatusCode::from_u16(code) {
        Ok(status) if (200..600).contains(&code) => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
