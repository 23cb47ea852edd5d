//! What the operator says by signals: HUP reloads, TERM and INT stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Phase, Server};

/// Those that are heard.
pub(super) struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From here on they are heard, however early they come. Call it inside a runtime.
    pub(super) fn hear() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads with each HUP, until TERM, INT or the admin listener says to stop.
    pub(super) async fn until_stopped(&mut self, server: &Server) -> &'static str {
        let mut phase = server.phase.subscribe();
        loop {
            tokio::select! {
                _ = self.term.recv() => return "TERM",
                _ = self.int.recv() => return "INT",
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => return "admin",
                // What came of it, the reload itself says.
                _ = self.hup.recv() => drop(server.reload().await),
            }
        }
    }
}

/// Waits for another one that says to stop.
pub(super) async fn second() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
}
