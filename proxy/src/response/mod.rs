//! The last stage: every response that Gatehouse sends is finished here.
//!
//! Only [`finish`] makes a [`FinishedBody`] and hyper is handed nothing else: a response without
//! the security headers, or without a record, cannot be sent.

mod body;

use std::rc::Rc;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use http_body::Body as _;

pub(crate) use self::body::FinishedBody;
use self::body::Source;
use crate::compression::{Choice, Coded};
use crate::negotiation;
use crate::nonce::{self, Plain};
use crate::policy::headers::Circumstances;
use crate::policy::rate_limit::Fields;
use crate::record::Record;
use crate::rejection::{self, Blame, Rejection};
use crate::site::Route;
use crate::trailers;
use crate::tunnel::{self, Tunnel};
use crate::upstream::UpstreamBody;
use crate::upstream::forward::X_REQUEST_ID;

/// What the pipeline decided to answer.
pub(crate) enum Answer {
    /// The application's response.
    Upstream(Response<UpstreamBody>),
    /// A response of Gatehouse's own that is no error: status and fields.
    Own(StatusCode, HeaderMap),
    /// What proves to a CA that a name is ours.
    Challenge(Bytes),
}

/// What a response gets besides what the answer brought.
pub(crate) struct Finish {
    secure: bool,
    wants_html: bool,
    /// The security headers are there from the beginning.
    dressed: bool,
    /// The answer is Gatehouse's own.
    own: bool,
    /// The request was a HEAD.
    head_only: bool,
    /// The client takes trailers.
    trailers: bool,
    /// What the client is told of its quota.
    pub(crate) quota: Fields,
    pub(crate) compression: Option<Choice>,
    /// What takes the places of nonces in the policy.
    nonces: Option<String>,
}

impl Finish {
    pub(crate) fn new(request: &request::Parts, secure: bool) -> Self {
        let wants_html = negotiation::wants_html(&request.headers);
        let head_only = request.method == Method::HEAD;
        let trailers = trailers::are_taken(&request.headers);
        let (quota, compression, nonces) = (Fields::new(), None, None);
        let (dressed, own) = (false, false);
        Self { secure, wants_html, dressed, own, head_only, trailers, quota, compression, nonces }
    }
}

/// Makes the response: fields, security headers (of the site, or `fallback` where there is none),
/// quota, request id; and hands the record to the body.
pub(crate) fn finish(
    answer: Result<Answer, Rejection>,
    mut with: Finish,
    mut record: Box<Record>,
    fallback: Option<&Rc<Route>>,
) -> Response<FinishedBody> {
    with.own = !matches!(answer, Ok(Answer::Upstream(_)));
    let (mut response, source) = match answer {
        Ok(Answer::Upstream(response)) => {
            let (mut head, body) = response.into_parts();
            record.answered(head.status, None);
            let source = rewrite(&mut with, &mut head, body, &record);
            (Response::from_parts(head, ()), source)
        }
        Ok(Answer::Own(status, fields)) => {
            record.answered(status, None);
            let mut response = Response::new(());
            (*response.status_mut(), *response.headers_mut()) = (status, fields);
            (response, Source::Own(Bytes::new()))
        }
        Ok(Answer::Challenge(proof)) => {
            record.answered(StatusCode::OK, None);
            let mut response = Response::new(());
            let text = HeaderValue::from_static("application/octet-stream"); // RFC 8555, 8.3
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            (response, Source::Own(proof))
        }
        Err(rejection) => reject(&rejection, &mut with, &mut record, fallback),
    };
    let (head_only, trailers) = (with.head_only, with.trailers);
    let is_empty = response.status() == StatusCode::NO_CONTENT;
    let fields = response.headers_mut();
    dress(fields, with, &record, fallback);
    let source = if head_only { source.without_body(fields) } else { source };
    if is_empty {
        fields.remove(header::CONTENT_LENGTH); // RFC 9110, 8.6
    }
    response.map(|()| FinishedBody::new(source, trailers, Some(record)))
}

/// Gives a page its nonce, and sends the body through an encoder, as far as route, client and
/// response agree to it. The answer to a HEAD has the fields of that to a GET.
fn rewrite(with: &mut Finish, head: &mut Parts, body: UpstreamBody, record: &Record) -> Source {
    let (choice, head_only) = (with.compression.take(), with.head_only);
    let is_empty = body.is_end_stream() && !head_only;
    let Some(route) = record.route.as_ref().filter(|_| !is_empty) else {
        return Source::Upstream(Plain::Upstream(body));
    };
    let worker = record.worker();
    let prepared = nonce::prepare(&route.headers, head, &worker.pages);
    with.nonces = prepared.sources;
    let rewriting = prepared.rewriting;
    let coding = rewriting.as_ref().and_then(|rewriting| rewriting.coding);
    let again = || coding.map(|coding| Choice::again(coding, &worker.encoders));
    let choice = choice.filter(|choice| choice.codes() || coding.is_none()).or_else(again);
    let body = match head_only {
        true => Plain::Upstream(body),
        false => Plain::new(body, rewriting),
    };
    match choice.and_then(|choice| choice.apply(head)) {
        Some(encoding) if !head_only => Source::Coded(Box::new(Coded::new(body, encoding))),
        _ => Source::Upstream(body),
    }
}

/// Makes the response by which a connection, or a stream of HTTP/2, switches to another protocol.
/// Its record goes with the tunnel.
pub(crate) fn switch(
    head: Parts,
    with: Finish,
    mut record: Box<Record>,
    fallback: Option<&Rc<Route>>,
    tunnel: impl FnOnce(Box<Record>) -> Tunnel,
) -> Response<FinishedBody> {
    let mut response = Response::from_parts(head, ());
    let stream = record.watch().is_multiplexed();
    if stream {
        *response.status_mut() = StatusCode::OK; // RFC 8441, 5
    }
    record.answered(response.status(), None);
    dress(response.headers_mut(), with, &record, fallback);
    tunnel::agree(response.headers_mut(), stream);
    let source = Source::Tunnel(Some(Box::new(tunnel(record))));
    response.map(|()| FinishedBody::new(source, false, None))
}

/// The fields that every response carries.
fn dress(fields: &mut HeaderMap, with: Finish, record: &Record, fallback: Option<&Rc<Route>>) {
    if let Some(route) = record.route.as_ref().or(fallback).filter(|_| !with.dressed) {
        let (own, secure, nonces) = (with.own, with.secure, with.nonces.as_deref());
        let climbed = route.climbed.seconds();
        route.headers.apply_with(fields, Circumstances { own, secure, nonces, climbed });
    }
    for (name, value) in with.quota {
        fields.insert(name, value);
    }
    fields.insert(X_REQUEST_ID, record.id.clone());
}

fn reject(
    rejection: &Rejection,
    with: &mut Finish,
    record: &mut Record,
    fallback: Option<&Rc<Route>>,
) -> (Response<()>, Source) {
    debug_assert!(rejection::STATUSES.contains(&rejection.status().as_u16()), "{rejection}");
    record.answered(rejection.status(), Some(rejection.reason()));
    if let Rejection::RateLimited(refusal) = rejection {
        record.rejected_by(refusal);
    }
    let request_id = record.id.to_str().unwrap_or_default();
    match rejection.blame() {
        // Why the store does not answer has been said where that was found out.
        Blame::Client | Blame::Operator | Blame::Gatehouse => {
            tracing::debug!(request_id, %rejection, "rejected");
        }
        Blame::Upstream => tracing::warn!(request_id, %rejection, "upstream failed"),
    }
    let route = record.route.as_ref().or(fallback);
    let mut response = Response::new(());
    // In a flood, what is the same each time is copied whole.
    if let Some(ready) = route.and_then(|route| route.headers.ready(with.secure)) {
        response.headers_mut().clone_from(ready);
        with.dressed = true;
    }
    *response.status_mut() = rejection.status();
    let mut body = rejection.answer(with.wants_html, request_id, response.headers_mut());
    let route = route.filter(|_| with.wants_html);
    if let Some(page) = route.and_then(|route| route.pages.of(rejection)) {
        body = page.clone();
    }
    // A body that was not read to its end cannot be told from the next request. Streams of HTTP/2
    // can, and know no such field.
    if !record.watch().is_multiplexed()
        && matches!(
            rejection,
            Rejection::FramingInvalid
                | Rejection::MethodRefused
                | Rejection::BodyTooLarge
                | Rejection::BodyTimeout
                | Rejection::BodyAborted
        )
    {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    (response, Source::Own(body))
}
