//! What is counted, as Prometheus text and as JSON.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

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

/// The text format of Prometheus, version 0.0.4.
pub(super) fn prometheus(control: &Control) -> String {
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        _ = writeln!(out, "# HELP gatehouse_{name} {help}\n# TYPE gatehouse_{name} {kind}");
        for (labels, value) in samples {
            _ = writeln!(out, "gatehouse_{name}{labels} {value}");
        }
    };
    let plain = |value: u64| vec![(String::new(), value)];
    let limiter = &control.shared.limiter;
    metric(
        "connections_open",
        "gauge",
        "Open client connections.",
        &plain(sum(control, Counters::open)),
    );
    for (name, help, value) in [
        (
            "connections_total",
            "Accepted client connections.",
            sum(control, |c| c.connections.get()),
        ),
        (
            "connections_refused_total",
            "Connections over a limit.",
            sum(control, |c| c.connections_refused.get()),
        ),
        (
            "connections_broken_total",
            "Connections ended by an error.",
            sum(control, |c| c.connections_broken.get()),
        ),
        (
            "connections_timed_out_total",
            "Connections ended by a deadline.",
            sum(control, |c| c.connections_timed_out.get()),
        ),
        (
            "tls_handshakes_failed_total",
            "Failed TLS handshakes.",
            sum(control, |c| c.handshakes_failed.get()),
        ),
        (
            "request_body_bytes_total",
            "Bytes of request bodies.",
            sum(control, |c| c.bytes_in.get()),
        ),
        (
            "response_body_bytes_total",
            "Bytes of response bodies.",
            sum(control, |c| c.bytes_out.get()),
        ),
        (
            "records_dropped_total",
            "Records that the sink did not take.",
            control.dropped.load(Ordering::Relaxed),
        ),
        (
            "rate_limit_untracked_total",
            "Requests uncounted because the table was full.",
            limiter.untracked(),
        ),
        (
            "rate_limit_shadow_rejections_total",
            "Requests that a shadow rule would reject.",
            limiter.shadowed(),
        ),
    ] {
        metric(name, "counter", help, &plain(value));
    }
    metric("rate_limit_keys", "gauge", "Live rate-limit keys.", &plain(limiter.keys() as u64));
    let classes: Vec<_> = (1..=5)
        .map(|class| (format!("{{status=\"{class}xx\"}}"), responses(control, class)))
        .collect();
    metric("responses_total", "counter", "Responses by status class.", &classes);
    let reasons: Vec<_> =
        rejections(control).into_iter().map(|(r, n)| (format!("{{reason=\"{r}\"}}"), n)).collect();
    metric("rejections_total", "counter", "Rejected requests by reason.", &reasons);
    let expiries: Vec<_> = control
        .certificates
        .lives()
        .into_iter()
        .map(|(hosts, end)| {
            let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            (format!("{{hosts=\"{hosts}\"}}"), end)
        })
        .collect();
    metric(
        "certificate_not_after_seconds",
        "gauge",
        "When each certificate ends (Unix time).",
        &expiries,
    );
    out
}

/// `GET /api/status`.
pub(super) fn status(control: &Control) -> String {
    let shared = &control.shared;
    let classes: serde_json::Map<_, _> =
        (1..=5).map(|class| (format!("{class}xx"), json!(responses(control, class)))).collect();
    let document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "workers": shared.config.listen.workers,
        "sites": shared.config.sites.iter().map(|site| site.hosts.clone()).collect::<Vec<_>>(),
        "draining": *control.draining.borrow(),
        "connections": { "open": sum(control, Counters::open), "accepted": sum(control, |c| c.connections.get()) },
        "responses": classes,
        "rejections": rejections(control),
        "rate_limit": { "rules": shared.config.rules.len(), "keys": shared.limiter.keys() },
    });
    format!("{document:#}\n")
}
