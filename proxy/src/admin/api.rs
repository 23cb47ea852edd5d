//! What the admin listener answers: one table of what there is, one match of what it does.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Command, Control, access, activate, dashboard, limits, metrics};
use crate::reload::Refused;
use crate::server::Phase;
use crate::worker::wall_clock;

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Every path, and the methods that it is asked with; whoever may GET may also HEAD. Upstreams are
/// activated with POST, see [`activate`].
const ENDPOINTS: [(&str, &[Method]); 12] = [
    ("/healthz", &[Method::GET]),
    ("/readyz", &[Method::GET]),
    ("/metrics", &[Method::GET]),
    ("/api/status", &[Method::GET]),
    ("/api/reload", &[Method::POST]),
    ("/api/drain", &[Method::POST]),
    ("/api/certificates", &[Method::GET]),
    ("/api/csp", &[Method::GET]),
    ("/api/certificates/renew", &[Method::POST]),
    ("/api/certificates/rollover", &[Method::POST]),
    ("/api/rate-limits", &[Method::GET, Method::DELETE]),
    ("/api/rejections", &[Method::GET]),
];

/// Answers one request. The empty page of the dashboard, `/healthz` and `/readyz`, which say
/// nothing about the configuration, are for everybody.
pub(super) async fn answer(control: &Control, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if let Some(part) = dashboard::part(path).filter(|_| request.method() == Method::GET) {
        return part;
    }
    if !matches!(path, "/healthz" | "/readyz")
        && let Err(refused) = access::check(&control.plan().config.admin, request.headers())
    {
        return text(refused.status(), format!("{refused}\n"));
    }
    let upstream = activate::upstream(path);
    let known = ENDPOINTS.iter().find(|(endpoint, _)| *endpoint == path);
    let known = known.map(|(_, methods)| *methods);
    let Some(methods) = known.or_else(|| upstream.as_ref().map(|_| &[Method::POST][..])) else {
        return text(StatusCode::NOT_FOUND, "no such page\n".to_owned());
    };
    let (method, query) = (request.method(), request.uri().query());
    let head_of_get = method == Method::HEAD && methods.contains(&Method::GET);
    if !methods.contains(method) && !head_of_get {
        return not_allowed(methods);
    }
    if let Some(upstream) = upstream {
        return activate::answer(control, &upstream, query.unwrap_or_default()).await;
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if control.is_draining() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
        "/readyz" => text(StatusCode::OK, "ready\n".to_owned()),
        "/metrics" => {
            whole(StatusCode::OK, "text/plain; version=0.0.4", metrics::prometheus(control))
        }
        "/api/status" => document(StatusCode::OK, &metrics::status(control)),
        "/api/csp" => document(StatusCode::OK, &json!(control.shared.reports.overview())),
        "/api/reload" => reload(control).await,
        "/api/drain" => drain(control),
        "/api/certificates" => {
            let certificates = control.issuance.overview(&control.plan().config);
            document(StatusCode::OK, &json!({ "certificates": certificates }))
        }
        "/api/certificates/rollover" => rollover(control).await,
        "/api/certificates/renew" => renew(control, query),
        "/api/rate-limits" if method == Method::DELETE => limits::reset(control, query).await,
        "/api/rate-limits" => limits::list(control).await,
        "/api/rejections" => limits::rejection(control, query),
        _ => text(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    }
}

/// 405 and the methods that are.
fn not_allowed(methods: &[Method]) -> Answer {
    let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
    let mut answer =
        text(StatusCode::METHOD_NOT_ALLOWED, format!("{} only\n", methods.join(" or ")));
    let allow = methods.join(", ").replace("GET", "GET, HEAD");
    if let Ok(allow) = HeaderValue::try_from(allow) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// 200 and what changed, or 422 and every fault.
async fn reload(control: &Control) -> Answer {
    let (reply, outcome) = oneshot::channel();
    _ = control.commands.send(Command::Reload(reply)).await;
    let refusal = |message: String, faults: Value, text: String| {
        let body = json!({ "ok": false, "message": message, "faults": faults, "text": text });
        document(StatusCode::UNPROCESSABLE_ENTITY, &body)
    };
    match outcome.await.unwrap_or(Err(Refused::Stopping)) {
        Ok(reloaded) => document(StatusCode::OK, &json!({ "ok": true, "reloaded": reloaded })),
        Err(Refused::Faults(faults)) => {
            let message = "the configuration has faults".to_owned();
            refusal(message, json!(faults), faults.render(false))
        }
        Err(other) => refusal(other.to_string(), json!([]), other.to_string()),
    }
}

/// 202: the drain has begun.
fn drain(control: &Control) -> Answer {
    control.phase.send_if_modified(|phase| {
        let serving = *phase == Phase::Serving;
        *phase = if serving { Phase::Draining } else { *phase };
        serving
    });
    document(StatusCode::ACCEPTED, &json!({ "draining": true }))
}

/// Of all certificates or of that of `?name=`: 202 and how many, or 404.
fn renew(control: &Control, query: Option<&str>) -> Answer {
    let name = query.and_then(|query| query.strip_prefix("name="));
    match (control.issuance.hurry(name, wall_clock()), name) {
        (0, Some(_)) => {
            let message = "no site has this name as its first host and gets certificates over ACME";
            document(StatusCode::NOT_FOUND, &json!({ "ok": false, "message": message }))
        }
        (count, _) => document(StatusCode::ACCEPTED, &json!({ "ok": true, "renewing": count })),
    }
}

/// 200 and the CAs whose account has a new key, or 502 and why not, or 409 if it is no time for it.
async fn rollover(control: &Control) -> Answer {
    if control.issuance.is_busy() {
        let message = "orders are under way; ask again later";
        return document(StatusCode::CONFLICT, &json!({ "ok": false, "message": message }));
    }
    let plan = control.plan();
    let outcomes = control.issuance.replace_keys(&plan.config.acme).await;
    let mut failed = outcomes.iter().filter_map(|(directory, outcome)| {
        Some(format!("{directory}: {}", outcome.as_ref().err()?))
    });
    let failed = failed.next();
    let done = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
    let done: Vec<&String> = done.map(|(directory, _)| directory).collect();
    let status = if failed.is_none() { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
    document(status, &json!({ "ok": failed.is_none(), "accounts": done, "message": failed }))
}

pub(super) fn document(status: StatusCode, document: &Value) -> Answer {
    whole(status, "application/json", format!("{document:#}\n"))
}

fn text(status: StatusCode, body: String) -> Answer {
    whole(status, "text/plain", body)
}

pub(super) fn whole(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
