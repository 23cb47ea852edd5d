//! Nomation: the application behind Gatehouse, a plain internal HTTP API over the indexed database.
//!
//! # Map
//! In the order in which a start, and then a request, passes:
//!
//! - [`cli`] decides which command runs, and the exit code
//! - [`config`] reads the environment, and tells all its faults at once
//! - [`telemetry`] writes the logs
//! - [`server`] turns a configuration into a listening server, and ends it gracefully; systemd is
//!   told of it by [`supervisor`]
//! - [`http`] has routes, extractors, problem documents, the access record
//! - [`store`] keeps all of it in SQLite or PostgreSQL, one text per statement, and the
//!   schema's migrations
//! - [`queue`] tells workers of jobs over Redis, where there is one
//! - [`worker`] takes jobs from the queue, and [`browser`] performs the steps of a test in a real
//!   Chromium
//! - [`seed`] fills a database of any size, to look at or to measure
//! - [`domain`] says what a user, a resource, a password and a token are, and the rules they keep
//!
//! Calls go one way: `http` to `store` to `domain`. Nothing in `domain` knows a request, nothing in
//! `store` a status.
//!
//! # Invariants
//! 1. Every error is `application/problem+json`, whoever made it ([`http::problem::ensure`]); but
//!    what hyper refuses before there is a request has no body.
//! 2. A user reaches only what they own: every statement on a project names its owner ([`store`]).
//! 3. A login costs the same for a known and an unknown address
//!    ([`domain::password::Hasher::verify`]).
//! 4. No bytes of a client end in a 500, and no cause of a failure in an answer.
//! 5. Secrets never appear in a log, an error or `Debug` ([`config::Secret`]).
//! 6. An accepted job is not lost, whatever is killed: the row that was committed with its
//!    execution is the queue, and Redis only tells of it ([`queue`]).
//! 7. No statement reads a growing table from end to end ([`store::registry`]).
//!
//! # What runs beside the requests
//! The worker, unless `WORKER=apart` ([`worker`]), and the sweep, which forgets expired sessions,
//! idempotency keys and jobs every ten minutes ([`server`]). Every wait has a bound: for a
//! connection and for a statement ([`store::PoolLimits`]), for a request
//! ([`http`]), for a turn to hash a password ([`domain::password`]). `/metrics` shows how full each
//! of them is ([`http::metrics`]).

pub mod browser;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod queue;
pub mod seed;
pub mod server;
pub mod store;
mod supervisor;
pub mod telemetry;
pub mod worker;
