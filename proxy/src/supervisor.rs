//! Who started the process and watches over it, as systemd does: the sockets that it listens on
//! already (`sd_listen_fds(3)`), and what it is told (`sd_notify(3)`). Without one, nothing here
//! does anything.
//!
//! # Why
//!
//! A listener of the supervisor's outlives the process: who connects during a restart waits in its
//! queue for the next process, and nobody is refused. All workers accept from that one queue; the
//! kernel's spread over a queue for each worker (`SO_REUSEPORT`) is what it costs.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::listener::ListenError;
use crate::telemetry::{Counter, Counters};

/// The listeners that the supervisor has opened for this process.
pub(crate) fn listeners() -> Result<Vec<TcpListener>, ListenError> {
    let mut passed = ListenFd::from_env();
    let fail = |source| ListenError { address: "LISTEN_FDS".to_owned(), source };
    let taken = (0..passed.len()).map(|index| passed.take_tcp_listener(index).map_err(fail));
    taken.filter_map(Result::transpose).collect()
}

/// What the supervisor is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Connections are accepted, by a configuration that was just read.
    Ready,
    Reloading,
    Stopping,
}

/// Tells the supervisor, if there is one.
pub(crate) fn tell(news: News) {
    let told = match news {
        News::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // The moment lets it tell the READY after this reload from an earlier one.
        News::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|moment| sd_notify::notify(&[NotifyState::Reloading, moment])),
        News::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        tracing::warn!(%error, "the supervisor cannot be told: {news:?}");
    }
}

/// Tells the supervisor that every thread lives, as often as it wants to hear it. Runs on the
/// control thread.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// It ends a process that is silent for twice this long.
    every: Option<Duration>,
    last: Instant,
    /// The workers' beats then.
    beats: Vec<u64>,
}

impl Watchdog {
    pub(crate) fn new(now: Instant) -> Self {
        let every = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self { every, last: now, beats: Vec::new() }
    }

    /// Says so, if it is time and every worker has ticked since the last time.
    pub(crate) fn feed(&mut self, workers: &[Arc<Counters>], now: Instant) {
        if self.every.is_some_and(|every| now >= self.last + every) {
            let beats: Vec<u64> =
                workers.iter().map(|worker| Counter::get(&worker.beats)).collect();
            let stuck = self.beats.iter().zip(&beats).any(|(before, now)| before == now);
            if !stuck {
                _ = sd_notify::notify(&[NotifyState::Watchdog]);
                (self.last, self.beats) = (now, beats);
            }
        }
    }
}
