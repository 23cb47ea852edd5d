//! How an upstream's servers are chosen, and what asks them how they are.

use std::time::Duration;

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests in flight (the default).
    LeastConnections,
    /// Each in turn.
    RoundRobin,
}

/// The `health` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for; 2xx and 3xx are healthy.
    pub path: String,
    /// From the end of one check to the next (default 5 s).
    pub interval: Duration,
    /// How long one check may take (default 2 s).
    pub timeout: Duration,
    /// Healthy checks in a row after which a server is used again (default 1).
    pub healthy_after: u32,
    /// Failed checks in a row after which a server is used no more (default 2).
    pub unhealthy_after: u32,
}
