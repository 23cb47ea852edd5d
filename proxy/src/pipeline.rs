//! The way of a request, whole.
//!
//! [`handle`] cannot fail: it opens the record, and whatever [`decide`] says becomes a finished response. [`decide`] reads
//! top to bottom, one call per stage, and leaves by `?` at the first that rejects.

use std::rc::Rc;

use http::{Method, Request, Response, header};
use hyper::body::Incoming;

use crate::body::Bounds;
use crate::client::Client;
use crate::connection::Watch;
use crate::policy::rate_limit::{Facts, Quoted};
use crate::policy::{Admitted, admit};
use crate::record::Record;
use crate::redirect;
use crate::rejection::{self, Rejection};
use crate::response::{self, Answer, Finish, FinishedBody};
use crate::site::{self, HostCache};
use crate::upstream::{Terms, Told};
use crate::worker::Worker;

/// What all requests of a connection share.
pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    pub(crate) client: Client,
    pub(crate) hosts: HostCache,
    /// The TLS version, `None` for plain HTTP.
    pub(crate) tls: Option<&'static str>,
    pub(crate) watch: Watch,
}

/// Answers one request.
pub(crate) async fn handle(
    origin: &Rc<Origin>,
    request: Request<Incoming>,
) -> Response<FinishedBody> {
    let mut record = Record::open(origin, &request);
    let wants_html = rejection::wants_html(request.headers());
    let mut quoted = None;
    let answer = decide(origin, request, &mut record, &mut quoted).await;
    let route = record.route.clone();
    let policy =
        route.as_ref().or_else(|| origin.worker.sites.fallback()).map(|route| &route.headers);
    let finish = Finish { policy, secure: origin.tls.is_some(), wants_html, quoted };
    response::finish(answer, finish, record)
}

async fn decide(
    origin: &Origin,
    request: Request<Incoming>,
    record: &mut Record,
    quoted: &mut Option<Quoted>,
) -> Result<Answer, Rejection> {
    let (worker, client, secure) = (&*origin.worker, &origin.client, origin.tls.is_some());
    integrity(&request)?;
    let host = origin.hosts.host(&request, &worker.sites, client, secure)?;
    record.host = Some(Rc::clone(&host));
    let site = host.site(&worker.sites)?;
    record.route = Some(Rc::clone(&site.default));
    let target = request.uri().path_and_query().cloned();
    if !secure && site.redirect_http {
        return Ok(redirect::to_https(&host, target.as_ref(), worker.https_port));
    }
    let path = target.as_ref().map_or("/", |target| target.path());
    let path = site::path::clean(path).map_err(|site::path::Ambiguous| Rejection::PathAmbiguous)?;
    let route = Rc::clone(site.route(&path));
    record.route = Some(Rc::clone(&route));
    let method = request.method().clone();
    let facts = Facts { client: client.bucket, method: &method, host: &host.name, path: &path };
    let admitted = admit(
        request,
        &worker.shared.limiter,
        &worker.rules,
        &facts,
        worker.now(record.started),
        quoted,
    )?;
    let bounds = body_bounds(&admitted, worker.bounds(route.body_bytes))?;
    let told = Told {
        host: &host.field,
        forwarded: &host.forwarded,
        forwarded_for: &client.forwarded_for,
        secure,
        request_id: &record.id.clone(),
    };
    let terms = Terms { told, bounds, bytes_in: Rc::clone(&record.bytes_in) };
    let upstream = worker.upstream(route.upstream).ok_or(Rejection::UpstreamSaturated)?;
    let asked = tokio::time::Instant::now();
    let response = upstream.send(admitted, terms).await;
    record.upstream_time = Some(asked.elapsed());
    Ok(Answer::Upstream(response?))
}

/// What no backend may see. The framing itself is hyper's to parse; a `Transfer-Encoding` that is not exactly `chunked` is
/// accepted by it and refused here.
fn integrity(request: &Request<Incoming>) -> Result<(), Rejection> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Rejection::MethodRefused);
    }
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Rejection::FramingInvalid),
    }
}

/// A declared length over the bound is refused before a byte of the body is read.
fn body_bounds(admitted: &Admitted, bounds: Bounds) -> Result<Bounds, Rejection> {
    match admitted.declared_length() {
        Some(length) if length > bounds.bytes => Err(Rejection::BodyTooLarge),
        _ => Ok(bounds),
    }
}
