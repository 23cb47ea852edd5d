//! Gatehouse: a reverse proxy that terminates TLS, sets the security headers and holds the rate
//! limits of one application.
//!
//! # Map
//!
//! Modules in the order in which a request meets them:
//!
//! - [`listener`]: sockets, one per address and worker
//! - [`worker`]: one thread with its own runtime, and what a request touches there
//! - [`snapshot`]: what the configuration comes to, until the next reload
//! - [`socket`]: bytes in and out
//! - [`tls`]: the handshake, certificates, the development CA
//! - [`connection`]: HTTP/1.1 or HTTP/2, time bounds
//! - [`pipeline`]: **the way of a request, on one screen; start here**
//! - [`client`]: who asks
//! - [`site`]: which site and route
//! - [`redirect`]: plain HTTP to https
//! - [`policy`]: rate limits, and the compiled security headers
//! - [`body`]: request bodies, bounded
//! - [`http2`]: streams of HTTP/2, of both sides
//! - [`trailers`]: what may come behind a body
//! - [`upstream`]: the application
//! - [`tunnel`]: WebSocket, once the application has agreed
//! - [`nonce`]: pages whose scripts are told from injected ones
//! - [`compression`]: responses made smaller
//! - [`negotiation`]: what the client would rather have
//! - [`rejection`]: from a cause to an answer
//! - [`error_page`]: a site's own pages for those
//! - [`response`]: the headers that every response carries
//! - [`record`]: the access log
//! - [`reports`]: what browsers report of a Content-Security-Policy
//!
//! Off the path: [`acme`] (certificates), [`config`], [`server`] (start and stop), [`supervisor`]
//! (systemd), [`reload`], [`admin`] (the control thread), [`application`] (the process behind it,
//! if Gatehouse starts it), [`audit`] (a site seen from outside), [`explain`] and [`simulate`]
//! (what the rules would do), [`store`] (what instances share), [`deadline`] (time bounds without
//! timers), [`ramp`] (HSTS step by step), [`vault`] (what is kept of certificates), [`telemetry`],
//! [`cli`].
//!
//! # Invariants
//!
//! 1. Every response that Gatehouse sends carries the site's security headers and leaves exactly
//!    one record. By construction, see [`response`]; the integration tests' client checks it on
//!    every response it reads. The exception is what hyper refuses before there is a request: bytes
//!    that are not HTTP, and a head that is over `header_bytes` by more than half or, over
//!    HTTP/1.1, of more than 100 fields. Interim responses (1xx) announce one, and are not counted.
//! 2. HSTS never goes out over plain HTTP (`plain_http_is_redirected_without_hsts`).
//! 3. What a client says of itself dies unless the peer is a trusted proxy
//!    (`a_client_that_forges_its_address_stays_one_client`).
//! 4. Everything has a limit: see [`config::Limits`] and the tests in `tests/it/limits.rs`.
//! 5. No lock or map guard is held across an `.await` (a lint).
//! 6. A failure of anything optional is logged once, counted always, and never becomes a 500 by
//!    accident.
//! 7. Certificates and keys are written atomically with mode 0600 in a directory of mode 0700, and
//!    never logged.
//! 8. Secrets never appear in a log, an error or `Debug`.

mod listener;
mod worker;
mod snapshot;
mod socket;
mod tls;
mod connection;
mod pipeline;
pub mod client;
pub mod site;
mod redirect;
pub mod policy;
mod body;
mod http2;
mod trailers;
mod upstream;
mod tunnel;
pub mod nonce;
pub mod compression;
mod negotiation;
mod rejection;
mod error_page;
mod response;
mod record;
mod reports;

mod acme;
mod admin;
pub mod application;
mod audit;
pub mod cli;
mod clock;
pub mod config;
mod deadline;
pub mod explain;
mod ramp;
pub mod reload;
pub mod server;
mod simulate;
pub mod store;
mod supervisor;
mod telemetry;
mod vault;
