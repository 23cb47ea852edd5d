//! The parts that a test is told with: an upstream, a Gatehouse in front of it, a client that
//! trusts nothing.
//!
//! Everything is real: sockets on free ports, TLS, the configuration read from text. The client
//! checks the invariants of `proxy/src/lib.rs` on every response it reads, and
//! [`TestProxy::finish`] checks that each left exactly one record.

pub(crate) mod ask;
mod balancer;
pub(crate) mod certificate;
mod browser;
pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod http2;
mod front;
mod named;
mod node;
mod page;
mod pebble;
mod proxy;
mod raw;
mod redis;
mod relay;
mod upstream;

use std::time::Duration;

pub(crate) use ask::Ask;
pub(crate) use balancer::Balancer;
pub(crate) use browser::Browser;
pub(crate) use client::TestClient;
pub(crate) use front::{Asked, Fate, Front};
pub(crate) use named::{Named, SECRET};
pub(crate) use node::node;
pub(crate) use pebble::Pebble;
pub(crate) use proxy::TestProxy;
pub(crate) use raw::Raw;
pub(crate) use redis::{Redis, free};
pub(crate) use relay::Relay;
pub(crate) use upstream::TestUpstream;

/// What helmet 8 sets, and so what every response over TLS carries under the default policy.
pub(crate) const HELMET: [(&str, &str); 12] = [
    (
        "content-security-policy",
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
         frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
         script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// Waits for something that another task does.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
}
