//! The way of a request, whole.
//!
//! [`handle`] cannot fail: it opens the record, and whatever [`decide`] says becomes a finished
//! response. [`decide`] reads top to bottom, one call per stage, and leaves by `?` at the first
//! that rejects. Nothing in it waits, so all that it works with is gone before the wait for the
//! upstream, and a request in flight is small.
//!
//! One thing may have to be waited for in between: the shared store, in [`asking`].

mod asking;
mod integrity;
mod switching;

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Response, Version, header};
use http_body::Body as _;

use self::asking::{Asking, ask};
use self::switching::{Switch, switch};
use crate::body::{self, ClientBody, RequestBody};
use crate::client::{Client, PeerAddr, Sender};
use crate::connection::Watch;
use crate::nonce;
use crate::policy::{self, Admission, Found, Outcome};
use crate::record::Record;
use crate::redirect;
use crate::rejection::Rejection;
use crate::reports::Receiving;
use crate::response::{self, Answer, Finish, FinishedBody};
use crate::site::{self, Host, HostCache, Route};
use crate::snapshot::Snapshot;
use crate::tls::Session;
use crate::tunnel;
use crate::upstream::{Outgoing, Told, Upstream, UpstreamBody};
use crate::worker::Worker;

/// What all requests of a connection share.
pub(crate) struct Origin {
    pub(crate) worker: Rc<Worker>,
    pub(crate) sender: Sender,
    pub(crate) hosts: HostCache,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<Session>,
    pub(crate) watch: Watch,
}

impl Origin {
    pub(crate) fn new(worker: Rc<Worker>, peer: SocketAddr, tls: Option<Session>) -> Rc<Self> {
        let sender = Sender::new(PeerAddr(peer), &worker.snapshot().plan.config.clients);
        let watch = Watch::new(&worker);
        Rc::new(Self { worker, sender, hosts: HostCache::default(), tls, watch })
    }
}

/// A request that is answered, or being answered.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(crate) enum Handled<F> {
    Answered(Response<FinishedBody>),
    /// Boxed, since connections and tasks move it several times.
    UnderWay(Pin<Box<F>>),
}

/// Answers one request: at once, if there is nothing to wait for.
pub(crate) fn handle(
    origin: Rc<Origin>,
    head: Parts,
    body: ClientBody,
) -> Handled<impl Future<Output = Response<FinishedBody>>> {
    let snapshot = origin.worker.snapshot();
    let mut record = Record::open(&origin, &snapshot, &head);
    let mut finish = Finish::new(&head, origin.tls.is_some());
    let mut body = Some(body);
    let waits = head.headers.contains_key(header::EXPECT);
    let decision = decide(&origin, &snapshot, head, &mut body, &mut record, &mut finish);
    let mut under_way = begin(decision);
    // A client that waits for `100 Continue` sends no body if it is told something else.
    let unread = move |body: &mut ClientBody| !waits && !body.is_end_stream();
    if body.as_mut().is_none_or(|body| !unread(body))
        && let UnderWay::Settled(answer) = under_way
    {
        let fallback = snapshot.sites.fallback();
        return Handled::Answered(response::finish(answer, finish, record, fallback));
    }
    Handled::UnderWay(Box::pin(async move {
        if let UnderWay::Ask(asking) = &mut under_way {
            let asked = ask(asking.take(), &origin, &snapshot, &mut body, &mut record, &mut finish);
            let decision = Box::pin(asked).await;
            under_way = begin(decision);
        }
        let answer = match under_way {
            UnderWay::Upstream(response) => {
                let response = response.await;
                record.upstream_time = Some(record.started.elapsed());
                response.map(Answer::Upstream)
            }
            UnderWay::Switch(to) => {
                return Box::pin(switch(&origin, &snapshot, to, finish, record)).await;
            }
            UnderWay::Receive(receiving) => Box::pin(receiving.receive(&mut body, &record)).await,
            UnderWay::Settled(answer) => answer,
            UnderWay::Ask(_) => Err(Rejection::LimitsUnavailable),
        };
        let is_too_large = matches!(answer, Err(Rejection::BodyTooLarge));
        if let Some(unread) = body.take_if(|body| !is_too_large && unread(body)) {
            Box::pin(body::settle(unread, &origin.worker.deadlines)).await;
        }
        response::finish(answer, finish, record, snapshot.sites.fallback())
    }))
}

/// How far a request is when it begins to wait.
enum UnderWay<F> {
    Upstream(F),
    Switch(Box<Switch>),
    Receive(Box<Receiving>),
    Settled(Result<Answer, Rejection>),
    /// The shared store is to be asked; taken by the wait for it.
    Ask(Option<Box<Asking>>),
}

/// What is forwarded is under way before the wait for it begins; all else is settled, or asked.
fn begin(
    decision: Result<Decision, Rejection>,
) -> UnderWay<impl Future<Output = Result<Response<UpstreamBody>, Rejection>>> {
    match decision {
        Ok(Decision::Forward(upstream, outgoing)) => UnderWay::Upstream(upstream.send(outgoing)),
        Ok(Decision::Switch(switch)) => UnderWay::Switch(switch),
        Ok(Decision::Receive(receiving)) => UnderWay::Receive(receiving),
        Ok(Decision::Answer(answer)) => UnderWay::Settled(Ok(answer)),
        Ok(Decision::Ask(asking)) => UnderWay::Ask(Some(asking)),
        Err(rejection) => UnderWay::Settled(Err(rejection)),
    }
}

/// What is to be done with a request that nothing stands against.
enum Decision {
    Forward(Rc<Upstream>, Outgoing),
    Switch(Box<Switch>),
    Receive(Box<Receiving>),
    Answer(Answer),
    Ask(Box<Asking>),
}

/// What has been found out about a request when its limits are looked at.
struct Arrived {
    client: Rc<Client>,
    host: Rc<Host>,
    route: Rc<Route>,
    secure: bool,
    switches: bool,
    takes_interim: bool,
}

impl Arrived {
    fn found<'a>(&'a self, path: &'a str) -> Found<'a> {
        Found { client: &self.client, host: &self.host.name, path, route: &self.route }
    }
}

/// Takes the body only when the request is about to be forwarded.
fn decide(
    origin: &Origin,
    snapshot: &Snapshot,
    mut head: Parts,
    body: &mut Option<ClientBody>,
    record: &mut Record,
    finish: &mut Finish,
) -> Result<Decision, Rejection> {
    let (worker, client) = (&*origin.worker, Rc::clone(&record.client));
    let secure = origin.tls.is_some() || origin.sender.is_secure(&head.headers);
    let switches = tunnel::is_asked(&head);
    let whole = integrity::check(&head, origin, body.as_ref(), secure, switches);
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
    let takes_interim = head.version != Version::HTTP_10 && !switches;
    let method = head.method.clone();
    nonce::make_unconditional(&route.headers, &method, &mut head.headers);
    head.extensions.clear();
    let arrived = Arrived { client, host, route, secure, switches, takes_interim };
    let found = arrived.found(&path);
    let (limiter, link) = (&worker.shared.limiter, worker.link.as_deref());
    let now = worker.now(record.started);
    match policy::admit(head, &found, limiter, link, &snapshot.rules, now) {
        Admission::Decided(outcome) => {
            forward(outcome, arrived, origin, snapshot, body, record, finish)
        }
        Admission::Ask(head, question) => {
            let path = path.into_owned();
            Ok(Decision::Ask(Box::new(Asking { head, question, arrived, path })))
        }
    }
}

/// What is left to do with a request that the limits admit.
fn forward(
    (terms, admitted): Outcome,
    arrived: Arrived,
    origin: &Origin,
    snapshot: &Snapshot,
    body: &mut Option<ClientBody>,
    record: &mut Record,
    finish: &mut Finish,
) -> Result<Decision, Rejection> {
    finish.quota = terms.fields;
    (record.lease, record.shadowed) = (terms.lease, terms.shadowed);
    let admitted = admitted?;
    let worker = &*origin.worker;
    let Arrived { client, host, route, secure, switches, takes_interim } = arrived;
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
        true => Decision::Switch(Box::new(Switch { upstream, outgoing, idle_timeout })),
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
