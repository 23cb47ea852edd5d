//! Gatehouse as its users meet it: real sockets, real TLS, one test file per concern.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod admin;
mod cli;
mod forwarding;
mod harness;
mod headers;
mod limits;
mod process;
mod rate_limits;
mod timeouts;
mod tls;
mod upstream;
