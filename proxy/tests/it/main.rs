//! Gatehouse as its users meet it: real sockets, real TLS, one test file per concern.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]

mod acme;
mod admin;
mod adversity;
mod application;
mod audit;
mod blue_green;
mod ca;
mod cli;
mod client_certificates;
mod clients;
mod cluster;
mod compression;
mod csp_browser;
mod dns;
mod error_pages;
mod explain;
mod fields;
mod files;
mod forwarding;
mod framing;
mod full;
mod grpc;
mod harness;
mod header_table;
mod headers;
mod helmet;
mod hosts;
mod http2_floods;
mod http2_framing;
mod http2_streams;
mod init;
mod interim;
mod key_types;
mod limits;
mod lingering;
mod nonces;
mod observatory;
mod on_demand;
mod paths;
mod process;
mod queue;
mod rate_limit_admin;
mod rate_limits;
mod records;
mod reload;
mod reports;
mod resilience;
mod semantics;
mod servers;
mod shared_certificates;
mod shared_limits;
mod simulate;
mod sticky;
mod supervisor;
mod takeover;
mod testssl;
mod store_failures;
mod timeouts;
mod tls;
mod trailers;
mod upgrades;
mod upstream;
mod websockets;
