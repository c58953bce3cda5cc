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

/// A table of metrics, each as `"name" kind`, several to a line.
macro_rules! metrics {
    ($($table:ident [ $($name:literal $kind:ident $(($($value:tt)*))?,)* ])*) => { $(
        const $table: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind $(($($value)*))? }),*];
    )* };
}

use self::Content as C;
use self::Phase as P;

metrics! {
    WEB [
        "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect), "SSL (ms)" Phase(P::Tls),
        "Send (ms)" Phase(P::Send), "Wait (ms)" Phase(P::Wait),
        "Time To First Byte (ms)" Phase(P::FirstByte), "Load (ms)" Phase(P::Load),
        "Response (ms)" Phase(P::Response), "Redirect (ms)" Page(0.08),
        "Server Response (ms)" Page(0.92), "File Size" Bytes(48e3),
        "Downloaded Bytes" Bytes(52e3), "Total Downloaded Bytes" Bytes(1_840e3),
        "Throughput" Throughput, "DOM Load (ms)" Page(1.9), "Content Load (ms)" Page(2.4),
        "Document Complete (ms)" Page(2.9), "Webpage Response (ms)" Page(3.4),
        "Speed Index" Page(2.2), "Wire Time (ms)" Page(2.6), "Client Time (ms)" Page(0.8),
        "Render Start (ms)" Page(1.5), "Time to Title (ms)" Page(1.2),
        "Webpage Throughput" Throughput, "# Connections" Count(21.0), "# Hosts" Count(14.0),
        "# Zones" Count(4.0), "# Items (Total)" Count(86.0), "# Redirect" Count(1.0),
        "# Html" Count(5.0), "Html Bytes" Bytes(92e3), "# Image" Count(38.0),
        "Image Bytes" Bytes(830e3), "# Script" Count(24.0), "Script Bytes" Bytes(610e3),
        "# Css" Count(6.0), "Css Bytes" Bytes(74e3), "# Flash" Fixed(0.0),
        "Flash Bytes" Fixed(0.0), "# Xml" Count(3.0), "Xml Bytes" Bytes(9e3),
        "# Media" Count(1.0), "Media Bytes" Bytes(120e3), "# Font" Count(4.0),
        "Font Bytes" Bytes(96e3), "# Other" Count(2.0), "Other Bytes" Bytes(3e3),
        "% Ping Packet Loss" Loss, "Ping Round Trip (ms)" RoundTrip,
        "% Availability" Availability, "% Content Availability" Availability,
        "Apdex" Content(C::Apdex), "% Satisfied" Content(C::Satisfied),
        "% Tolerating" Content(C::Tolerating), "% Frustrated" Content(C::Frustrated),
        "% Not Frustrated" Content(C::NotFrustrated), "# Runs" Fixed(1.0),
        "Page Speed Score" Share(83.0), "# JS Errors per Page" Count(0.6),
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
        "Throughput" Throughput, "% Self Bottleneck" Share(61.0),
        "% Third Party Bottleneck" Share(39.0), "Self Downloaded Bytes" Bytes(5_100.0),
        "First Paint" Page(1.3), "First Contentful Paint" Page(1.4),
        "Time To Interactive" Page(2.3), "Visually Complete (ms)" Page(2.8),
        "Frames Per Second" Count(58.0), "% Availability" Availability, "% Downtime" Downtime,
        "% Adjusted Availability" Availability, "# Purged Runs" Fixed(0.0),
        "Signal Quality" Share(76.0), "Signal Strength (dBm)" Signal, "# Runs" Fixed(1.0),
        "# Test Errors" AnyFailure,
    ]
    PING [
        "Ping Round Trip (ms)" RoundTrip, "% Ping Packet Loss" Loss, "Jitter (ms)" Jitter,
        "% Availability" Availability, "% Downtime" Downtime, "# Runs" Fixed(1.0),
        "# Test Errors" AnyFailure,
    ]
    TRACEROUTE [
        "Ping Round Trip (ms)" RoundTrip, "% Ping Packet Loss" Loss, "Jitter (ms)" Jitter,
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
        "% Ping Packet Loss" Loss, "% Availability" Availability, "# Runs" Fixed(1.0),
        "# Connection Failures" Failure(1), "# Timeout Failures" Failure(4),
        "# Test Errors" AnyFailure,
    ]
    FTP [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "Wait (ms)" Phase(P::Wait), "Load (ms)" Phase(P::Load),
        "Response (ms)" Phase(P::Response), "File Size" Bytes(260e3), "Throughput" Throughput,
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    CUSTOM [
        "Test Time (ms)" Page(1.02), "Custom Counter" Count(140.0), "Custom Rate" Share(47.0),
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    NTP [
        "PositiveOffset" Offset(1.0), "NegativeOffset" Offset(-1.0), "RoundTripDelay" RoundTrip,
        "% Availability" Availability, "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    IMAP [
        "Test Time (ms)" Page(1.02), "Connect (ms)" Phase(P::Connect), "Fetch" Page(0.4),
        "List" Page(0.2), "Search" Page(0.3), "Logout" Page(0.1), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
    SSL [
        "Test Time (ms)" Page(1.02), "Connect (ms)" Phase(P::Connect),
        "HandshakeTime" Phase(P::Tls), "ExpirationTime" Expiry, "% Availability" Availability,
        "# Runs" Fixed(1.0), "# SSL Failures" Failure(2), "# Test Errors" AnyFailure,
    ]
    STREAMING [
        "Test Time (ms)" Page(1.02), "DNS (ms)" Phase(P::Dns), "Connect (ms)" Phase(P::Connect),
        "Time To First Byte (ms)" Phase(P::FirstByte), "Downloaded Bytes" Bytes(3_900e3),
        "Throughput" Throughput, "Frames Per Second" Count(29.0), "% Availability" Availability,
        "# Runs" Fixed(1.0), "# Test Errors" AnyFailure,
    ]
}

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
}
