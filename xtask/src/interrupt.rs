//! INT, TERM and HUP, turned into a count that every wait of xtask looks at.

use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// The error with which a wait ends when the user asks to stop.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// From now on signals are counted instead of ending xtask, so that what it started is stopped.
pub(crate) fn install() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            RECEIVED.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// The user asked to stop.
pub(crate) fn requested() -> bool {
    RECEIVED.load(Ordering::Relaxed) > 0
}

/// The user asked twice: what is still draining is killed.
pub(crate) fn insisted() -> bool {
    RECEIVED.load(Ordering::Relaxed) > 1
}
