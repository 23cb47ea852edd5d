//! Nomation over real sockets, on real SQLite files, a real PostgreSQL and a real Redis.
//!
//! A story takes a running [`TestServer`](harness::TestServer) and is told on both engines by
//! `on_both_engines!`. The client checks on every answer of every test what must hold for all of
//! them ([`client`]).
//!
//! `cargo xtask test` starts PostgreSQL and Redis and says where they are: `TEST_DATABASE_URL` is a
//! server on which each test makes, and drops, a database of its own; `TEST_REDIS_URL` is a server
//! that tests only ping.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test says no, in the harness as in the stories"
)]

#[macro_use]
mod harness;
mod client;
mod program;
mod relay;
mod servers;
mod tables;

mod accounts;
mod backups;
mod browser;
mod command_line;
mod executions;
mod explain;
mod fairness;
mod flood;
mod greedy_pages;
mod hostile_pages;
mod http_errors;
mod jobs;
mod kills;
mod lists;
mod migrations;
mod operations;
mod outages;
mod projects;
mod resources;
mod schema;
mod seed;
mod serving;
mod sessions;
mod through_proxy;
