//! The node of this machine in the relay's own series.

/// This machine's name as one node of a series name.
#[must_use]
pub fn host_node() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let node = name.to_string_lossy();
    let node = node.chars().map(|c| if allowed(c) { c } else { '_' });
    match node.take(64).collect::<String>() {
        empty if empty.is_empty() => "unknown".to_owned(),
        node => node,
    }
}
