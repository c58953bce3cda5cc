//! One call, from its arrival to its answer.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use http::{Request, Response, StatusCode};
use serde::Serialize;

use crate::api::Api;
use crate::asked::{Asked, Kind};
use crate::clock::Clock;
use crate::faults::{Effect, Faults, Rule};
use crate::limits::{Exceeded, Gate, Limits};
use crate::record::{Call, Calls};
use crate::reply::{self, Body, JSON, Reply, add_header, gzip, response};
use crate::row::Datapoint;
use crate::settings::Settings;
use crate::token::{EXPIRED, INVALID, TokenTrouble, Tokens};
use crate::world::World;
use crate::{list, lock, v1, v2};

/// A Catchpoint API.
pub struct Sandbox {
    world: World,
    clock: Clock,
    settings: Settings,
    tokens: Tokens,
    gate: Gate,
    faults: Faults,
    calls: Calls,
    /// Tests that the list leaves out.
    hidden: Mutex<Vec<u64>>,
}

/// Whether a call may have what it asks for; the error is the API's words.
type Access = Result<(), &'static str>;

impl Sandbox {
    /// An API for a world, by a clock.
    pub fn new(world: World, clock: Clock, settings: Settings) -> Self {
        Self {
            gate: Gate::new(settings.limits),
            world,
            clock,
            settings,
            tokens: Tokens::default(),
            faults: Faults::default(),
            calls: Calls::default(),
            hidden: Mutex::default(),
        }
    }

    /// Answers one call. Nothing is waited for.
    pub fn handle(&self, request: &Request<Vec<u8>>) -> Reply {
        let asked = Asked::of(request);
        let api = Api {
            world: &self.world,
            settings: &self.settings,
            gate: &self.gate,
            asked: &asked,
            now: self.clock.now(),
        };
        let (delay, effect) = self.faults.strike(&asked, api.now);
        let access = self.access(&api);
        let answer = match effect {
            Some(Effect::Refuse) => None,
            effect => Some(match (self.gate.arrive(api.now), effect) {
                (Err(exceeded), _) => too_many(&api, &exceeded),
                (Ok(()), Some(effect)) => self.fail(&api, effect, access),
                (Ok(()), None) => self.answer(&api, access),
            }),
        };
        self.calls.record(Call {
            at: api.now,
            kind: asked.kind,
            tests: asked.tests.clone(),
            status: answer.as_ref().map(|answer| answer.status().as_u16()),
        });
        Reply { delay, answer }
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

    /// The calls so far, the last 100,000 of them. Those of `/sandbox/…` are not among them.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// The most calls that each window ever held, whether or not there are limits. A refused
    /// connection never arrived.
    pub fn peak(&self) -> Limits {
        self.gate.peak()
    }

    /// Replaces all rules; an empty list ends all faults.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.faults.set(rules);
    }

    /// Leaves these tests out of the list of tests, and no others; results of them are still answered.
    pub fn hide(&self, tests: &[u64]) {
        *lock(&self.hidden) = tests.to_vec();
    }

    fn access(&self, api: &Api<'_>) -> Access {
        let (asked, settings) = (api.asked, api.settings);
        let is_good = match asked.kind {
            Kind::LastRaw | Kind::Ranged => {
                return self.tokens.check(asked.bearer.as_deref(), api.now);
            }
            Kind::V2 | Kind::List => asked.bearer.as_ref() == Some(&settings.api_key),
            Kind::Token => {
                asked.param("client_id") == Some(&settings.client_id)
                    && asked.param("client_secret") == Some(&settings.client_secret)
            }
            Kind::Other => true,
        };
        if is_good { Ok(()) } else { Err(INVALID) }
    }

    fn answer(&self, api: &Api<'_>, access: Access) -> Response<Body> {
        let response = match (api.asked.kind, access) {
            (Kind::Other, _) => v1::message(StatusCode::NOT_FOUND, "Not found"),
            (Kind::Token, _) => self.token(api, access),
            (_, Err(words)) => refuse(api, words, TokenTrouble::Unauthorized),
            (Kind::V2, Ok(())) => v2::raw(api),
            (Kind::List, Ok(())) => list::tests(api, &lock(&self.hidden)),
            (Kind::LastRaw, Ok(())) => v1::last_raw(api),
            (Kind::Ranged, Ok(())) => v1::ranged(api),
        };
        if self.settings.gzip && api.asked.gzip {
            gzip(response)
        } else {
            response
        }
    }

    fn token(&self, api: &Api<'_>, access: Access) -> Response<Body> {
        #[derive(Serialize)]
        struct Granted {
            access_token: String,
            token_type: &'static str,
            expires_in: u64,
        }
        if api.asked.param("grant_type") != Some("client_credentials") {
            return v1::error(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        if access.is_err() {
            return v1::error(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        let lifetime = self.settings.token_lifetime;
        let granted = Granted {
            access_token: self.tokens.issue(api.now, lifetime),
            token_type: "bearer",
            expires_in: lifetime.as_secs(),
        };
        reply::json(StatusCode::OK, &granted)
    }

    fn fail(&self, api: &Api<'_>, effect: Effect, access: Access) -> Response<Body> {
        match effect {
            Effect::Status { code, retry_after } => {
                let status = status(code);
                let message = status.canonical_reason().unwrap_or("Trouble");
                let mut response = failure(api, status, message);
                if let Some(seconds) = retry_after {
                    add_header(&mut response, "retry-after", &seconds.to_string());
                }
                response
            }
            Effect::Html { code } => response(status(code), "text/html", HTML),
            Effect::ExpiredToken { trouble } => refuse(api, EXPIRED, trouble),
            Effect::Error { message } if api.asked.is_v2() => {
                v2::failure(api, StatusCode::OK, &message)
            }
            Effect::Error { message } => v1::error(StatusCode::OK, &message),
            Effect::WrongShape => {
                let body = match api.asked.kind {
                    Kind::Token => r#"{"token":{"value":17}}"#,
                    Kind::V2 | Kind::List => r#"{"data":[{"items":"none"}],"completed":"yes"}"#,
                    _ => r#"{"detail":{"fields":[],"items":{"first":"none"}}}"#,
                };
                response(StatusCode::OK, JSON, body)
            }
            Effect::Truncate { after } => self.answer(api, access).map(|body| body.cut(after)),
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
            // The faults keep delays apart, and a refusal has no answer.
            Effect::Delay { .. } | Effect::Refuse => self.answer(api, access),
        }
    }
}

fn refuse(api: &Api<'_>, words: &str, trouble: TokenTrouble) -> Response<Body> {
    let status = match trouble {
        TokenTrouble::Message if !api.asked.is_v2() => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    };
    failure(api, status, words)
}

fn too_many(api: &Api<'_>, exceeded: &Exceeded) -> Response<Body> {
    let mut response = failure(api, StatusCode::TOO_MANY_REQUESTS, &exceeded.message);
    let reset: DateTime<Utc> = api.now + Duration::from_secs(exceeded.retry_after);
    let reset = reset.to_rfc3339_opts(SecondsFormat::Micros, true);
    add_header(&mut response, "x-rate-limit-limit", exceeded.window);
    add_header(&mut response, "x-rate-limit-remaining", "0");
    add_header(&mut response, "x-rate-limit-reset", &reset);
    response
}

/// A status with some words, in the form of the API that is asked.
fn failure(api: &Api<'_>, status: StatusCode, message: &str) -> Response<Body> {
    match api.asked.is_v2() {
        true => v2::failure(api, status, message),
        false => v1::message(status, message),
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
