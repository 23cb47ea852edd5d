//! `GET /api/rate-limits`, `DELETE /api/rate-limits` and `GET /api/rejections`.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Control;
use super::api::{Answer, document};
use crate::config::{Bound, KeyPart, Mode, Rule};

/// Every rule: what it says, what became of the requests that it counted, and its busiest keys.
pub(super) async fn list(control: &Control) -> Answer {
    let plan = control.plan();
    let rules = &plan.config.rules;
    let names = rules.iter().map(|rule| rule.name.as_str());
    let overview = control.shared.limiter.overview(names, control.now()).await;
    let mut counted = json!(overview);
    let described = rules.iter().map(|rule| {
        let mut described = describe(rule);
        if let (Value::Object(described), Some(counts)) =
            (&mut described, counted.pointer_mut(&format!("/rules/{}", pointer(&rule.name))))
            && let Value::Object(counts) = counts.take()
        {
            described.extend(counts);
        }
        described
    });
    let described: Vec<_> = described.collect();
    if let Value::Object(counted) = &mut counted {
        counted.insert("rules".to_owned(), described.into());
    }
    document(StatusCode::OK, &counted)
}

/// A name as a part of a JSON pointer (RFC 6901, 3).
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What a rule says.
fn describe(rule: &Rule) -> Value {
    let mode = match rule.mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    };
    let key: Vec<String> = rule.key.iter().map(KeyPart::to_string).collect();
    match &rule.bound {
        Bound::Window { limit, window, .. } => json!({
            "name": rule.name, "mode": mode, "key_of": key,
            "limit": limit, "window_seconds": window.as_secs_f64(),
        }),
        Bound::InFlight(most) => {
            json!({ "name": rule.name, "mode": mode, "key_of": key, "in_flight": most })
        }
    }
}

/// Forgets the keys of `?rule=`, or the one that is `&key=`: its hash, or as much of it as is
/// shown.
pub(super) async fn reset(control: &Control, query: Option<&str>) -> Answer {
    let (rule, key) = (value(query, "rule"), value(query, "key"));
    let (status, outcome) = match rule {
        None => (StatusCode::BAD_REQUEST, refusal("name the rule: ?rule=NAME")),
        Some(rule) if !control.plan().config.rules.iter().any(|known| known.name == rule) => {
            (StatusCode::NOT_FOUND, refusal("no rule has this name"))
        }
        Some(rule) => match control.shared.limiter.reset(&rule, key.as_deref()).await {
            0 => (StatusCode::NOT_FOUND, refusal("the rule has no such live key")),
            removed => {
                tracing::info!(rule, removed, "rate-limit keys reset");
                // By what keys the store has them, only a request can tell.
                let note = "counts in the shared store stay until their window has passed";
                let note = control.plan().config.store.redis.is_some().then_some(note);
                (StatusCode::OK, json!({ "ok": true, "reset": removed, "note": note }))
            }
        },
    };
    document(status, &outcome)
}

/// Why the request with `?id=` was rejected.
pub(super) fn rejection(control: &Control, query: Option<&str>) -> Answer {
    let id = value(query, "id").unwrap_or_default().to_ascii_lowercase();
    let id = id.trim_start_matches("urn:uuid:");
    let (status, outcome) = match control.shared.limiter.recent.find(id) {
        Some(story) => (StatusCode::OK, json!(story)),
        None => {
            let message = "no rate limit of this instance rejected such a request lately; only the \
                           last rejections are kept";
            (StatusCode::NOT_FOUND, refusal(message))
        }
    };
    document(status, &outcome)
}

fn refusal(message: &str) -> Value {
    json!({ "ok": false, "message": message })
}

/// A value of the query.
fn value(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
