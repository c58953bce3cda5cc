//! One measured value, as every API version and every output sees it.

/// One value that Catchpoint measured. Step and hop are texts because Catchpoint sends them so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name as Catchpoint spells it: `DNS (ms)`.
    pub metric: &'a str,
    /// The test's id.
    pub test: u64,
    /// The node's id.
    pub node: u64,
    /// The step of a transaction.
    pub step: Option<&'a str>,
    /// The hop of a traceroute.
    pub hop: Option<&'a str>,
    /// The value; finite in what Catchpoint sends, checked when it becomes a line.
    pub value: f64,
    /// When the test ran, in whole seconds since the epoch, cut off and not rounded.
    pub time: i64,
}
