//! `gatehouse simulate`: what the rules would have done with the requests of a log.
//!
//! Each line becomes the [`Facts`] that a live request would have been, and is decided by the very
//! limiter, with the log's own clock. Beside it, every key's rate is watched without any limit,
//! which tells how far the limit is from what clients do.
//!
//! # Why
//!
//! Logs are written when a response ends, so they are not quite in the order of arrival: the last
//! few thousand lines are held and put in order. What a log does not hold cannot be decided by:
//! header fields (but two in the combined format) and requests in flight. A rule that needs them
//! carries a note.

mod input;
mod line;
mod page;
mod peak;
mod report;
mod tables;
mod timeline;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use smallvec::SmallVec;

use self::input::Input;
use self::line::Entry;
pub(crate) use self::page::html;
pub(crate) use self::report::Report;
use self::tables::{Seen, Tables};
use crate::client;
use crate::config::Config;
use crate::policy::rate_limit::{Facts, Limiter, Rules};
use crate::site::{self, Sites};

/// Lines that are held to be put in order.
const HELD: usize = 8_192;

/// How far a simulation is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) lines: u64,
    /// Of the files as they lie on the disk.
    pub(crate) bytes: u64,
    /// `None` if it cannot be known.
    pub(crate) total: Option<u64>,
}

/// Reads all logs, and says from time to time how far it is.
pub(crate) fn simulate(
    config: &Config,
    logs: &[PathBuf],
    mut tell: impl FnMut(Progress),
) -> io::Result<Report> {
    let (paths, total) = (input::in_order(logs)?, input::total(logs));
    let bytes = Arc::new(AtomicU64::new(0));
    let mut simulation = Simulation::new(config);
    let mut text = Vec::new();
    for path in &paths {
        let mut input = Input::open(path, &bytes).map_err(|error| input::of(path, &error))?;
        loop {
            match input.next(&mut text) {
                Ok(true) => simulation.line(&text),
                Ok(false) => break,
                // A packed file may be cut short: what was read of it counts.
                Err(error) => {
                    simulation.tables.damaged.push(input::of(path, &error).to_string());
                    break;
                }
            }
            let lines = simulation.tables.lines;
            if lines.is_multiple_of(4_096) {
                tell(Progress { lines, bytes: bytes.load(Ordering::Relaxed), total });
            }
        }
    }
    Ok(simulation.finish())
}

/// Rules, and all that they have seen.
struct Simulation<'a> {
    config: &'a Config,
    sites: Sites,
    /// Of the first site.
    first_host: Option<String>,
    rules: Rules,
    limiter: Limiter,
    /// In the order of time, those of one moment in the order of lines.
    held: VecDeque<Box<Entry>>,
    /// When the first request came, and the latest that was decided.
    clock: Option<(u64, u64)>,
    tables: Tables,
}

impl<'a> Simulation<'a> {
    fn new(config: &'a Config) -> Self {
        // Nobody who could choose keys hears of the outcome: a fixed secret makes it repeatable.
        let limiter = Limiter::new(config.rate_limits.memory, [0; 16]);
        Self {
            sites: Sites::new(config, None),
            first_host: config.sites.first().and_then(|site| site.hosts.first().cloned()),
            rules: Rules::new(config, &limiter, None),
            limiter,
            held: VecDeque::with_capacity(HELD + 1),
            clock: None,
            tables: Tables::new(config),
            config,
        }
    }

    fn line(&mut self, text: &[u8]) {
        self.tables.lines += 1;
        let Some(entry) = line::parse(text) else {
            if !text.trim_ascii().is_empty() {
                self.tables.unreadable(text);
            }
            return;
        };
        // Nearly always the last; a place among so few is found and made at once.
        let place = match self.held.back() {
            Some(last) if last.time > entry.time => {
                self.held.partition_point(|held| held.time <= entry.time)
            }
            _ => self.held.len(),
        };
        self.held.insert(place, Box::new(entry));
        if self.held.len() > HELD
            && let Some(entry) = self.held.pop_front()
        {
            self.decide(&entry);
        }
    }

    fn finish(mut self) -> Report {
        while let Some(entry) = self.held.pop_front() {
            self.decide(&entry);
        }
        self.tables.report(&self.limiter)
    }

    /// Decides one request as [`crate::pipeline`] would.
    fn decide(&mut self, entry: &Entry) {
        let (first, last) = self.clock.unwrap_or((entry.time, entry.time));
        let time = entry.time.max(last); // a log that jumps back does not turn the clock back
        self.tables.out_of_order += u64::from(entry.time < time);
        self.clock = Some((first, time));
        if entry.undecided {
            self.tables.undecided += 1;
            return;
        }
        // A format without hosts is the log of one site.
        let named = entry.host.as_deref().or(self.first_host.as_deref()).unwrap_or_default();
        let found = self.sites.find(named.as_bytes(), None);
        let found = found.and_then(|(host, place)| Ok((host, self.sites.get(place)?)));
        let Ok((host, site)) = found else {
            self.tables.no_site += 1;
            return;
        };
        let Ok(path) = site::path::clean(&entry.path, site.ambiguous_paths) else {
            self.tables.undecided += 1;
            return;
        };
        let (ip, client) = client::identity(entry.client, self.config.clients.ipv6_prefix);
        let route = site.route(&path);
        let facts = Facts {
            ip,
            client,
            method: &entry.method,
            host: &host,
            path: &path,
            fields: &entry.fields,
            site: route.site,
            route: route.index,
        };
        let now = time - first;
        let asked: SmallVec<[_; 4]> = self.rules.asked(&facts).collect();
        let mut decision = self.limiter.decide(&self.rules, &facts, now);
        // An answer that Gatehouse gave itself at the time says nothing of the application's.
        let answered = entry.status.filter(|status| *status != 429);
        if let Some(status) = answered.and_then(|status| StatusCode::from_u16(status).ok()) {
            decision.lease.answered(status, None, now);
        }
        self.tables.request(time, !decision.admits());
        for asked in asked {
            let Some(rule) = self.rules.get(asked.rule) else { continue };
            let rejected = decision.rejected_by(asked.rule);
            let counts = rule.charges(entry.status);
            let label = || self.rules.label(rule, &facts);
            let seen = Seen { now, cost: asked.cost, rejected, counts };
            self.tables.key(asked.rule, asked.key, &seen, label);
        }
    }
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
