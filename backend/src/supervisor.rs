//! What the process's supervisor is told, as systemd is one (`sd_notify(3)`): that it serves, that
//! it lives, that it stops. Without one, nothing here does anything.

use sd_notify::NotifyState;

/// Says that the process serves, and from then on that it lives, as often as the supervisor wants
/// to hear it. A runtime that hangs says nothing, and is started anew.
pub(crate) fn serves() {
    tell(NotifyState::Ready);
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval(patience / 2);
    tokio::spawn(async move {
        loop {
            beat.tick().await;
            tell(NotifyState::Watchdog);
        }
    });
}

/// Says that the process stops, whose end may take a while.
pub(crate) fn stops() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(cause = %error, "the supervisor cannot be told");
    }
}
