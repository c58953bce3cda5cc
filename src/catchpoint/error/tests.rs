use insta::assert_snapshot;

use super::*;
use crate::time_range::TimeRange;

fn answered(status: u16, headers: &[(&str, &str)], body: &str, query: Option<&Query>) -> CallError {
    let headers: Headers = headers.iter().copied().collect();
    CallError::answered(status, &headers, body, query, DateTime::UNIX_EPOCH)
}

/// Checks what an answer to LastRaw is.
#[track_caller]
fn results(status: u16, headers: &[(&str, &str)], body: &str, expect: Kind) {
    let query = Query::LastRaw(vec![1, 2]);
    let error = answered(status, headers, body, Some(&query));
    assert_eq!(error.kind, expect, "{status} {body}");
}

/// Checks what an answer to the token call is.
#[track_caller]
fn token(status: u16, body: &str, expect: Kind) {
    let error = answered(status, &[], body, None);
    assert_eq!(
        (error.kind, error.call),
        (expect, Call::Token),
        "{status} {body}"
    );
}

#[test]
fn every_kind_has_its_row() {
    let row = |kind| {
        let class = CallError::new(kind, "").class();
        assert!(class.attempts >= 1, "{kind:?}");
        let advice = &class.hint.advice;
        let is_for_now =
            !advice.is_empty() && !advice.contains("lost") && !advice.contains("the gap");
        assert!(is_for_now, "{kind:?}: {advice}");
        let assurance = class.hint.assurance;
        assert!(assurance.is_empty() || assurance.ends_with(' '), "{kind:?}");
        // What stops the run is not asked again in parts.
        assert!(!class.stops_run || class.split == Split::Never, "{kind:?}");
        let stop = if class.stops_run { "stop" } else { "go on" };
        let (attempts, split, concerns) = (class.attempts, class.split, class.concerns);
        format!("{kind:?}: {attempts}, {split:?}, {stop}, {concerns:?}\n")
    };
    assert_snapshot!(ALL.map(row).concat(), @"
    Denied: 1, Never, stop, Configuration
    Unreachable: 4, Never, go on, Network
    TimedOut: 4, IfOthersAnswer, go on, Network
    Redirect: 1, Never, stop, Configuration
    TooManyCalls: 4, Never, go on, Catchpoint
    DayQuota: 1, Never, stop, Limits
    Budget: 1, Never, stop, Limits
    Blocked: 1, Never, stop, Network
    Credentials: 1, Never, stop, Token
    Forbidden: 1, Now, go on, Tests
    WrongPath: 1, Never, stop, Configuration
    Refused: 1, Now, go on, Tests
    RangedRefused: 1, Now, go on, Tests
    ServerError: 4, IfOthersAnswer, go on, Catchpoint
    Html: 4, Never, go on, Catchpoint
    Truncated: 2, Now, go on, Catchpoint
    TooLarge: 1, Now, go on, Tests
    Syntax: 2, Now, go on, Catchpoint
    Shape: 2, IfOthersAnswer, go on, Catchpoint
    TimeZone: 1, Never, go on, Catchpoint
    Paging: 1, Now, go on, Catchpoint
    NoTime: 1, Never, stop, Limits
    LeaseLost: 1, Never, stop, Run
    ");
}

#[test]
fn every_status_has_its_kind() {
    results(400, &[], r#"{"Message":"Odd"}"#, Kind::Refused);
    results(
        400,
        &[],
        r#"{"Message":"Expired token"}"#,
        Kind::Credentials,
    );
    results(401, &[], "", Kind::Credentials);
    results(403, &[], r#"{"Message":"No access"}"#, Kind::Forbidden);
    results(408, &[], "", Kind::ServerError);
    results(422, &[], "", Kind::Refused);
    results(
        500,
        &[],
        r#"{"Message":"An error has occurred."}"#,
        Kind::ServerError,
    );
    results(502, &[], "<html><title>502</title>", Kind::ServerError);
    results(503, &[], "", Kind::ServerError);
}

#[test]
fn c06_a_failed_token_call_concerns_the_run_and_never_a_test() {
    token(400, r#"{"error":"invalid_client"}"#, Kind::Credentials);
    token(401, "", Kind::Credentials);
    token(403, "", Kind::Credentials);
    token(404, "", Kind::WrongPath);
    token(405, "", Kind::WrongPath);
    token(302, "", Kind::Redirect);
    token(503, "", Kind::ServerError);
    let error = answered(404, &[], "", None);
    assert_eq!(error.to_string(), "token call: HTTP 404");
    assert!(error.class().hint.advice.contains("token_endpoint"));
    for kind in ALL {
        let class = CallError {
            call: Call::Token,
            ..CallError::new(kind, "")
        }
        .class();
        let concerns = matches!(class.concerns, Concerns::Token | Concerns::Limits);
        assert!(class.stops_run && concerns, "{kind:?}");
        assert_eq!(class.split, Split::Never, "{kind:?}");
    }
}

#[test]
fn c07_a_wrong_path_is_not_a_matter_of_tests() {
    results(404, &[], "", Kind::WrongPath);
    results(404, &[], "<html><title>Not found</title>", Kind::WrongPath);
    results(405, &[], "", Kind::WrongPath);
    let resource = r#"{"Message":"No HTTP resource was found that matches the request URI 'https://x/raw?tests=1'."}"#;
    results(404, &[], resource, Kind::WrongPath);
    results(
        404,
        &[],
        r#"{"Message":"Test 2 does not exist"}"#,
        Kind::Refused,
    );
    let ranged = Query::Ranged(vec![1], TimeRange { from: 0, to: 900 });
    for status in [400, 404] {
        let kind = answered(status, &[], "", Some(&ranged)).kind;
        assert_eq!(kind, Kind::RangedRefused);
    }
}

#[test]
fn c08_only_a_days_quota_closes_the_day() {
    use Kind::{DayQuota, TooManyCalls};
    let minute = "API calls quota exceeded! maximum admitted 20 per 1m.";
    let day = "API calls quota exceeded! maximum admitted 2000 per 1d.";
    let quota = "quota exceeded";
    results(429, &[], minute, TooManyCalls);
    results(429, &[("retry-after", "3")], minute, TooManyCalls);
    results(429, &[("retry-after", "30")], quota, TooManyCalls);
    results(429, &[("x-rate-limit-limit", "1h")], quota, TooManyCalls);
    results(429, &[("x-rate-limit-reset", "60")], quota, TooManyCalls);
    results(429, &[], "Too many requests", TooManyCalls);
    results(429, &[("retry-after", "9999999999999")], "", TooManyCalls);
    results(429, &[], day, DayQuota);
    results(429, &[("retry-after", "3")], day, DayQuota);
    results(429, &[], quota, DayQuota);
    results(429, &[("retry-after", "40000")], quota, DayQuota);
    results(429, &[("x-rate-limit-limit", "1d")], "", DayQuota);
    let complaint = |text: &str| CallError::complained(text.to_owned(), DateTime::UNIX_EPOCH).kind;
    assert_eq!(complaint(minute), TooManyCalls);
    assert_eq!(complaint(quota), DayQuota);
    assert_eq!(complaint("Invalid token"), Kind::Credentials);
    assert_eq!(
        complaint("All tests must be of the same type"),
        Kind::Refused
    );
}

#[test]
fn c09_cloudflare_is_named_for_what_it_is() {
    let server = [("server", "cloudflare")];
    let mitigated = [("cf-mitigated", "challenge")];
    let denied = "<html><title>Access denied</title>";
    let banned = r#"{"error_code":1010,"error_name":"browser_signature_banned"}"#;
    results(403, &server, denied, Kind::Blocked);
    results(
        403,
        &[],
        "<html>Attention Required! | Cloudflare",
        Kind::Blocked,
    );
    results(403, &[], banned, Kind::Blocked);
    results(403, &[], "error code: 1010", Kind::Blocked);
    results(403, &mitigated, "", Kind::Blocked);
    results(503, &mitigated, "", Kind::Blocked);
    token(403, "error code: 1010", Kind::Blocked);
    // Catchpoint's own refusals go through Cloudflare too.
    results(403, &server, r#"{"Message":"No access"}"#, Kind::Forbidden);
    results(503, &server, "<html>Maintenance", Kind::ServerError);
    let error = answered(403, &server, denied, None);
    assert!(error.to_string().contains("Cloudflare"), "{error}");
    assert!(error.class().hint.advice.contains("user_agent"));
}

#[test]
fn c12_a_redirect_is_shown_with_its_location() {
    let location = [("location", "https://portal.example/login")];
    results(302, &location, "", Kind::Redirect);
    let error = answered(301, &location, "", Some(&Query::LastRaw(vec![1])));
    assert_eq!(
        error.to_string(),
        "HTTP 301: Catchpoint redirects to https://portal.example/login, which is not followed"
    );
}

#[test]
fn c16_a_failed_connection_names_the_host() {
    let origin = "https://io.catchpoint.com";
    let words = |error| CallError::sending(&error, origin).to_string();
    for error in [
        SendError::Denied,
        SendError::TimedOut,
        SendError::Unreachable("connection reset".to_owned()),
        SendError::Unreachable(format!("{origin} refuses the connection")),
    ] {
        let words = words(error);
        assert_eq!(words.matches(origin).count(), 1, "{words}");
    }
}

const ALL: [Kind; 23] = [
    Kind::Denied,
    Kind::Unreachable,
    Kind::TimedOut,
    Kind::Redirect,
    Kind::TooManyCalls,
    Kind::DayQuota,
    Kind::Budget,
    Kind::Blocked,
    Kind::Credentials,
    Kind::Forbidden,
    Kind::WrongPath,
    Kind::Refused,
    Kind::RangedRefused,
    Kind::ServerError,
    Kind::Html,
    Kind::Truncated,
    Kind::TooLarge,
    Kind::Syntax,
    Kind::Shape,
    Kind::TimeZone,
    Kind::Paging,
    Kind::NoTime,
    Kind::LeaseLost,
];

/// A web server in Catchpoint's place answers with any status.
#[test]
fn a_web_page_is_a_matter_of_the_domain() {
    let page = "<html><title>nginx</title>";
    let query = Query::LastRaw(vec![1]);
    for status in [400, 401, 403, 404, 405, 408, 500, 501, 502, 503] {
        for query in [None, Some(&query)] {
            let hint = answered(status, &[], page, query).class().hint.advice;
            assert!(hint.contains("domain"), "{status} {query:?}: {hint}");
            let hint = answered(status, &[], "{}", query).class().hint.advice;
            let is_path = matches!(status, 404 | 405);
            assert_eq!(
                hint.contains("domain"),
                is_path,
                "{status} {query:?}: {hint}"
            );
        }
    }
}
