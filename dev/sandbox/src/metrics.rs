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
    /// A whole number that is about this high.
    Count(f64),
    /// A size of about this many bytes.
    Bytes(f64),
    /// 100 for a good run, 0 for a failed one.
    Availability,
    /// 100 for a failed run, 0 for a good one.
    Downtime,
    /// 1 if the run failed in this of [`FAILURES`] ways, else 0.
    Failure(u64),
    /// 1 if the run failed, else 0.
    AnyFailure,
    /// A multiple of the round trip of the network, in milliseconds and hundredths.
    RoundTrip(f64),
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

/// A table of metrics, each as `"name" kind`, several to a line.
macro_rules! metrics {
    ($($table:ident [ $($name:literal $kind:ident $(($($value:tt)*))?,)* ])*) => { $(
        const $table: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind $(($($value)*))? }),*];
    )* };
}

use self::Phase as P;

metrics! {
    WEB [
        "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect), "SSL (ms)" Phase(P::Tls),
        "Send (ms)" Phase(P::Send), "Wait (ms)" Phase(P::Wait),
        "Time To First Byte (ms)" Phase(P::FirstByte), "Load (ms)" Phase(P::Load),
        "Response (ms)" Phase(P::Response), "Redirect (ms)" Page(0.08),
        "Server Response (ms)" Page(0.92), "File Size" Bytes(48e3),
        "Downloaded Bytes" Bytes(52e3), "Total Downloaded Bytes" Bytes(1_840e3),
        "Throughput" Bytes(120e3), "DOM Load (ms)" Page(1.9), "Content Load (ms)" Page(2.4),
        "Document Complete (ms)" Page(2.9), "Webpage Response (ms)" Page(3.4),
        "Speed Index" Page(2.2), "Wire Time (ms)" Page(2.6), "Client Time (ms)" Page(0.8),
        "Render Start (ms)" Page(1.5), "Time to Title (ms)" Page(1.2),
        "Webpage Throughput" Bytes(120e3), "# Connections" Count(21.0), "# Hosts" Count(14.0),
        "# Zones" Count(4.0), "# Items (Total)" Count(86.0), "# Redirect" Count(1.0),
        "# Html" Count(5.0), "Html Bytes" Bytes(92e3), "# Image" Count(38.0),
        "Image Bytes" Bytes(830e3), "# Script" Count(24.0), "Script Bytes" Bytes(610e3),
        "# Css" Count(6.0), "Css Bytes" Bytes(74e3), "# Flash" Fixed(0.0),
        "Flash Bytes" Fixed(0.0), "# Xml" Count(3.0), "Xml Bytes" Bytes(9e3),
        "# Media" Count(1.0), "Media Bytes" Bytes(120e3), "# Font" Count(4.0),
        "Font Bytes" Bytes(96e3), "# Other" Count(2.0), "Other Bytes" Bytes(3e3),
        "% Ping Packet Loss" Downtime, "Ping Round Trip (ms)" RoundTrip(1.0),
        "% Availability" Availability, "% Content Availability" Availability,
        "Apdex" Fixed(1.0), "% Satisfied" Availability,
        "% Tolerating" Fixed(0.0), "% Frustrated" Downtime,
        "% Not Frustrated" Availability, "# Runs" Fixed(1.0),
        "Page Speed Score" Count(83.0), "# JS Errors per Page" Count(0.6),
        "# Content Load Errors" Count(0.4), "# Tests with JS Errors" Fixed(0.0),
        "# DNS Failures" Failure(0), "# Connection Failures" Failure(1),
        "# SSL Failures" Failure(2), "# Response Failures" Failure(3),
        "# Timeout Failures" Failure(4), "# Test Errors" AnyFailure,
    ]
    API [
        "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect), "SSL (ms)" Phase(P::Tls),
        "Send (ms)" Phase(P::Send), "Wait (ms)" Phase(P::Wait),
        "Time To First Byte (ms)" Phase(P::FirstByte), "Load (ms)" Phase(P::Load),
        "Response (ms)" Phase(P::Response), "Test Time (ms)" Page(1.02),
        "Server Response (ms)" Page(0.92), "Downloaded Bytes" Bytes(5_400.0),
        "Throughput" Bytes(120e3), "% Self Bottleneck" Count(61.0),
        "% Third Party Bottleneck" Count(39.0), "Self Downloaded Bytes" Bytes(5_100.0),
        "First Paint" Page(1.3), "First Contentful Paint" Page(1.4),
        "Time To Interactive" Page(2.3), "Visually Complete (ms)" Page(2.8),
        "Frames Per Second" Count(58.0), "% Availability" Availability, "% Downtime" Downtime,
        "% Adjusted Availability" Availability, "# Purged Runs" Fixed(0.0),
        "Signal Quality" Count(76.0), "Signal Strength (dBm)" Count(-67.0), "# Runs" Fixed(1.0),
        "# Test Errors" AnyFailure,
    ]
    PING [
        "Ping Round Trip (ms)" RoundTrip(1.0), "% Ping Packet Loss" Downtime, "Jitter (ms)" RoundTrip(0.1),
        "% Availability" Availability, "% Downtime" Downtime, "# Runs" Fixed(1.0),
        "# Test Errors" AnyFailure,
    ]
    TRACEROUTE [
        "Ping Round Trip (ms)" RoundTrip(1.0), "% Ping Packet Loss" Downtime, "Jitter (ms)" RoundTrip(0.1),
        "Hops" Count(11.0), "ASNs" Count(4.0), "Cities" Count(5.0), "Countries" Count(2.0),
        "% Availability" Availability,
    ]
    DNS [
        "Test Time (ms)" Phase(P::Dns), "DNS (ms)" Phase(P::Dns), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# DNS Failures" Failure(0), "# Test Errors" AnyFailure,
    ]
    WEBSOCKET [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "SSL (ms)" Phase(P::Tls), "# Sends" Count(12.0), "# Receives" Count(31.0),
        "Send Data Bytes" Bytes(2_100.0), "Receive Data Bytes" Bytes(17_500.0),
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    SMTP [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "Helo Time (ms)" Phase(P::Wait), "% Availability" Availability, "# Runs" Fixed(1.0),
        "# Connection Failures" Failure(1), "# Test Errors" AnyFailure,
    ]
    TRANSPORT [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "% Ping Packet Loss" Downtime, "% Availability" Availability, "# Runs" Fixed(1.0),
        "# Connection Failures" Failure(1), "# Timeout Failures" Failure(4),
        "# Test Errors" AnyFailure,
    ]
    FTP [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "Wait (ms)" Phase(P::Wait), "Load (ms)" Phase(P::Load),
        "Response (ms)" Phase(P::Response), "File Size" Bytes(260e3), "Throughput" Bytes(120e3),
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    CUSTOM [
        "Test Time (ms)" Page(1.02), "Custom Counter" Count(140.0), "Custom Rate" Count(47.0),
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    NTP [
        "PositiveOffset" Count(3.0), "NegativeOffset" Count(-3.0), "RoundTripDelay" RoundTrip(1.0),
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    IMAP [
        "Test Time (ms)" Page(1.02), "Connect (ms)" Phase(P::Connect), "Fetch" Page(0.4),
        "List" Page(0.2), "Search" Page(0.3), "Logout" Page(0.1), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    SSL [
        "Test Time (ms)" Page(1.02), "Connect (ms)" Phase(P::Connect),
        "HandshakeTime" Phase(P::Tls), "ExpirationTime" Count(60.0), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# SSL Failures" Failure(2), "# Test Errors" AnyFailure,
    ]
    STREAMING [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "Time To First Byte (ms)" Phase(P::FirstByte), "Downloaded Bytes" Bytes(3_900e3),
        "Throughput" Bytes(120e3), "Frames Per Second" Count(29.0), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
}
