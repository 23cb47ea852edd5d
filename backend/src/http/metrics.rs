//! `/metrics`: what the program counts, as Prometheus reads it (text format 0.0.4).
//!
//! It stands beside the API, where only the inner network reaches it: a request that came through
//! a proxy, which says so in `Forwarded` or `X-Forwarded-For`, gets 404.
//!
//! # Bounds
//! A series exists per route of the router and per method that HTTP defines, so that no client can
//! make up more of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, FORWARDED};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse;

use super::App;
use super::problem::Problem;
use crate::store::Depth;

/// Upper bounds of the buckets of a duration, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How requests went, by method and route.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<Series, Counts>>);

type Series = (&'static str, String);

#[derive(Debug, Default)]
struct Counts {
    by_status: BTreeMap<Option<u16>, u64>,
    buckets: [u64; BOUNDS.len()],
    seconds: f64,
}

impl Requests {
    /// Counts one that took `duration`; `status` is nothing when the client left before.
    pub(super) fn count(
        &self,
        method: &Method,
        route: Option<&str>,
        status: Option<StatusCode>,
        duration: Duration,
    ) {
        let series = (known(method), route.unwrap_or("none").to_owned());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all.entry(series).or_default();
        *counts.by_status.entry(status.map(|status| status.as_u16())).or_default() += 1;
        let seconds = duration.as_secs_f64();
        counts.seconds += seconds;
        for (bucket, bound) in counts.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    fn write(&self, out: &mut Text) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.head("nomation_requests_total", "counter", "Requests, by route and status.");
        for ((method, route), counts) in all.iter() {
            for (status, count) in &counts.by_status {
                let status = status.map_or_else(|| "abandoned".to_owned(), |s| s.to_string());
                let labels = format!("method={method:?},route={route:?},status={status:?}");
                out.labelled("nomation_requests_total", &labels, count);
            }
        }
        let name = "nomation_request_duration_seconds";
        out.head(name, "histogram", "Time from a request's head to its answer.");
        for ((method, route), counts) in all.iter() {
            let labels = format!("method={method:?},route={route:?}");
            let total: u64 = counts.by_status.values().sum();
            for (bound, count) in BOUNDS.iter().zip(counts.buckets) {
                out.labelled(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
            }
            out.labelled(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), total);
            out.labelled(&format!("{name}_sum"), &labels, counts.seconds);
            out.labelled(&format!("{name}_count"), &labels, total);
        }
    }
}

/// A method as a label.
fn known(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// Lines in Prometheus's format.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn labelled(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    /// A metric with one label, or none where its value is empty.
    fn family<V: std::fmt::Display>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: &[(&str, V)],
    ) {
        self.head(name, kind, help);
        for (of, value) in values {
            if of.is_empty() {
                let _ = writeln!(self.0, "{name} {value}");
            } else {
                self.labelled(name, &format!("{label}={of:?}"), value);
            }
        }
    }
}

/// Shows all of it, to whoever asks without a proxy in between.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    if headers.contains_key(FORWARDED) || headers.contains_key("x-forwarded-for") {
        return Err(Problem::not_found());
    }
    let mut out = Text::default();
    app.requests.write(&mut out);
    write_pool(&app, &mut out);
    write_hashing(&app, &mut out);
    write_jobs(&app, &mut out).await;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], out.0))
}

fn write_pool(app: &App, out: &mut Text) {
    let pool = app.store.pool_use();
    let states = [("idle", pool.idle), ("used", pool.open.saturating_sub(pool.idle))];
    let help = "Connections to the database.";
    out.family(("nomation_database_connections", "gauge", help), "state", &states);
    let help = "Connections that there may be.";
    out.family(("nomation_database_connections_max", "gauge", help), "", &[("", pool.most)]);
}

fn write_hashing(app: &App, out: &mut Text) {
    let load = app.hasher.load();
    let help = "Passwords being hashed, and waiting for their turn.";
    let states = [("hashing", load.hashing), ("waiting", load.waiting)];
    out.family(("nomation_passwords", "gauge", help), "state", &states);
    let help = "Logins and registrations turned away because the line was full.";
    out.family(("nomation_passwords_refused_total", "counter", help), "", &[("", load.refused)]);
}

async fn write_jobs(app: &App, out: &mut Text) {
    let help = "Jobs that the worker inside this process performed, by how they ended.";
    let ended = app.tally.ended();
    out.family(("nomation_jobs_total", "counter", help), "outcome", &ended);
    let help = "Jobs that the worker inside this process has in hand.";
    out.family(("nomation_jobs_in_hand", "gauge", help), "", &[("", app.tally.in_hand())]);
    let depth = app.store.depth().await;
    let help = "Whether the database answers.";
    out.family(("nomation_database_up", "gauge", help), "", &[("", u8::from(depth.is_ok()))]);
    if let Ok(Depth { queued, running }) = depth {
        let help = "Jobs in the queue; 10000 stands for that many and more.";
        let states = [("queued", queued), ("running", running)];
        out.family(("nomation_queue_jobs", "gauge", help), "state", &states);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_in_every_bucket_that_it_fits() {
        let requests = Requests::default();
        let ms = Duration::from_millis;
        requests.count(&Method::GET, Some("/a"), Some(StatusCode::OK), ms(2));
        requests.count(&Method::GET, Some("/a"), None, ms(20_000));
        let mut out = Text::default();
        requests.write(&mut out);
        let of = "method=\"GET\",route=\"/a\"";
        for line in [
            format!("nomation_requests_total{{{of},status=\"200\"}} 1"),
            format!("nomation_requests_total{{{of},status=\"abandoned\"}} 1"),
            format!("nomation_request_duration_seconds_bucket{{{of},le=\"0.001\"}} 0"),
            format!("nomation_request_duration_seconds_bucket{{{of},le=\"0.0025\"}} 1"),
            format!("nomation_request_duration_seconds_bucket{{{of},le=\"+Inf\"}} 2"),
            format!("nomation_request_duration_seconds_sum{{{of}}} 20.002"),
        ] {
            assert!(out.0.contains(&format!("\n{line}\n")), "{line} in {}", out.0);
        }
    }

    #[test]
    fn a_made_up_method_makes_no_series() {
        assert_eq!(known(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(known(&Method::PATCH), "PATCH");
    }
}
