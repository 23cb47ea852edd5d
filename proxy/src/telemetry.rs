//! Counters of each worker and the messages on standard error.
//!
//! A worker writes its own counters only, so counting shares no cache line between cores; whoever
//! reads adds them up.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// What one worker has seen.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Ticks of the worker, by which it is known to live.
    pub(crate) beats: Counter,
    pub(crate) connections: Counter,
    pub(crate) connections_closed: Counter,
    /// Connections refused because there were too many, in all or from one peer.
    pub(crate) connections_refused: Counter,
    /// Connections that did not begin with the PROXY protocol header that they had to have.
    pub(crate) connections_unannounced: Counter,
    pub(crate) handshakes_failed: Counter,
    /// Connections ended because their bytes were no HTTP, or because the client vanished.
    pub(crate) connections_broken: Counter,
    /// Connections ended by a deadline.
    pub(crate) connections_timed_out: Counter,
    /// Requests refused before they could be read, so that there is no record of them.
    pub(crate) requests_malformed: Counter,
    /// HTTP/2 connections ended for too much of what carries no request.
    pub(crate) http2_floods: Counter,
    /// HTTP/2 streams refused because too many were open.
    pub(crate) streams_refused: Counter,
    /// HTTP/2 streams ended because the client did not take the response.
    pub(crate) streams_timed_out: Counter,
    /// Connections and streams ended by a fault of Gatehouse's own. There should be none.
    pub(crate) panics: Counter,
    /// Responses by the first digit of their status; those that were never made at 0.
    pub(crate) responses: [Counter; 6],
    /// Request fields that were not passed on because of their names.
    pub(crate) fields_dropped: Counter,
    /// Responses that went out as they were because too many were being compressed.
    pub(crate) compression_refused: Counter,
    /// Pages that went out without a nonce because too many were being rewritten.
    pub(crate) nonces_refused: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    rejections: std::sync::Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

/// A number that goes up, written by one thread and read by others.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts a finished request.
    pub(crate) fn request(
        &self,
        status: Option<StatusCode>,
        reason: Option<&'static str>,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(class) = self.responses.get(class) {
            class.add(1);
        }
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
        if let Some(reason) = reason
            && let Ok(mut rejections) = self.rejections.lock()
        {
            *rejections.entry(reason).or_default() += 1;
        }
    }

    /// Rejections by reason.
    pub(crate) fn rejections(&self) -> Vec<(&'static str, u64)> {
        self.rejections
            .lock()
            .map(|r| r.iter().map(|(k, v)| (*k, *v)).collect())
            .unwrap_or_default()
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> u64 {
        self.connections.get().saturating_sub(self.connections_closed.get())
    }
}

/// Sends messages to standard error, coloured on a terminal. Does nothing when something else
/// already takes them.
pub(crate) fn init(level: tracing::Level) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let messages = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    if tracing_subscriber::registry().with(filter).with(messages).try_init().is_ok() {
        _ = LEVEL.set(handle);
    }
}

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Sends messages of this level and above from now on.
pub(crate) fn set_level(level: tracing::Level) {
    if let Some(handle) = LEVEL.get() {
        _ = handle.modify(|filter| *filter = LevelFilter::from_level(level));
    }
}
