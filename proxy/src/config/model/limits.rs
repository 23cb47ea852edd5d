//! The bounds of everything that a client can make Gatehouse hold.
//!
//! Timeouts, and those of upstreams, end up to half a second late, and never early: all are looked
//! at four times a second, which costs less than a timer each.

use std::time::Duration;

/// The `[limits]` section; defaults are the contract's.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open client connections in all, at least 1 (default 20,000).
    pub connections: usize,
    /// Open connections of one peer address, at least 1 (default 256).
    pub connections_per_client: usize,
    /// From the first byte of a TLS handshake to its end (default 10 s).
    pub handshake_timeout: Duration,
    /// From the first byte of a request head to its end, and the wait for the first byte of a
    /// connection (default 10 s).
    pub header_timeout: Duration,
    /// How long a connection may rest between requests (default 75 s).
    pub idle_timeout: Duration,
    /// Bytes of a request head, its target included, 8 KiB to 1 MiB (default 32 KiB).
    pub header_bytes: usize,
    /// Fields of a request head, 1 to 1,000 (default 100).
    pub header_count: usize,
    /// How long a write to a client may make no progress (default 60 s).
    pub response_write_timeout: Duration,
    /// Bytes per second that a client must take of a response, on average and after a grace of
    /// `header_timeout`, while it is waited for; 0 switches it off (default 500).
    pub response_min_rate: u64,
    /// Concurrent streams of an HTTP/2 connection, 1 to 1,000 (default 100).
    pub http2_streams: u32,
    /// Streams that an HTTP/2 client may reset in ten seconds (default 500).
    pub http2_resets: u32,
    /// Frames without content in ten seconds: SETTINGS, PING, PRIORITY, CONTINUATION, empty DATA,
    /// unknown (default 10,000).
    pub http2_control_frames: u32,
    /// What sites and routes inherit.
    pub route: RouteLimits,
}

/// The bounds of which a site or a route can have its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// Bytes of a request body (default 10 MiB).
    pub body_bytes: u64,
    /// Bytes per second that a request body must bring, after a grace of `header_timeout`; 0
    /// switches it off (default 500).
    pub body_min_rate: u64,
    /// How long a WebSocket may carry nothing in either direction (default 1 h).
    pub websocket_idle_timeout: Duration,
    /// In the place of the upstream's `answer_timeout`.
    pub answer_timeout: Option<Duration>,
}
