//! The words of a webhook's body, and the metrics of the API that they mean: one table.

/// How far a row is known. Nobody has published a push and an answer of the API about the same run,
/// so even a fact is about the words and not about the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A public description calls both words by the same name.
    Fact,
    /// Our reading.
    Inferred,
}

use Known::{Fact, Inferred};

/// A word of the body's `Summary`, the metric as the API spells it, and how far that is known. The
/// macro of a word is its path in lower case without the dots: `${timingdns}`.
#[rustfmt::skip]
pub const WORDS: &[(&str, &str, Known)] = &[
    ("Timing.Dns", "DNS (ms)", Fact),
    ("Timing.Connect", "Connect (ms)", Fact),
    ("Timing.Ssl", "SSL (ms)", Fact),
    ("Timing.Send", "Send (ms)", Fact),
    ("Timing.Wait", "Wait (ms)", Fact),
    ("Timing.Load", "Load (ms)", Fact),
    ("Timing.Response", "Response (ms)", Inferred),
    ("Timing.Redirect", "Redirect (ms)", Fact),
    ("Timing.DomLoad", "DOM Load (ms)", Fact),
    ("Timing.ContentLoad", "Content Load (ms)", Fact),
    ("Timing.DocumentComplete", "Document Complete (ms)", Fact),
    ("Timing.WebpageResponse", "Webpage Response (ms)", Fact),
    ("Timing.Wire", "Wire Time (ms)", Fact),
    ("Timing.Client", "Client Time (ms)", Fact),
    ("Timing.RenderStart", "Render Start (ms)", Fact),
    ("Timing.TimeToTitle", "Time to Title (ms)", Fact),
    ("Timing.Total", "Test Time (ms)", Fact),
    ("Timing.FirstPaintTime", "First Paint", Inferred),
    ("Timing.FirstContentfulPaintTime", "First Contentful Paint", Inferred),
    ("Timing.TimeToInteractive", "Time To Interactive", Inferred),
    ("Timing.VisuallyCompleteTime", "Visually Complete (ms)", Inferred),
    ("Timing.Fetch", "Fetch", Inferred),
    ("Timing.List", "List", Inferred),
    ("Timing.Search", "Search", Inferred),
    ("Timing.Logout", "Logout", Inferred),
    ("Timing.RoundTripDelay", "RoundTripDelay", Inferred),
    ("AverageFramesPerSecond", "Frames Per Second", Inferred),
    ("Score.SpeedIndex", "Speed Index", Fact),
    ("Score.PageSpeed", "Page Speed Score", Fact),
    ("Ping.RoundTripTimeAvg", ROUND_TRIP, Fact),
    ("Ping.PacketLossPct", PACKET_LOSS, Fact),
    ("Byte.Receive", "Total Downloaded Bytes", Inferred),
    ("Byte.Response.ContentType.Html", "Html Bytes", Fact),
    ("Byte.Response.ContentType.Image", "Image Bytes", Fact),
    ("Byte.Response.ContentType.Script", "Script Bytes", Fact),
    ("Byte.Response.ContentType.Css", "Css Bytes", Fact),
    ("Byte.Response.ContentType.Xml", "Xml Bytes", Fact),
    ("Byte.Response.ContentType.Media", "Media Bytes", Fact),
    ("Byte.Response.ContentType.Font", "Font Bytes", Fact),
    ("Byte.Response.ContentType.Other", "Other Bytes", Fact),
    ("Counter.Connections", "# Connections", Fact),
    ("Counter.Hosts", "# Hosts", Fact),
    ("Counter.Requests", "# Items (Total)", Inferred),
    ("Counter.Redirections", "# Redirect", Fact),
    ("Counter.JsFailures", "# JS Errors per Page", Inferred),
    ("Counter.ContentType.Html", "# Html", Fact),
    ("Counter.ContentType.Image", "# Image", Fact),
    ("Counter.ContentType.Script", "# Script", Fact),
    ("Counter.ContentType.Css", "# Css", Fact),
    ("Counter.ContentType.Xml", "# Xml", Fact),
    ("Counter.ContentType.Media", "# Media", Fact),
    ("Counter.ContentType.Font", "# Font", Fact),
    ("Counter.ContentType.Other", "# Other", Inferred),
    ("Error.Any", "# Test Errors", Inferred),
    ("Error.Dns", "# DNS Failures", Fact),
    ("Error.Connection", "# Connection Failures", Fact),
    ("Error.Ssl", "# SSL Failures", Fact),
    ("Error.Load", "# Response Failures", Fact),
    ("Error.Timeout", "# Timeout Failures", Fact),
];

/// The round trip of a ping, and of the probes of one hop.
pub const ROUND_TRIP: &str = "Ping Round Trip (ms)";

/// The lost part of a ping, and of the probes of one hop.
pub const PACKET_LOSS: &str = "% Ping Packet Loss";

/// Parts of `Summary` that are no measurement of the run as a whole: the time, versions, switches,
/// and figures of single hosts, zones and script errors.
pub const NOT_MEASURED: &[&str] = &[
    "V",
    "Timestamp",
    "MonitorVersion",
    "Address",
    "Request",
    "Action",
    "ContentZones",
    "HostCollections",
    "JsFailures",
];

/// The metric of a word; capitals do not matter, because macros have none.
pub fn metric(path: &str) -> Option<&'static str> {
    let mut rows = WORDS.iter();
    let found = rows.find(|(word, ..)| word.eq_ignore_ascii_case(path));
    found.map(|(_, metric, _)| *metric)
}
