//! The words of a webhook's body, and the metrics of the API that they mean: one table.

/// A public description calls both words by the same name. Nobody has published a push and an answer of
/// the API about the same run, so even a fact is about the words and not about the values.
const FACT: &str = "fact";

/// Our reading.
const INFERRED: &str = "inferred";

/// A word of the body's `Summary`, the metric as the API spells it, and how far that is known. The
/// macro of a word is its path in lower case without the dots: `${timingdns}`.
#[rustfmt::skip]
pub const WORDS: &[(&str, &str, &str)] = &[
    ("Timing.Dns", "DNS (ms)", FACT),
    ("Timing.Connect", "Connect (ms)", FACT),
    ("Timing.Ssl", "SSL (ms)", FACT),
    ("Timing.Send", "Send (ms)", FACT),
    ("Timing.Wait", "Wait (ms)", FACT),
    ("Timing.Load", "Load (ms)", FACT),
    ("Timing.Response", "Response (ms)", INFERRED),
    ("Timing.Redirect", "Redirect (ms)", FACT),
    ("Timing.DomLoad", "DOM Load (ms)", FACT),
    ("Timing.ContentLoad", "Content Load (ms)", FACT),
    ("Timing.DocumentComplete", "Document Complete (ms)", FACT),
    ("Timing.WebpageResponse", "Webpage Response (ms)", FACT),
    ("Timing.Wire", "Wire Time (ms)", FACT),
    ("Timing.Client", "Client Time (ms)", FACT),
    ("Timing.RenderStart", "Render Start (ms)", FACT),
    ("Timing.TimeToTitle", "Time to Title (ms)", FACT),
    ("Timing.Total", "Test Time (ms)", FACT),
    ("Timing.FirstPaintTime", "First Paint", INFERRED),
    ("Timing.FirstContentfulPaintTime", "First Contentful Paint", INFERRED),
    ("Timing.TimeToInteractive", "Time To Interactive", INFERRED),
    ("Timing.VisuallyCompleteTime", "Visually Complete (ms)", INFERRED),
    ("Timing.Fetch", "Fetch", INFERRED),
    ("Timing.List", "List", INFERRED),
    ("Timing.Search", "Search", INFERRED),
    ("Timing.Logout", "Logout", INFERRED),
    ("Timing.RoundTripDelay", "RoundTripDelay", INFERRED),
    ("AverageFramesPerSecond", "Frames Per Second", INFERRED),
    ("Score.SpeedIndex", "Speed Index", FACT),
    ("Score.PageSpeed", "Page Speed Score", FACT),
    ("Ping.RoundTripTimeAvg", ROUND_TRIP, FACT),
    ("Ping.PacketLossPct", PACKET_LOSS, FACT),
    ("Byte.Receive", "Total Downloaded Bytes", INFERRED),
    ("Byte.Response.ContentType.Html", "Html Bytes", FACT),
    ("Byte.Response.ContentType.Image", "Image Bytes", FACT),
    ("Byte.Response.ContentType.Script", "Script Bytes", FACT),
    ("Byte.Response.ContentType.Css", "Css Bytes", FACT),
    ("Byte.Response.ContentType.Xml", "Xml Bytes", FACT),
    ("Byte.Response.ContentType.Media", "Media Bytes", FACT),
    ("Byte.Response.ContentType.Font", "Font Bytes", FACT),
    ("Byte.Response.ContentType.Other", "Other Bytes", FACT),
    ("Counter.Connections", "# Connections", FACT),
    ("Counter.Hosts", "# Hosts", FACT),
    ("Counter.Requests", "# Items (Total)", INFERRED),
    ("Counter.Redirections", "# Redirect", FACT),
    ("Counter.JsFailures", "# JS Errors per Page", INFERRED),
    ("Counter.ContentType.Html", "# Html", FACT),
    ("Counter.ContentType.Image", "# Image", FACT),
    ("Counter.ContentType.Script", "# Script", FACT),
    ("Counter.ContentType.Css", "# Css", FACT),
    ("Counter.ContentType.Xml", "# Xml", FACT),
    ("Counter.ContentType.Media", "# Media", FACT),
    ("Counter.ContentType.Font", "# Font", FACT),
    ("Counter.ContentType.Other", "# Other", INFERRED),
    ("Error.Any", "# Test Errors", INFERRED),
    ("Error.Dns", "# DNS Failures", FACT),
    ("Error.Connection", "# Connection Failures", FACT),
    ("Error.Ssl", "# SSL Failures", FACT),
    ("Error.Load", "# Response Failures", FACT),
    ("Error.Timeout", "# Timeout Failures", FACT),
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
