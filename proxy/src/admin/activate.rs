//! `POST /api/upstreams/{name}/activate?group=GROUP`: new requests to an upstream go to another of
//! its groups (blue/green), at once and on every worker; those in flight end where they began.
//!
//! Every server of the group is asked first, now: by the upstream's health check, or by whether it
//! accepts a connection. Unless the query says `force=true`, one that fails is a refusal.

use std::io;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::api::{Answer, document};
use super::{Control, checks};
use crate::config::{self, Groups, Server};
use crate::snapshot::Plan;
use crate::upstream::{Standing, Stream, keep};

/// The upstream of such a path.
pub(super) fn upstream(path: &str) -> Option<String> {
    let name = path.strip_prefix("/api/upstreams/")?.strip_suffix("/activate")?;
    percent_decode_str(name).decode_utf8().ok().map(String::from)
}

/// Why nothing is activated.
struct Refused(StatusCode, String, Value);

pub(super) async fn answer(control: &Control, name: &str, query: &str) -> Answer {
    match activate(control, name, query).await {
        Ok(activated) => document(StatusCode::OK, &activated),
        Err(Refused(status, message, failed)) => {
            document(status, &json!({ "ok": false, "message": message, "failed": failed }))
        }
    }
}

async fn activate(control: &Control, name: &str, query: &str) -> Result<Value, Refused> {
    let value = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = { pairs }.find(|(name, _)| *name == key).map(|(_, value)| value);
        value.and_then(|value| percent_decode_str(value).decode_utf8().ok())
    };
    let missing = || {
        let message = "say which: activate?group=GROUP".to_owned();
        Refused(StatusCode::BAD_REQUEST, message, Value::Null)
    };
    let group = value("group").ok_or_else(missing)?;
    if value("force").as_deref() != Some("true") {
        let plan = control.plan();
        let (upstream, standing, groups, place) = find(&plan, name, &group)?;
        let range = groups.groups.get(place).map(|group| group.servers.clone());
        let servers = range.and_then(|range| upstream.servers.get(range)).unwrap_or_default();
        probe(upstream, standing, servers).await?;
    }
    // There may have been a reload meanwhile.
    let plan = control.plan();
    let (_, standing, groups, place) = find(&plan, name, &group)?;
    let before = groups.name(standing.active.get());
    standing.active.set(place);
    tracing::info!(upstream = name, %group, before, "activated");
    let kept = keep::keep(&plan);
    if let Err(error) = &kept {
        tracing::error!(%error, "a restart will undo this activation");
    }
    let (ok, kept) = (true, kept.is_ok());
    Ok(json!({ "ok": ok, "upstream": name, "active": group, "before": before, "kept": kept }))
}

/// An upstream of this name with a group of that name.
fn find<'p>(
    plan: &'p Plan,
    name: &str,
    group: &str,
) -> Result<(&'p config::Upstream, &'p Standing, &'p Groups, usize), Refused> {
    let missing = |what: String, there: Vec<&str>| {
        let message = match there.is_empty() {
            true => what,
            false => format!("{what}; there is {}", there.join(", ")),
        };
        Refused(StatusCode::NOT_FOUND, message, Value::Null)
    };
    let groups = |upstream: &'p config::Upstream| upstream.groups.as_ref();
    let grouped = || plan.upstreams().filter_map(|(u, standing)| Some((u, standing, groups(u)?)));
    let Some((upstream, standing, groups)) = { grouped() }.find(|(u, ..)| u.name == name) else {
        let names = grouped().map(|(upstream, ..)| upstream.name.as_str()).collect();
        return Err(missing(format!("no upstream `{name}` has groups"), names));
    };
    let names = || groups.groups.iter().map(|group| group.name.as_str()).collect();
    let what = || format!("upstream `{name}` has no group `{group}`");
    let place = groups.place(group).ok_or_else(|| missing(what(), names()))?;
    Ok((upstream, standing, groups, place))
}

/// Asks all servers of a group at once how they are.
async fn probe(
    upstream: &config::Upstream,
    standing: &Standing,
    servers: &[Server],
) -> Result<(), Refused> {
    let mut asked = JoinSet::new();
    for server in servers {
        let (server, patience) = (server.clone(), upstream.connect_timeout);
        let (tls, check) = (standing.tls.clone(), upstream.health.clone());
        asked.spawn_local(async move {
            let answer = match check {
                Some(check) => checks::ask(&server, tls.as_ref(), &check).await,
                None => {
                    let connect = Stream::connect(&server, tls.as_ref());
                    let connected = timeout(patience, connect).await;
                    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop)
                }
            };
            answer.map_err(|error| (server.to_string(), error.to_string()))
        });
    }
    let answers = asked.join_all().await.into_iter();
    let failed: serde_json::Map<_, _> =
        answers.filter_map(Result::err).map(|(server, error)| (server, json!(error))).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let servers: Vec<_> =
        failed.iter().map(|(server, error)| format!("{server}: {error}")).collect();
    let message = format!("not healthy, and so not activated: {}", servers.join("; "));
    Err(Refused(StatusCode::CONFLICT, message, failed.into()))
}
