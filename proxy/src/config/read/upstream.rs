//! `[upstream.NAME]`, and the URLs that sites and routes give in the place of a name.

use std::ops::RangeInclusive;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::limits::{COUNT, TIMEOUT, count};
use super::server;
use crate::config::fault::Findings;
use crate::config::host;
use crate::config::model::{Balance, HealthCheck, Upstream, UpstreamId};
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::source::Place;
use crate::config::tree::Value;
use crate::config::values::At;

/// Every upstream so far, and whether somebody uses it.
pub(super) struct Upstreams(Vec<Known>);

struct Known {
    upstream: Upstream,
    /// Where its section begins; `None` for the URL of a site.
    section: Option<Place>,
    used: bool,
}

impl Upstreams {
    /// Reads all `[upstream.NAME]` sections.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let mut known = Vec::new();
        for (name, section) in root.named_sections("upstream") {
            let place = section.place.clone();
            let upstream = upstream(name, section);
            known.push(Known { upstream, section: Some(place), used: false });
        }
        Self(known)
    }

    /// The upstream that a site or a route means by `reference`: a name, or the URL of its only
    /// server.
    pub(super) fn resolve(
        &mut self,
        reference: &At<&str>,
        section: &Section<'_>,
    ) -> Option<UpstreamId> {
        let text = reference.value;
        if text.contains("://") || text.starts_with("unix:") {
            return self.resolve_url(reference, section);
        }
        let found = self
            .0
            .iter_mut()
            .enumerate()
            .find(|(_, known)| known.section.is_some() && known.upstream.name == text);
        if let Some((index, known)) = found {
            known.used = true;
            return Some(UpstreamId(index));
        }
        let named = self.0.iter().filter(|known| known.section.is_some());
        let names: Vec<&str> = named.map(|known| known.upstream.name.as_str()).collect();
        let remedy = match names.is_empty() {
            true => "write a URL (\"http://127.0.0.1:3000\"), or add [upstream.NAME]".to_owned(),
            false => suggestion(text, names),
        };
        let message = format!("unknown upstream `{}` in {}", quoted(text), section.title);
        section.error(&reference.place, message, remedy);
        None
    }

    fn resolve_url(&mut self, url: &At<&str>, section: &Section<'_>) -> Option<UpstreamId> {
        let server = match host::server(url.value) {
            Ok(server) => server,
            Err(remedy) => {
                let url_quoted = quoted(url.value);
                let message = format!("bad URL `{url_quoted}` for `upstream` in {}", section.title);
                section.error(&url.place, message, remedy);
                return None;
            }
        };
        // Two sites that name one URL share its connections and its bound.
        let same = |known: &Known| {
            known.section.is_none() && known.upstream.servers.as_slice() == [server.clone()]
        };
        if let Some(index) = self.0.iter().position(same) {
            return Some(UpstreamId(index));
        }
        let upstream = Upstream {
            name: url.value.to_owned(),
            servers: vec![server],
            groups: None,
            connect_timeout: CONNECT_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            max_in_flight: MAX_IN_FLIGHT,
            max_queued: MAX_QUEUED,
            queue_timeout: QUEUE_TIMEOUT,
            balance: Balance::LeastConnections,
            retries: RETRIES,
            slow_start: Duration::ZERO,
            sticky: None,
            health: None,
            ca: Vec::new(),
        };
        self.0.push(Known { upstream, section: None, used: true });
        Some(UpstreamId(self.0.len() - 1))
    }

    /// An upstream that no site names is probably misspelt somewhere.
    pub(super) fn warn_of_unused(&self, findings: &Findings) {
        for known in self.0.iter().filter(|known| !known.used) {
            if let Some(place) = &known.section {
                let message = format!("no site uses the upstream `{}`", known.upstream.name);
                findings.warning(place, message, "name it in a [[site]], or remove it");
            }
        }
    }

    pub(super) fn into_list(self) -> Vec<Upstream> {
        self.0.into_iter().map(|known| known.upstream).collect()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_IN_FLIGHT: usize = 1024;
const MAX_QUEUED: usize = 256;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);
const RETRIES: u32 = 1;

fn upstream(name: &str, mut section: Section<'_>) -> Upstream {
    let (servers, groups) = server::read(&mut section);
    let connect_timeout = section.duration("connect_timeout", TIMEOUT);
    let answer_timeout = section.duration("answer_timeout", TIMEOUT);
    let max_in_flight = section.integer("max_in_flight", COUNT);
    let max_queued = section.integer("max_queued", 0..=*COUNT.end());
    let queue_timeout = section.duration("queue_timeout", TIMEOUT);
    let balance = section.parsed("balance", "balance", |text| match text {
        "least_connections" => Ok(Balance::LeastConnections),
        "round_robin" => Ok(Balance::RoundRobin),
        other => Err(suggestion(other, ["least_connections", "round_robin"])),
    });
    let retries = section.integer("retries", 0..=10);
    let slow_start = section.duration("slow_start", SLOW_START).unwrap_or_default();
    let sticky = server::sticky(&mut section);
    let ca = section.parsed("ca", "file", certificates);
    let checks = section.node("health").is_some_and(|node| matches!(node.value, Value::Table(_)));
    let title = format!("`health` of {}", section.title);
    let health = Some(section.section("health", &title)).filter(|_| checks).map(health);
    section.finish();
    Upstream {
        name: name.to_owned(),
        servers,
        groups,
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        answer_timeout: answer_timeout.unwrap_or(ANSWER_TIMEOUT),
        max_in_flight: max_in_flight.map_or(MAX_IN_FLIGHT, |at| count(at.value)),
        max_queued: max_queued.map_or(MAX_QUEUED, |at| count(at.value)),
        queue_timeout: queue_timeout.unwrap_or(QUEUE_TIMEOUT),
        balance: balance.map_or(Balance::LeastConnections, |at| at.value),
        retries: retries.map_or(RETRIES, |at| small(at.value)),
        slow_start,
        sticky,
        health: health.flatten(),
        ca: ca.map_or_else(Vec::new, |at| at.value),
    }
}

/// The certificates of a PEM file; an empty path is no file.
pub(super) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if Vec::is_empty(&certificates) => {
            Err("there is no certificate in it; write a PEM file".to_owned())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

/// `None` if there is no path, which is a fault already noted.
fn health(mut section: Section<'_>) -> Option<HealthCheck> {
    section.require("path", "path = \"/health\"");
    let path = section.parsed("path", "path", |text| {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        match text.starts_with('/') && text.bytes().all(plain) {
            true => Ok(text.to_owned()),
            false => Err("write a path: \"/health\"".to_owned()),
        }
    });
    let interval = section.duration("interval", INTERVAL).unwrap_or(Duration::from_secs(5));
    let timeout = section.duration("timeout", TIMEOUT).unwrap_or(Duration::from_secs(2));
    let healthy_after = section.integer("healthy_after", 1..=100).map_or(1, |at| small(at.value));
    let unhealthy_after =
        section.integer("unhealthy_after", 1..=100).map_or(2, |at| small(at.value));
    section.finish();
    Some(HealthCheck { path: path?.value, interval, timeout, healthy_after, unhealthy_after })
}

/// From none to a day.
const SLOW_START: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// Checks are not to be a load of their own.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);

/// A number that its range keeps small.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
