//! What is counted, as Prometheus text and as JSON.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::Control;
use crate::telemetry::{Counter, Counters};

/// The sum of one counter over all workers.
fn sum(control: &Control, counter: impl Fn(&Counters) -> u64) -> u64 {
    control.counters.iter().map(|counters| counter(counters)).sum()
}

fn responses(control: &Control, class: usize) -> u64 {
    sum(control, |counters| counters.responses.get(class).map_or(0, Counter::get))
}

fn rejections(control: &Control) -> std::collections::BTreeMap<&'static str, u64> {
    let mut all = std::collections::BTreeMap::new();
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
    for (name, kind, help, samples) in totals(control).into_iter().chain(labelled(control)) {
        _ = writeln!(out, "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} {kind}");
        for (labels, value) in samples {
            _ = writeln!(out, "gatehouse_{name}{labels} {value}");
        }
    }
    out
}

/// Families of one sample each.
fn totals(control: &Control) -> Vec<Family> {
    let limiter = &control.shared.limiter;
    let of = |counter: fn(&Counters) -> &Counter| sum(control, |c| counter(c).get());
    let gauge = |name, help, value| (name, "gauge", help, vec![(String::new(), value)]);
    let total = |name, help, value| (name, "counter", help, vec![(String::new(), value)]);
    let dropped = control.dropped.load(Ordering::Relaxed);
    vec![
        gauge("connections_open", "Open client connections.", sum(control, Counters::open)),
        gauge("rate_limit_keys", "Live rate-limit keys.", limiter.keys() as u64),
        total("connections_total", "Accepted connections.", of(|c| &c.connections)),
        total(
            "connections_refused_total",
            "Connections over a limit.",
            of(|c| &c.connections_refused),
        ),
        total(
            "connections_unannounced_total",
            "Connections without the PROXY protocol header that they had to have.",
            of(|c| &c.connections_unannounced),
        ),
        total(
            "connections_broken_total",
            "Connections ended by an error.",
            of(|c| &c.connections_broken),
        ),
        total(
            "compression_refused_total",
            "Responses not compressed because too many were.",
            of(|c| &c.compression_refused),
        ),
        total(
            "connections_timed_out_total",
            "Connections ended by a deadline.",
            of(|c| &c.connections_timed_out),
        ),
        total(
            "http2_floods_total",
            "HTTP/2 connections ended for too many resets or control frames.",
            of(|c| &c.http2_floods),
        ),
        total(
            "http2_streams_timed_out_total",
            "HTTP/2 streams ended because the client did not take the response.",
            of(|c| &c.streams_timed_out),
        ),
        total("panics_total", "Connections and streams ended by a panic.", of(|c| &c.panics)),
        total(
            "tls_handshakes_failed_total",
            "Failed TLS handshakes.",
            of(|c| &c.handshakes_failed),
        ),
        total(
            "fields_dropped_total",
            "Request fields not passed on because of their names.",
            of(|c| &c.fields_dropped),
        ),
        total("request_body_bytes_total", "Bytes of request bodies.", of(|c| &c.bytes_in)),
        total("response_body_bytes_total", "Bytes of response bodies.", of(|c| &c.bytes_out)),
        total("records_dropped_total", "Records that the sink did not take.", dropped),
        total(
            "rate_limit_untracked_total",
            "Requests uncounted because the table was full.",
            limiter.untracked(),
        ),
        total(
            "rate_limit_shadow_rejections_total",
            "Requests that a shadow rule would reject.",
            limiter.shadowed(),
        ),
    ]
}

/// Families with a label.
fn labelled(control: &Control) -> [Family; 4] {
    let classes = (1..=5)
        .map(|class| (format!("{{status=\"{class}xx\"}}"), responses(control, class)))
        .collect();
    let reasons = rejections(control)
        .into_iter()
        .map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count))
        .collect();
    let plan = control.plan();
    let ends = control
        .issuance
        .overview(&plan.config)
        .iter()
        .filter_map(|of| Some((format!("{{name=\"{}\"}}", of.name), of.not_after()?)))
        .collect();
    let upstreams = plan.config.upstreams.iter().zip(&plan.health);
    let servers = upstreams.flat_map(|(upstream, health)| {
        upstream.servers.iter().zip(health).map(|(server, health)| {
            let name = &upstream.name;
            let labels = format!("{{upstream=\"{name}\",server=\"{server}\"}}");
            (labels, u64::from(health.is_up()))
        })
    });
    let servers = servers.collect();
    [
        ("upstream_server_up", "gauge", "Whether a server's health checks succeed.", servers),
        ("responses_total", "counter", "Responses by status class.", classes),
        ("rejections_total", "counter", "Rejected requests by reason.", reasons),
        ("certificate_not_after_seconds", "gauge", "When the certificate of a site ends.", ends),
    ]
}

/// `GET /api/status`.
pub(super) fn status(control: &Control) -> String {
    let (shared, plan) = (&control.shared, control.plan());
    let config = &plan.config;
    let classes: serde_json::Map<_, _> =
        (1..=5).map(|class| (format!("{class}xx"), json!(responses(control, class)))).collect();
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "generation": plan.generation,
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "workers": config.listen.workers,
        "sites": config.sites.iter().map(|site| site.hosts.clone()).collect::<Vec<_>>(),
        "draining": control.is_draining(),
        "connections": {
            "open": sum(control, Counters::open),
            "accepted": sum(control, |counters| counters.connections.get()),
        },
        "responses": classes,
        "rejections": rejections(control),
        "rate_limit": { "rules": config.rules.len(), "keys": shared.limiter.keys() },
    });
    format!("{document:#}\n")
}
