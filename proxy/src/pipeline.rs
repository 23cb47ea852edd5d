//! The way of a request, whole.
//!
//! [`handle`] cannot fail: it opens the record, and whatever [`decide`] says becomes a finished
//! response. [`decide`] reads top to bottom, one call per stage, and leaves by `?` at the first
//! that rejects. Nothing in it waits, so all that it works with is gone before the wait for the
//! upstream, and a request in flight is small.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::{self, RequestBody, UnclearFraming};
use crate::client::{PeerAddr, Sender};
use crate::connection::{Hidden, Watch};
use crate::policy::{self, Found};
use crate::record::Record;
use crate::redirect;
use crate::rejection::Rejection;
use crate::reports::Receiving;
use crate::response::{self, Answer, Finish, FinishedBody};
use crate::site::{self, HostCache};
use crate::snapshot::Snapshot;
use crate::tls::Session;
use crate::tunnel::{self, Tunnel};
use crate::upstream::{Outgoing, Switched, Told, Upstream};
use crate::worker::Worker;

/// What all requests of a connection share.
pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    pub(crate) sender: Sender,
    pub(crate) hosts: HostCache,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<Session>,
    pub(crate) watch: Watch,
    /// What an HTTP/1.1 connection becomes when its response has been sent.
    pub(crate) tunnel: Cell<Option<Box<Tunnel>>>,
}

impl Origin {
    pub(crate) fn new(worker: Rc<Worker>, peer: SocketAddr, tls: Option<Session>) -> Rc<Self> {
        let sender = Sender::new(PeerAddr(peer), &worker.snapshot().plan.config.clients);
        let watch = Watch::new(&worker);
        Rc::new(Self {
            worker,
            sender,
            hosts: HostCache::default(),
            tls,
            watch,
            tunnel: Cell::default(),
        })
    }
}

/// Answers one request.
pub(crate) fn handle(
    origin: Rc<Origin>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<FinishedBody>> {
    let snapshot = origin.worker.snapshot();
    let mut record = Record::open(&origin, &snapshot, &request);
    let mut finish = Finish::new(&request, origin.tls.is_some());
    let (head, body) = request.into_parts();
    let mut body = Some(body);
    let waits = head.headers.contains_key(header::EXPECT);
    let decision = decide(&origin, &snapshot, head, &mut body, &mut record, &mut finish);
    // What is forwarded is under way before the wait for it begins; all else is settled.
    let under_way = match decision {
        Ok(Decision::Forward(upstream, outgoing)) => UnderWay::Upstream(upstream.send(outgoing)),
        Ok(Decision::Switch(switch)) => UnderWay::Switch(switch),
        Ok(Decision::Receive(receiving)) => UnderWay::Receive(receiving),
        Ok(Decision::Answer(answer)) => UnderWay::Settled(Ok(answer)),
        Err(rejection) => UnderWay::Settled(Err(rejection)),
    };
    async move {
        let answer = match under_way {
            UnderWay::Upstream(response) => {
                let response = response.await;
                record.upstream_time = Some(record.started.elapsed());
                response.map(Answer::Upstream)
            }
            UnderWay::Switch(to) => {
                return Box::pin(switch(origin, &snapshot, to, finish, record)).await;
            }
            UnderWay::Receive(receiving) => Box::pin(receiving.receive(&mut body, &record)).await,
            UnderWay::Settled(answer) => answer,
        };
        // A client that waits for `100 Continue` sends no body if it is told something else.
        if let Some(unread) = body.filter(|_| !waits) {
            Box::pin(body::settle(unread, &origin.worker.deadlines)).await;
        }
        response::finish(answer, finish, record, snapshot.sites.fallback())
    }
}

/// How far a request is when it begins to wait.
#[expect(clippy::large_enum_variant, reason = "nearly all are the other large variant")]
enum UnderWay<F> {
    Upstream(F),
    Switch(Box<Switch>),
    Receive(Box<Receiving>),
    Settled(Result<Answer, Rejection>),
}

/// Switches to another protocol, if the upstream agrees.
async fn switch(
    origin: Rc<Origin>,
    snapshot: &Snapshot,
    to: Box<Switch>,
    finish: Finish,
    mut record: Box<Record>,
) -> Response<FinishedBody> {
    let Switch { upstream, outgoing, stream, idle_timeout } = *to;
    let answer = upstream.switch(outgoing).await;
    record.upstream_time = Some(record.started.elapsed());
    let fallback = snapshot.sites.fallback();
    let (head, far) = match answer {
        Ok(Switched::Tunnel(head, far)) => (head, far),
        Ok(Switched::Response(response)) => {
            return response::finish(Ok(Answer::Upstream(response)), finish, record, fallback);
        }
        Err(rejection) => return response::finish(Err(rejection), finish, record, fallback),
    };
    let response = response::switch(head, stream.is_some(), finish, &mut record, fallback);
    let deadline = origin.worker.deadlines.deadline();
    let tunnel = Tunnel::new(far, record, deadline, idle_timeout);
    match stream {
        Some(stream) => drop(tokio::task::spawn_local(async move {
            if let Ok(near) = stream.await {
                tunnel.run(TokioIo::new(near), Bytes::new()).await;
            }
        })),
        None => origin.tunnel.set(Some(Box::new(tunnel))),
    }
    response
}

/// A request that asks for a WebSocket.
struct Switch {
    upstream: Rc<Upstream>,
    outgoing: Outgoing,
    /// The stream that switches; over HTTP/1.1 it is the connection.
    stream: Option<OnUpgrade>,
    idle_timeout: Duration,
}

/// What is to be done with a request that nothing stands against.
enum Decision {
    Forward(Rc<Upstream>, Outgoing),
    Switch(Box<Switch>),
    Receive(Box<Receiving>),
    Answer(Answer),
}

/// Takes the body only when the request is about to be forwarded.
fn decide(
    origin: &Origin,
    snapshot: &Snapshot,
    mut head: Parts,
    body: &mut Option<Incoming>,
    record: &mut Record,
    finish: &mut Finish,
) -> Result<Decision, Rejection> {
    let (worker, client) = (&*origin.worker, Rc::clone(&record.client));
    let secure = origin.tls.is_some() || origin.sender.is_secure(&head.headers);
    let switches = tunnel::is_asked(&head);
    let whole = integrity(&head, origin, body.as_ref(), switches);
    let host = origin.hosts.host(&head, origin, snapshot, &client, secure);
    // What is refused is refused as the site does it, if it can be told.
    if let Ok(host) = &host {
        record.host = Some(Rc::clone(host));
        record.route = host.site(&snapshot.sites).ok().map(|site| Rc::clone(&site.default));
    }
    whole?;
    let host = host?;
    if let Some(answer) = challenge(origin, snapshot, &host.name, &head) {
        return Ok(Decision::Answer(answer));
    }
    let site = host.site(&snapshot.sites)?;
    site.admit(client.ip)?;
    if !secure && site.redirect_http {
        let path = head.uri.path_and_query();
        return Ok(Decision::Answer(redirect::to_https(&host, path, snapshot.plan.https_port)));
    }
    let target = head.uri.path_and_query().cloned();
    let raw = target.as_ref().map_or("/", PathAndQuery::path);
    if raw == "*" && head.method != Method::OPTIONS {
        return Err(Rejection::PathAmbiguous); // RFC 9112, 3.2.4
    }
    let path = site::path::clean(raw, site.ambiguous_paths)?;
    if let Some(receiving) = Receiving::of(&head, &path, site, &host) {
        return Ok(Decision::Receive(receiving));
    }
    let route = Rc::clone(site.route(&path));
    record.route = Some(Rc::clone(&route));
    finish.compression = route.compression.choose(&head.headers, &worker.encoders);
    let method = head.method.clone();
    let takes_interim = head.version == Version::HTTP_11 && !switches;
    crate::nonce::make_unconditional(&route.headers, &method, &mut head.headers);
    let stream = head.extensions.remove().filter(|_| method == Method::CONNECT);
    let found = Found { client: &client, host: &host.name, path: &path, route: &route };
    let (limiter, now) = (&worker.shared.limiter, worker.now(record.started));
    let (terms, admitted) = policy::admit(head, &found, limiter, &snapshot.rules, now);
    finish.quota = terms.fields;
    (record.lease, record.shadowed) = (terms.lease, terms.shadowed);
    let admitted = admitted?;
    let bounds = worker.bounds(&route.limits);
    let body = RequestBody::new(bounds.take(body)?, bounds, &worker.deadlines);
    record.upload = body.progress();
    let told = Told {
        host: &host.field,
        forwarded: &host.forwarded,
        forwarded_for: &client.forwarded_for,
        secure,
        switches,
        request_id: &record.id,
        certificate: origin.tls.as_ref().and_then(|session| session.client.as_ref()),
        dropped: &worker.counters.fields_dropped,
    };
    let upstream = snapshot.upstream(route.upstream).ok_or(Rejection::UpstreamSaturated)?;
    let interim = takes_interim.then(|| origin.watch.interim());
    let outgoing = Outgoing::new(admitted, &told, body, route.limits.answer_timeout, interim);
    let (upstream, idle_timeout) = (Rc::clone(upstream), route.limits.websocket_idle_timeout);
    Ok(match switches {
        true => Decision::Switch(Box::new(Switch { upstream, outgoing, stream, idle_timeout })),
        false => Decision::Forward(upstream, outgoing),
    })
}

/// What a CA asks over plain HTTP, before any rule: of nobody else, and never forwarded.
fn challenge(origin: &Origin, snapshot: &Snapshot, host: &str, head: &Parts) -> Option<Answer> {
    match origin.tls {
        Some(_) => None,
        None => snapshot.plan.challenges.answer(host, head.uri.path()),
    }
}

/// What the library does not look at (RFC 9113, 8.2.1 and 8.3.1): HTTP/2 comes over TLS only, and a
/// value that begins or ends with a space is none.
fn is_well_formed(head: &Parts) -> bool {
    let padded = |value: &HeaderValue| {
        let (first, last) = (value.as_bytes().first(), value.as_bytes().last());
        [first, last].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
    };
    head.uri.scheme() == Some(&Scheme::HTTPS) && !head.headers.values().any(padded)
}

/// What no backend may see. The framing itself is hyper's to parse; what it accepts and should not,
/// or no longer shows, is refused here.
fn integrity(
    head: &Parts,
    origin: &Origin,
    body: Option<&Incoming>,
    switches: bool,
) -> Result<(), Rejection> {
    let limits = origin.worker.limits();
    if origin.watch.is_crowded(&limits) {
        return Err(Rejection::ConnectionSaturated);
    }
    let has_body = body.is_some_and(|body| !body.is_end_stream());
    let hidden = match head.version {
        Version::HTTP_2 => Some(Hidden::default()),
        _ => origin.watch.head.take(&head.method, head.headers.len(), has_body),
    };
    if head.version == Version::HTTP_2 && !is_well_formed(head) {
        return Err(Rejection::Malformed);
    }
    let bytes: usize = head.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    if bytes > limits.header_bytes || head.headers.len() > limits.header_count {
        return Err(Rejection::HeadTooLarge);
    }
    if switches && has_body {
        return Err(Rejection::FramingInvalid);
    }
    if matches!(head.method, Method::CONNECT | Method::TRACE) && !switches {
        return Err(Rejection::MethodRefused);
    }
    let chunked =
        body::is_chunked(&head.headers).map_err(|UnclearFraming| Rejection::FramingInvalid)?;
    let clear = match hidden {
        Some(hidden) => !(hidden.bare_lf || chunked && hidden.content_length),
        None => !chunked,
    };
    if !clear {
        return Err(Rejection::FramingInvalid);
    }
    let expectations = head.headers.get_all(header::EXPECT).iter();
    if { expectations }.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::ExpectationUnknown);
    }
    Ok(())
}
