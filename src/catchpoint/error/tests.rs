use super::*;
use crate::time_range::TimeRange;

/// What a failure comes to, in a word each.
fn row(error: &CallError) -> String {
    let class = error.class();
    let stop = if class.stops_run { "stop" } else { "go on" };
    let (kind, attempts) = (error.kind, class.attempts);
    format!(
        "{kind:?}: {attempts}, {:?}, {stop}, {:?}",
        class.split, class.concerns
    )
}

fn answered(status: u16, headers: &[(&str, &str)], body: &str, query: Option<&Query>) -> CallError {
    let headers: Headers = headers.iter().copied().collect();
    CallError::answered(status, &headers, body, query, DateTime::UNIX_EPOCH)
}

/// Checks the class of an answer to LastRaw.
#[track_caller]
fn results(status: u16, headers: &[(&str, &str)], body: &str, expect: &str) {
    let query = Query::LastRaw(vec![1, 2]);
    assert_eq!(
        row(&answered(status, headers, body, Some(&query))),
        expect,
        "{status} {body}"
    );
}

/// Checks the class of an answer to the token call.
#[track_caller]
fn token(status: u16, body: &str, expect: &str) {
    assert_eq!(
        row(&answered(status, &[], body, None)),
        expect,
        "{status} {body}"
    );
}

const WRONG_PATH: &str = "WrongPath: 1, Never, stop, Configuration";
const CREDENTIALS: &str = "Credentials: 1, Never, stop, Token";
const REFUSED: &str = "Refused: 1, Now, go on, Tests";
const SERVER_ERROR: &str = "ServerError: 4, IfOthersAnswer, go on, Catchpoint";

#[test]
fn every_status_has_its_row() {
    results(400, &[], r#"{"Message":"Odd"}"#, REFUSED);
    results(401, &[], "", CREDENTIALS);
    results(
        403,
        &[],
        r#"{"Message":"No access"}"#,
        "Forbidden: 1, Now, go on, Tests",
    );
    results(408, &[], "", SERVER_ERROR);
    results(422, &[], "", REFUSED);
    results(
        500,
        &[],
        r#"{"Message":"An error has occurred."}"#,
        SERVER_ERROR,
    );
    results(502, &[], "<html><title>502</title>", SERVER_ERROR);
    results(503, &[], "", SERVER_ERROR);
    results(400, &[], r#"{"Message":"Expired token"}"#, CREDENTIALS);
}

#[test]
fn c06_a_failed_token_call_concerns_the_run_and_never_a_test() {
    token(400, r#"{"error":"invalid_client"}"#, CREDENTIALS);
    token(401, "", CREDENTIALS);
    token(403, "", CREDENTIALS);
    token(404, "", "WrongPath: 1, Never, stop, Token");
    token(405, "", "WrongPath: 1, Never, stop, Token");
    token(302, "", "Redirect: 1, Never, stop, Token");
    token(503, "", "ServerError: 4, Never, stop, Token");
    let error = answered(404, &[], "", None);
    assert_eq!(error.to_string(), "token call: HTTP 404");
    assert!(error.class().hint.contains("token_endpoint"));
    for kind in ALL {
        let class = CallError::new(kind, "").of(Call::Token).class();
        assert_eq!(class.split, Split::Never, "{kind:?}");
        assert!(!matches!(class.concerns, Concerns::Tests), "{kind:?}");
    }
}

#[test]
fn c07_a_wrong_path_is_not_a_matter_of_tests() {
    results(404, &[], "", WRONG_PATH);
    results(404, &[], "<html><title>Not found</title>", WRONG_PATH);
    results(405, &[], "", WRONG_PATH);
    let resource = r#"{"Message":"No HTTP resource was found that matches the request URI 'https://x/raw?tests=1'."}"#;
    results(404, &[], resource, WRONG_PATH);
    results(404, &[], r#"{"Message":"Test 2 does not exist"}"#, REFUSED);
    let range = TimeRange { from: 0, to: 900 };
    let ranged = Query::Ranged(vec![1], range);
    let refused = "RangedRefused: 1, Now, go on, Tests";
    assert_eq!(row(&answered(404, &[], "", Some(&ranged))), refused);
    assert_eq!(row(&answered(400, &[], "", Some(&ranged))), refused);
}

#[test]
fn c08_only_a_days_quota_closes_the_day() {
    const DAY: &str = "DayQuota: 1, Never, stop, Limits";
    const SOON: &str = "TooManyCalls: 4, Never, go on, Catchpoint";
    let minute = "API calls quota exceeded! maximum admitted 20 per 1m.";
    let day = "API calls quota exceeded! maximum admitted 2000 per 1d.";
    let quota = "quota exceeded";
    results(429, &[], minute, SOON);
    results(429, &[("retry-after", "3")], minute, SOON);
    results(429, &[("retry-after", "30")], quota, SOON);
    results(429, &[("x-rate-limit-limit", "1h")], quota, SOON);
    results(429, &[("x-rate-limit-reset", "60")], quota, SOON);
    results(429, &[], "Too many requests", SOON);
    results(429, &[("retry-after", "9999999999999")], "", SOON);
    results(429, &[], day, DAY);
    results(429, &[("retry-after", "3")], day, DAY);
    results(429, &[], quota, DAY);
    results(429, &[("retry-after", "40000")], quota, DAY);
    results(429, &[("x-rate-limit-limit", "1d")], "", DAY);
    let complaint = |text: &str| {
        row(&CallError::complained(
            text.to_owned(),
            DateTime::UNIX_EPOCH,
        ))
    };
    assert_eq!(complaint(minute), SOON);
    assert_eq!(complaint(quota), DAY);
    assert_eq!(complaint("Invalid token"), CREDENTIALS);
    assert_eq!(complaint("All tests must be of the same type"), REFUSED);
}

#[test]
fn c09_cloudflare_is_named_for_what_it_is() {
    const BLOCKED: &str = "Blocked: 1, Never, stop, Network";
    results(
        403,
        &[("server", "cloudflare")],
        "<html><title>Access denied</title>",
        BLOCKED,
    );
    results(403, &[], "<html>Attention Required! | Cloudflare", BLOCKED);
    results(
        403,
        &[],
        r#"{"error_code":1010,"error_name":"browser_signature_banned"}"#,
        BLOCKED,
    );
    results(403, &[], "error code: 1010", BLOCKED);
    results(403, &[("cf-mitigated", "challenge")], "", BLOCKED);
    // Catchpoint's own refusals go through Cloudflare too.
    results(
        403,
        &[("server", "cloudflare")],
        r#"{"Message":"No access"}"#,
        "Forbidden: 1, Now, go on, Tests",
    );
    results(503, &[("cf-mitigated", "challenge")], "", BLOCKED);
    results(
        503,
        &[("server", "cloudflare")],
        "<html>Maintenance",
        SERVER_ERROR,
    );
    token(403, "error code: 1010", "Blocked: 1, Never, stop, Token");
    let error = answered(
        403,
        &[("server", "cloudflare")],
        "<html><title>Access denied</title>",
        None,
    );
    assert!(error.to_string().contains("Cloudflare"), "{error}");
    assert!(error.class().hint.contains("user_agent"));
}

#[test]
fn c12_a_redirect_is_shown_with_its_location() {
    let location = [("location", "https://portal.example/login")];
    results(
        302,
        &location,
        "",
        "Redirect: 1, Never, stop, Configuration",
    );
    let error = answered(301, &location, "", Some(&Query::LastRaw(vec![1])));
    assert_eq!(
        error.to_string(),
        "HTTP 301: Catchpoint redirects to https://portal.example/login, which is not followed"
    );
}

#[test]
fn every_kind_has_a_hint_and_what_stops_the_run_is_not_split() {
    for kind in ALL {
        let class = CallError::new(kind, "").class();
        assert!(class.attempts >= 1 && !class.hint.is_empty(), "{kind:?}");
        // What stops the run is not asked again in parts.
        assert!(!class.stops_run || class.split == Split::Never, "{kind:?}");
    }
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
