//! The metrics of each test type, spelled as the API spells them.
//!
//! The web list and the additions of 2022 are from published answers of the API. For the other
//! types no answer was ever published, so their spelling is our best reading of the vendor's lists
//! of metrics; a collector must take any name as it comes.

use crate::test_type::TestType;

/// One metric: its name on the wire and how its values come about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub name: &'static str,
    pub kind: Kind,
}

/// How a metric's values come about; see `curve` for what each does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One phase of the request, in milliseconds.
    Phase(Phase),
    /// A multiple of the whole response time, in milliseconds.
    Page(f64),
    /// A count that is about this high.
    Count(f64),
    /// A size of about this many bytes.
    Bytes(f64),
    /// Bytes of the response per second.
    Throughput,
    /// 100 for a good run, 0 for a failed one.
    Availability,
    /// 100 for a failed run, 0 for a good one.
    Downtime,
    /// A percentage that wavers around this.
    Share(f64),
    /// How content a user would have been with the response time.
    Content(Content),
    /// 1 if the run failed in this of [`FAILURES`] ways, else 0.
    Failure(u64),
    /// 1 if the run failed, else 0.
    AnyFailure,
    /// The round trip of the network alone, in milliseconds and hundredths.
    RoundTrip,
    /// Lost packets in percent.
    Loss,
    /// How much the round trip wavers, in milliseconds and hundredths.
    Jitter,
    /// The error of a clock in milliseconds: positive (`1.0`) or negative (`-1.0`) part.
    Offset(f64),
    /// Days until the certificate expires.
    Expiry,
    /// Radio signal in dBm.
    Signal,
    /// Always the same.
    Fixed(f64),
}

/// The phases of a request, in their order; the last ones are sums.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    Dns,
    Connect,
    Tls,
    Send,
    Wait,
    FirstByte,
    Load,
    Response,
}

/// The answers to "was it fast enough?".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Apdex,
    Satisfied,
    Tolerating,
    Frustrated,
    NotFrustrated,
}

/// In how many ways a run can fail.
pub(crate) const FAILURES: u64 = 5;

/// The metrics of a type, in the order of its answers.
pub(crate) fn of(kind: TestType) -> &'static [Metric] {
    match kind {
        TestType::Web | TestType::Transaction | TestType::Html => WEB,
        TestType::Api => API,
        TestType::Ping => PING,
        TestType::Traceroute => TRACEROUTE,
        TestType::Dns => DNS,
        TestType::Websocket => WEBSOCKET,
        TestType::Smtp => SMTP,
        TestType::Transport => TRANSPORT,
        TestType::Ftp => FTP,
        TestType::Custom => CUSTOM,
        TestType::Ntp => NTP,
        TestType::Imap => IMAP,
        TestType::Ssl => SSL,
        TestType::Streaming => STREAMING,
    }
}

const fn metric(name: &'static str, kind: Kind) -> Metric {
    Metric { name, kind }
}

const AVAILABILITY: Metric = metric("% Availability", Kind::Availability);
const RUNS: Metric = metric("# Runs", Kind::Fixed(1.0));
const ERRORS: Metric = metric("# Test Errors", Kind::AnyFailure);
const LOOKUP: Metric = metric("DNS (ms)", Kind::Phase(Phase::Dns));
const CONNECT: Metric = metric("Connect (ms)", Kind::Phase(Phase::Connect));
const TLS: Metric = metric("SSL (ms)", Kind::Phase(Phase::Tls));
const SEND: Metric = metric("Send (ms)", Kind::Phase(Phase::Send));
const WAIT: Metric = metric("Wait (ms)", Kind::Phase(Phase::Wait));
const FIRST_BYTE: Metric = metric("Time To First Byte (ms)", Kind::Phase(Phase::FirstByte));
const LOAD: Metric = metric("Load (ms)", Kind::Phase(Phase::Load));
const RESPONSE: Metric = metric("Response (ms)", Kind::Phase(Phase::Response));
const TEST_TIME: Metric = metric("Test Time (ms)", Kind::Page(1.02));
const LOSS: Metric = metric("% Ping Packet Loss", Kind::Loss);
const ROUND_TRIP: Metric = metric("Ping Round Trip (ms)", Kind::RoundTrip);
const DNS_FAILURES: Metric = metric("# DNS Failures", Kind::Failure(0));
const CONNECT_FAILURES: Metric = metric("# Connection Failures", Kind::Failure(1));
const TLS_FAILURES: Metric = metric("# SSL Failures", Kind::Failure(2));
const TIMEOUTS: Metric = metric("# Timeout Failures", Kind::Failure(4));

const WEB: &[Metric] = &[
    LOOKUP,
    CONNECT,
    TLS,
    SEND,
    WAIT,
    FIRST_BYTE,
    LOAD,
    RESPONSE,
    metric("Redirect (ms)", Kind::Page(0.08)),
    metric("Server Response (ms)", Kind::Page(0.92)),
    metric("File Size", Kind::Bytes(48_000.0)),
    metric("Downloaded Bytes", Kind::Bytes(52_000.0)),
    metric("Total Downloaded Bytes", Kind::Bytes(1_840_000.0)),
    metric("Throughput", Kind::Throughput),
    metric("DOM Load (ms)", Kind::Page(1.9)),
    metric("Content Load (ms)", Kind::Page(2.4)),
    metric("Document Complete (ms)", Kind::Page(2.9)),
    metric("Webpage Response (ms)", Kind::Page(3.4)),
    metric("Speed Index", Kind::Page(2.2)),
    metric("Wire Time (ms)", Kind::Page(2.6)),
    metric("Client Time (ms)", Kind::Page(0.8)),
    metric("Render Start (ms)", Kind::Page(1.5)),
    metric("Time to Title (ms)", Kind::Page(1.2)),
    metric("Webpage Throughput", Kind::Throughput),
    metric("# Connections", Kind::Count(21.0)),
    metric("# Hosts", Kind::Count(14.0)),
    metric("# Zones", Kind::Count(4.0)),
    metric("# Items (Total)", Kind::Count(86.0)),
    metric("# Redirect", Kind::Count(1.0)),
    metric("# Html", Kind::Count(5.0)),
    metric("Html Bytes", Kind::Bytes(92_000.0)),
    metric("# Image", Kind::Count(38.0)),
    metric("Image Bytes", Kind::Bytes(830_000.0)),
    metric("# Script", Kind::Count(24.0)),
    metric("Script Bytes", Kind::Bytes(610_000.0)),
    metric("# Css", Kind::Count(6.0)),
    metric("Css Bytes", Kind::Bytes(74_000.0)),
    metric("# Flash", Kind::Fixed(0.0)),
    metric("Flash Bytes", Kind::Fixed(0.0)),
    metric("# Xml", Kind::Count(3.0)),
    metric("Xml Bytes", Kind::Bytes(9_000.0)),
    metric("# Media", Kind::Count(1.0)),
    metric("Media Bytes", Kind::Bytes(120_000.0)),
    metric("# Font", Kind::Count(4.0)),
    metric("Font Bytes", Kind::Bytes(96_000.0)),
    metric("# Other", Kind::Count(2.0)),
    metric("Other Bytes", Kind::Bytes(3_000.0)),
    LOSS,
    ROUND_TRIP,
    AVAILABILITY,
    metric("% Content Availability", Kind::Availability),
    metric("Apdex", Kind::Content(Content::Apdex)),
    metric("% Satisfied", Kind::Content(Content::Satisfied)),
    metric("% Tolerating", Kind::Content(Content::Tolerating)),
    metric("% Frustrated", Kind::Content(Content::Frustrated)),
    metric("% Not Frustrated", Kind::Content(Content::NotFrustrated)),
    RUNS,
    metric("Page Speed Score", Kind::Share(83.0)),
    metric("# JS Errors per Page", Kind::Count(0.6)),
    metric("# Content Load Errors", Kind::Count(0.4)),
    metric("# Tests with JS Errors", Kind::Fixed(0.0)),
    DNS_FAILURES,
    CONNECT_FAILURES,
    TLS_FAILURES,
    metric("# Response Failures", Kind::Failure(3)),
    TIMEOUTS,
    ERRORS,
];

const API: &[Metric] = &[
    LOOKUP,
    CONNECT,
    TLS,
    SEND,
    WAIT,
    FIRST_BYTE,
    LOAD,
    RESPONSE,
    TEST_TIME,
    metric("Server Response (ms)", Kind::Page(0.92)),
    metric("Downloaded Bytes", Kind::Bytes(5_400.0)),
    metric("Throughput", Kind::Throughput),
    metric("% Self Bottleneck", Kind::Share(61.0)),
    metric("% Third Party Bottleneck", Kind::Share(39.0)),
    metric("Self Downloaded Bytes", Kind::Bytes(5_100.0)),
    metric("First Paint", Kind::Page(1.3)),
    metric("First Contentful Paint", Kind::Page(1.4)),
    metric("Time To Interactive", Kind::Page(2.3)),
    metric("Visually Complete (ms)", Kind::Page(2.8)),
    metric("Frames Per Second", Kind::Count(58.0)),
    AVAILABILITY,
    metric("% Downtime", Kind::Downtime),
    metric("% Adjusted Availability", Kind::Availability),
    metric("# Purged Runs", Kind::Fixed(0.0)),
    metric("Signal Quality", Kind::Share(76.0)),
    metric("Signal Strength (dBm)", Kind::Signal),
    RUNS,
    ERRORS,
];

const PING: &[Metric] = &[
    ROUND_TRIP,
    LOSS,
    metric("Jitter (ms)", Kind::Jitter),
    AVAILABILITY,
    metric("% Downtime", Kind::Downtime),
    RUNS,
    ERRORS,
];

const TRACEROUTE: &[Metric] = &[
    ROUND_TRIP,
    LOSS,
    metric("Jitter (ms)", Kind::Jitter),
    metric("Hops", Kind::Count(11.0)),
    metric("ASNs", Kind::Count(4.0)),
    metric("Cities", Kind::Count(5.0)),
    metric("Countries", Kind::Count(2.0)),
    AVAILABILITY,
];

const DNS: &[Metric] = &[
    metric("Test Time (ms)", Kind::Phase(Phase::Dns)),
    LOOKUP,
    AVAILABILITY,
    RUNS,
    DNS_FAILURES,
    ERRORS,
];

const WEBSOCKET: &[Metric] = &[
    TEST_TIME,
    LOOKUP,
    CONNECT,
    TLS,
    metric("# Sends", Kind::Count(12.0)),
    metric("# Receives", Kind::Count(31.0)),
    metric("Send Data Bytes", Kind::Bytes(2_100.0)),
    metric("Receive Data Bytes", Kind::Bytes(17_500.0)),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

const SMTP: &[Metric] = &[
    TEST_TIME,
    LOOKUP,
    CONNECT,
    metric("Helo Time (ms)", Kind::Phase(Phase::Wait)),
    AVAILABILITY,
    RUNS,
    CONNECT_FAILURES,
    ERRORS,
];

const TRANSPORT: &[Metric] = &[
    TEST_TIME,
    LOOKUP,
    CONNECT,
    LOSS,
    AVAILABILITY,
    RUNS,
    CONNECT_FAILURES,
    TIMEOUTS,
    ERRORS,
];

const FTP: &[Metric] = &[
    TEST_TIME,
    LOOKUP,
    CONNECT,
    WAIT,
    LOAD,
    RESPONSE,
    metric("File Size", Kind::Bytes(260_000.0)),
    metric("Throughput", Kind::Throughput),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

const CUSTOM: &[Metric] = &[
    TEST_TIME,
    metric("Custom Counter", Kind::Count(140.0)),
    metric("Custom Rate", Kind::Share(47.0)),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

const NTP: &[Metric] = &[
    metric("PositiveOffset", Kind::Offset(1.0)),
    metric("NegativeOffset", Kind::Offset(-1.0)),
    metric("RoundTripDelay", Kind::RoundTrip),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

const IMAP: &[Metric] = &[
    TEST_TIME,
    CONNECT,
    metric("Fetch", Kind::Page(0.4)),
    metric("List", Kind::Page(0.2)),
    metric("Search", Kind::Page(0.3)),
    metric("Logout", Kind::Page(0.1)),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

const SSL: &[Metric] = &[
    TEST_TIME,
    CONNECT,
    metric("HandshakeTime", Kind::Phase(Phase::Tls)),
    metric("ExpirationTime", Kind::Expiry),
    AVAILABILITY,
    RUNS,
    TLS_FAILURES,
    ERRORS,
];

const STREAMING: &[Metric] = &[
    TEST_TIME,
    LOOKUP,
    CONNECT,
    FIRST_BYTE,
    metric("Downloaded Bytes", Kind::Bytes(3_900_000.0)),
    metric("Throughput", Kind::Throughput),
    metric("Frames Per Second", Kind::Count(29.0)),
    AVAILABILITY,
    RUNS,
    ERRORS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_type_has_a_name_twice() {
        for kind in TestType::ALL {
            let names: BTreeSet<&str> = of(kind).iter().map(|metric| metric.name).collect();
            assert_eq!(names.len(), of(kind).len(), "{kind}");
        }
    }

    #[test]
    fn a_web_test_has_the_67_metrics_of_the_published_answers() {
        assert_eq!(of(TestType::Web).len(), 67);
    }
}
