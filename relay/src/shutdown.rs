//! How far the relay is with stopping.

/// The phases of a relay's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is taken.
    Running,
    /// New posts are refused; those that were let in are answered.
    Refusing,
    /// The forwarder ends when nothing waits any more.
    Draining,
    /// Connections end as soon as their answer is out.
    Closing,
}
