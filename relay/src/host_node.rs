//! The node of this machine in the relay's own series.

/// This machine's name as one node of a series name.
#[must_use]
pub fn host_node() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name
        .as_ref()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let node: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(64)
        .collect();
    if node.is_empty() {
        "unknown".to_owned()
    } else {
        node
    }
}
