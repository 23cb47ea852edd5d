//! What is counted, as Prometheus text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Control;
use crate::config;
use crate::telemetry::{Counter, Counters};
use crate::upstream::Standing;
use crate::upstream::health::Health;

/// The sum of one counter over all workers.
fn sum(control: &Control, counter: impl Fn(&Counters) -> u64) -> u64 {
    control.counters.iter().map(|counters| counter(counters)).sum()
}

fn responses(control: &Control, class: usize) -> u64 {
    sum(control, |counters| counters.responses.get(class).map_or(0, Counter::get))
}

fn rejections(control: &Control) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (reason, count) in control.counters.iter().map(Arc::as_ref).flat_map(Counters::rejections) {
        *all.entry(reason).or_default() += count;
    }
    all
}

/// A family of samples: name, type, help, and the value of each set of labels.
type Family = (&'static str, &'static str, &'static str, Vec<(String, u64)>);

/// The text format of Prometheus, version 0.0.4.
pub(super) fn prometheus(control: &Control) -> String {
    let mut out = String::new();
    let families = totals(control).into_iter().chain(store(control)).chain(on_demand(control));
    let families = families.chain(labelled(control));
    for (name, kind, help, samples) in families {
        _ = writeln!(out, "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} {kind}");
        for (labels, value) in samples {
            _ = writeln!(out, "gatehouse_{name}{labels} {value}");
        }
    }
    out
}

/// A counter of each worker: name, help, and where it is.
type Counted = (&'static str, &'static str, fn(&Counters) -> &Counter);

/// What every worker counts for itself.
const COUNTED: [Counted; 16] = [
    ("connections_total", "Accepted connections.", |c| &c.connections),
    ("connections_refused_total", "Connections over a limit.", |c| &c.connections_refused),
    (
        "connections_unannounced_total",
        "Connections without the PROXY protocol header that they had to have.",
        |c| &c.connections_unannounced,
    ),
    ("connections_broken_total", "Connections ended by an error.", |c| &c.connections_broken),
    ("connections_timed_out_total", "Connections ended by a deadline.", |c| {
        &c.connections_timed_out
    }),
    (
        "requests_malformed_total",
        "Requests refused before they could be read: there is no record of them.",
        |c| &c.requests_malformed,
    ),
    (
        "http2_floods_total",
        "HTTP/2 connections ended for floods of resets, control frames, or small or broken ones.",
        |c| &c.http2_floods,
    ),
    ("http2_streams_refused_total", "HTTP/2 streams refused because too many were open.", |c| {
        &c.streams_refused
    }),
    (
        "http2_streams_timed_out_total",
        "HTTP/2 streams ended because the client did not take the response.",
        |c| &c.streams_timed_out,
    ),
    ("panics_total", "Connections and streams ended by a panic.", |c| &c.panics),
    ("tls_handshakes_failed_total", "Failed TLS handshakes.", |c| &c.handshakes_failed),
    ("fields_dropped_total", "Request fields not passed on because of their names.", |c| {
        &c.fields_dropped
    }),
    ("compression_refused_total", "Responses not compressed because too many were.", |c| {
        &c.compression_refused
    }),
    ("nonces_refused_total", "Pages left without a nonce.", |c| &c.nonces_refused),
    ("request_body_bytes_total", "Bytes of request bodies.", |c| &c.bytes_in),
    ("response_body_bytes_total", "Bytes of response bodies.", |c| &c.bytes_out),
];

/// Families of one sample each.
fn totals(control: &Control) -> Vec<Family> {
    let one = |name, kind, help, value| (name, kind, help, vec![(String::new(), value)]);
    let counted = COUNTED.iter().map(|(name, help, counter)| {
        one(*name, "counter", *help, sum(control, |counters| counter(counters).get()))
    });
    let open = sum(control, Counters::open);
    let limiter = &control.shared.limiter;
    let (keys, bytes) = (limiter.keys() as u64, limiter.bytes() as u64);
    let (evicted, untracked) = (limiter.evicted(), limiter.untracked());
    let shadowed = limiter.shadowed();
    let dropped = control.dropped.load(Ordering::Relaxed);
    let shared = [
        one("connections_open", "gauge", "Open client connections.", open),
        one("rate_limit_keys", "gauge", "Live rate-limit keys.", keys),
        one("rate_limit_key_bytes", "gauge", "Bytes that they take.", bytes),
        one(
            "rate_limit_evicted_total",
            "counter",
            "Rate-limit keys given up because the memory was used up.",
            evicted,
        ),
        one(
            "rate_limit_untracked_total",
            "counter",
            "Requests uncounted because the table was full.",
            untracked,
        ),
        one(
            "rate_limit_shadow_rejections_total",
            "counter",
            "Requests that a shadow rule would reject.",
            shadowed,
        ),
        one("records_dropped_total", "counter", "Records that the sink did not take.", dropped),
    ];
    counted.chain(shared).collect()
}

/// How the shared store is, where there is one.
fn store(control: &Control) -> Vec<Family> {
    let Some(standing) = &control.shared.standing else { return Vec::new() };
    let family = |name, kind, help, value| (name, kind, help, vec![(String::new(), value)]);
    let up = "Whether the shared store answers.";
    let instances = "Instances that were alive when the store last answered.";
    let certificates = "Whether the store answers that certificates are shared over.";
    let vault = control.issuance.vault.shared();
    let vault = vault.map(|shared| u64::from(shared.away().is_none()));
    let vault = vault.map(|up| family("certificate_store_up", "gauge", certificates, up));
    vault
        .into_iter()
        .chain([
            family("store_up", "gauge", up, u64::from(standing.is_up())),
            family("store_instances", "gauge", instances, standing.instances()),
            family("store_answers_total", "counter", "Decisions of the store.", standing.answers()),
            family(
                "store_failures_total",
                "counter",
                "Requests decided as `on_failure` says.",
                standing.silences(),
            ),
        ])
        .collect()
}

/// Hosts that no site lists, where they are served.
fn on_demand(control: &Control) -> Vec<Family> {
    let plan = control.plan();
    if plan.config.on_demand().is_none() {
        return Vec::new();
    }
    let overview = control.issuance.approvals.overview();
    let one = |value| vec![(String::new(), value)];
    let answers = overview.answers.into_iter();
    let answers = answers.map(|(kind, count)| (format!("{{answer=\"{kind}\"}}"), count));
    let turned_away = "Names that were not asked for, or not served, because there was no room.";
    vec![
        ("on_demand_hosts", "gauge", "Hosts approved on demand.", one(overview.hosts)),
        (
            "on_demand_answers_total",
            "counter",
            "What was answered when a host was asked for.",
            answers.collect(),
        ),
        ("on_demand_turned_away_total", "counter", turned_away, one(overview.turned_away)),
    ]
}

/// Families with a label.
fn labelled(control: &Control) -> [Family; 6] {
    let classes = (1..=5)
        .map(|class| (format!("{{status=\"{class}xx\"}}"), responses(control, class)))
        .collect();
    let reasons = rejections(control)
        .into_iter()
        .map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count))
        .collect();
    let failures = control.issuance.failures();
    let failures =
        failures.into_iter().map(|(name, count)| (format!("{{name=\"{name}\"}}"), count)).collect();
    let plan = control.plan();
    // Of several certificates of a name, the one that ends first.
    let mut ends = BTreeMap::new();
    for of in control.issuance.overview(&plan.config) {
        if let Some(end) = of.not_after() {
            let first = ends.entry(format!("{{name=\"{}\"}}", of.name)).or_insert(end);
            *first = end.min(*first);
        }
    }
    let ends = ends.into_iter().collect();
    let servers = |value: fn(&Health) -> u64| -> Vec<_> {
        let upstreams = plan.upstreams();
        let servers = upstreams.flat_map(|(upstream, standing)| {
            upstream.servers.iter().zip(&standing.health).map(|(server, health)| {
                let name = &upstream.name;
                (format!("{{upstream=\"{name}\",server=\"{server}\"}}"), value(health))
            })
        });
        servers.collect()
    };
    let up = servers(|health| u64::from(health.is_up()));
    let in_flight = servers(|health| health.requests() as u64);
    let help = "Requests in flight to a server.";
    [
        ("upstream_server_up", "gauge", "Whether a server's health checks succeed.", up),
        ("upstream_requests_in_flight", "gauge", help, in_flight),
        ("responses_total", "counter", "Responses by status class.", classes),
        ("rejections_total", "counter", "Rejected requests by reason.", reasons),
        ("certificate_not_after_seconds", "gauge", "When the certificate of a site ends.", ends),
        (
            "certificate_failures_total",
            "counter",
            "Attempts at a certificate that came to nothing.",
            failures,
        ),
    ]
}

/// The name of an upstream and its state.
fn upstream((configured, standing): (&config::Upstream, &Standing)) -> (String, Value) {
    let health = configured.servers.iter().zip(&standing.health);
    let servers: serde_json::Map<_, _> = health
        .map(|(server, health)| {
            let state = json!({ "up": health.is_up(), "in_flight": health.requests() });
            (server.to_string(), state)
        })
        .collect();
    let mut state = json!({ "servers": servers });
    if let (Some(groups), Some(state)) = (&configured.groups, state.as_object_mut()) {
        let names = |group: &config::Group| {
            let servers = configured.servers.get(group.servers.clone()).unwrap_or_default();
            let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            (group.name.clone(), json!(servers))
        };
        state.insert("active".to_owned(), json!(groups.name(standing.active.get())));
        let groups: serde_json::Map<_, _> = groups.groups.iter().map(names).collect();
        state.insert("groups".to_owned(), groups.into());
    }
    (configured.name.clone(), state)
}

/// `GET /api/status`.
pub(super) fn status(control: &Control) -> Value {
    let (shared, plan) = (&control.shared, control.plan());
    let config = &plan.config;
    let classes: serde_json::Map<_, _> =
        (1..=5).map(|class| (format!("{class}xx"), json!(responses(control, class)))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": plan.generation,
        "uptime_seconds": shared.clock.started().elapsed().as_secs(),
        "workers": config.listen.workers,
        "sites": config.sites.iter().map(|site| site.hosts.clone()).collect::<Vec<_>>(),
        "upstreams": plan.upstreams().map(upstream).collect::<serde_json::Map<_, _>>(),
        "draining": control.is_draining(),
        "connections": {
            "open": sum(control, Counters::open),
            "accepted": sum(control, |counters| counters.connections.get()),
        },
        "responses": classes,
        "rejections": rejections(control),
        "store": shared.standing.as_ref().map(|standing| json!({
            "up": standing.is_up(),
            "instances": standing.instances(),
        })),
        "rate_limit": { "rules": config.rules.len(), "keys": shared.limiter.keys() },
    })
}
