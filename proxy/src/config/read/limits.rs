//! `[limits]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::model::{Limits, RouteLimits};
use crate::config::section::Section;

/// Timeouts are at least a millisecond, and at most a month: timers overflow where nobody waits any
/// more.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);

/// Counts of things held in memory.
pub(super) const COUNT: RangeInclusive<u64> = 1..=10_000_000;

/// Sizes of bodies: up to a pebibyte.
const BODY: RangeInclusive<u64> = 0..=1 << 50;

/// Reads the section; what it does not say is the contract's default.
pub(super) fn read(mut section: Section<'_>) -> Limits {
    let connections = section.integer("connections", COUNT);
    let per_client = section.integer("connections_per_client", COUNT);
    let most = connections.as_ref().map_or(20_000, |at| at.value);
    if let Some(per_client) = &per_client
        && per_client.value > most
    {
        let message = format!("one client may open {} of {most} connections", per_client.value);
        let remedy = "write at most the number of `connections`";
        section.error(&per_client.place, message, remedy);
    }
    let timeout = |section: &mut Section<'_>, key, default| {
        section.duration(key, TIMEOUT).unwrap_or_else(|| Duration::from_secs(default))
    };
    let limits = Limits {
        connections: count(most),
        connections_per_client: count(per_client.map_or_else(|| most.min(256), |at| at.value)),
        handshake_timeout: timeout(&mut section, "handshake_timeout", 10),
        header_timeout: timeout(&mut section, "header_timeout", 10),
        idle_timeout: timeout(&mut section, "idle_timeout", 75),
        header_bytes: count(section.size("header_bytes", 8 << 10..=1 << 20).unwrap_or(32 << 10)),
        header_count: section.integer("header_count", 1..=1_000).map_or(100, |at| count(at.value)),
        response_write_timeout: timeout(&mut section, "response_write_timeout", 60),
        response_min_rate: section.size("response_min_rate", BODY).unwrap_or(500),
        http2_streams: number(&mut section, "http2_streams", 1..=1_000, 100),
        http2_resets: number(&mut section, "http2_resets", COUNT, 500),
        http2_control_frames: number(&mut section, "http2_control_frames", COUNT, 10_000),
        route: common(&mut section, &DEFAULTS),
    };
    section.finish();
    limits
}

/// What sites and routes begin with.
const DEFAULTS: RouteLimits = RouteLimits {
    body_bytes: 10 << 20,
    body_min_rate: 500,
    websocket_idle_timeout: Duration::from_secs(3_600),
    answer_timeout: None,
};

/// Reads the bounds that a site or a route may have of its own; the rest is as `outer` says.
pub(super) fn of_route(section: &mut Section<'_>, outer: &RouteLimits) -> RouteLimits {
    let answer_timeout = section.duration("answer_timeout", TIMEOUT).or(outer.answer_timeout);
    RouteLimits { answer_timeout, ..common(section, outer) }
}

/// Those of them that `[limits]` has, too.
fn common(section: &mut Section<'_>, outer: &RouteLimits) -> RouteLimits {
    let idle = section.duration("websocket_idle_timeout", TIMEOUT);
    RouteLimits {
        body_bytes: section.size("body_bytes", BODY).unwrap_or(outer.body_bytes),
        body_min_rate: section.size("body_min_rate", BODY).unwrap_or(outer.body_min_rate),
        websocket_idle_timeout: idle.unwrap_or(outer.websocket_idle_timeout),
        answer_timeout: outer.answer_timeout,
    }
}

fn number(
    section: &mut Section<'_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    default: u32,
) -> u32 {
    section.integer(key, range).map_or(default, |at| u32::try_from(at.value).unwrap_or(u32::MAX))
}

/// A number that its range keeps below any `usize`.
pub(super) fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
