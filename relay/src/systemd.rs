//! Notifications to systemd; without it they go nowhere.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Tells that the relay takes posts.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// Tells that the relay is stopping.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// Tells that the relay is well.
pub fn alive() {
    notify(NotifyState::Watchdog);
}

/// How often [`alive`] must be told: twice as often as systemd asks for. None if it does not ask.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 2)
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        debug!(%error, "systemd cannot be notified");
    }
}
