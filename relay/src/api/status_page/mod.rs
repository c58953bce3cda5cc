//! The status page, `GET /`: one page without anything from elsewhere, which says in words how the
//! relay is doing and what to do.
//!
//! What others have sent stands in it as text: `maud` escapes whatever is not markup of this source,
//! and the policy lets the browser run and load nothing but the style and the script below.
//!
//! # Layout
//! - this file: who gets it, and what a browser may do with it
//! - `page` the page
//! - `headline` the state in one sentence
//! - `figures` numbers and charts

mod figures;
mod headline;
mod page;

use std::net::IpAddr;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use sha2::{Digest as _, Sha256};

use super::Service;
use super::response::{Answer, refuse, with_type};
use crate::clock;
use crate::server::admission::Ticket;
use page::{Page, SCRIPT, STILL, STYLE};

/// The browser may use the style and the script of this source, ask this relay, and nothing else.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).ok()
});

impl Service {
    /// Answers `GET /`.
    pub(super) async fn page(&self, head: &Parts, ticket: &Ticket) -> Answer {
        let headers = &head.headers;
        match &self.tokens {
            Some(tokens) if !tokens.current().allow_reader(headers) => {
                // A browser asks without a token first.
                if headers.contains_key(AUTHORIZATION) {
                    self.note_unauthorized(ticket, true);
                }
                let why = "a valid token is needed: give it as the password, with any user name";
                let mut answer = refuse(StatusCode::UNAUTHORIZED, why);
                let scheme = "Basic realm=\"catchpoint-graphite-relay\", charset=\"UTF-8\"";
                let scheme = HeaderValue::from_static(scheme);
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                return answer;
            }
            // A page of any site may give its own name the address of this machine, and so read
            // what a relay without tokens shows to the browser's user.
            None if ticket.sender.ip().to_canonical().is_loopback()
                && !names_this_machine(headers) =>
            {
                let why = "open this page as http://localhost or http://127.0.0.1, with the relay's \
                           port, or give the relay a token file";
                return refuse(StatusCode::FORBIDDEN, why);
            }
            _ => {}
        }
        if let Some(store) = self.store.get() {
            store.status.refresh_metrics();
        }
        let page = Page {
            report: self.report().await,
            metrics: &self.metrics,
            past: &self.history.past(),
            now: clock::now(),
            refreshes: head.uri.query() != Some(STILL),
        };
        let text = page.render().into_string();
        let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", text);
        let headers = answer.headers_mut();
        let policy = POLICY.clone();
        headers.extend(policy.map(|policy| (CONTENT_SECURITY_POLICY, policy)));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

/// Whether the host that is asked for is an address, or localhost.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = host.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
