//! The record of a request: one JSON line, whatever became of it.
//!
//! A [`Record`] is opened before anything is decided and written when it is dropped, which is when
//! the response's body has been handed to the connection or given up. No way out of the pipeline
//! can miss it.
//!
//! Workers format into a buffer of their own and hand full buffers, or those of the last second, to
//! one writer thread over a bounded queue. A sink that cannot keep up costs records, which are
//! counted, and never a request.
//!
//! Query values are not logged, since they carry tokens; the names of the parameters are.

mod combined;
mod line;
mod sink;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::body::Progress;
use crate::client::Client;
use crate::config::LogFormat;
use crate::connection::Watch;
use crate::pipeline::Origin;
use crate::policy::rate_limit::{Lease, Refusal, Rejected};
use crate::site::{Host, Route};
use crate::snapshot::Snapshot;
use crate::worker::Worker;

use self::combined::Combined;
pub(crate) use self::sink::{Output, RecordBuffer, RecordSink};

/// Everything that is known of a request.
pub(crate) struct Record {
    origin: Rc<Origin>,
    pub(crate) client: Rc<Client>,
    pub(crate) started: Instant,
    wall: SystemTime,
    /// UUIDv7 (RFC 9562), also the `X-Request-Id` of both sides.
    pub(crate) id: HeaderValue,
    method: Method,
    path: Option<PathAndQuery>,
    version: Version,
    pub(crate) host: Option<Rc<Host>>,
    pub(crate) route: Option<Rc<Route>>,
    /// `None` while there is no answer.
    pub(crate) status: Option<StatusCode>,
    /// A rejection's stable label; `client_gone` while there is no answer.
    pub(crate) reason: Option<&'static str>,
    /// The rule that rejected.
    pub(crate) rule: Option<Arc<str>>,
    /// Rules in shadow mode that would have rejected.
    pub(crate) shadowed: SmallVec<[Arc<str>; 1]>,
    /// What rules gave it until its end.
    pub(crate) lease: Lease,
    /// From the request's head to the response's, all but microseconds of it the upstream's.
    pub(crate) upstream_time: Option<Duration>,
    /// The request body that is being forwarded.
    pub(crate) upload: Option<Rc<Progress>>,
    /// Bytes from the client in a tunnel.
    pub(crate) tunnelled_in: u64,
    /// Bytes of the response body, or in a tunnel, that were handed to the connection.
    pub(crate) bytes_out: u64,
    /// Whether the response was cut short, or never made.
    pub(crate) aborted: bool,
    /// In this format the log says more of a request, and less of all else.
    combined: Option<Box<Combined>>,
}

impl Record {
    /// Where it is.
    pub(crate) fn worker(&self) -> &Worker {
        &self.origin.worker
    }

    /// What watches the connection.
    pub(crate) fn watch(&self) -> &Watch {
        &self.origin.watch
    }

    /// Opens the record of a request that has just been read.
    pub(crate) fn open(origin: &Rc<Origin>, snapshot: &Snapshot, request: &Parts) -> Box<Self> {
        let started = Instant::now();
        let wall = origin.worker.wall_clock(started);
        origin.watch.begin();
        let combined = snapshot.plan.config.log.format == LogFormat::Combined;
        Box::new(Self {
            origin: Rc::clone(origin),
            client: origin.sender.client(&request.headers, &snapshot.plan.config.clients),
            started,
            wall,
            id: request_id(wall),
            method: request.method.clone(),
            path: request.uri.path_and_query().cloned(),
            version: request.version,
            host: None,
            route: None,
            status: None,
            reason: Some("client_gone"),
            rule: None,
            shadowed: SmallVec::new(),
            lease: Lease::default(),
            upstream_time: None,
            upload: None,
            tunnelled_in: 0,
            bytes_out: 0,
            aborted: true,
            combined: combined.then(|| Box::new(Combined::of(&request.headers))),
        })
    }

    fn bytes_in(&self) -> u64 {
        self.upload.as_ref().map_or(self.tunnelled_in, |upload| upload.bytes.get())
    }

    /// A rule rejected it: that is kept for whoever asks why with its id.
    pub(crate) fn rejected_by(&mut self, refusal: &Refusal) {
        self.rule = Some(Arc::clone(&refusal.rule.name));
        let rejected = Rejected {
            id: self.id.to_str().unwrap_or_default(),
            time: self.wall,
            client: self.client.ip,
            method: self.method.as_str(),
            host: self.host.as_ref().map_or("", |host| &host.name),
            path: self.path.as_ref().map_or("", PathAndQuery::path),
        };
        self.origin.worker.rejections.keep(rejected, refusal);
    }

    /// There is an answer, with this status.
    pub(crate) fn answered(&mut self, status: StatusCode, reason: Option<&'static str>) {
        (self.status, self.reason, self.aborted) = (Some(status), reason, false);
        if !self.lease.is_empty() {
            let worker = &self.origin.worker;
            let now = worker.now(Instant::now());
            self.lease.answered(status, worker.link.as_ref(), now);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (worker, now) = (&self.origin.worker, Instant::now());
        worker.counters.request(self.status, self.reason, self.bytes_in(), self.bytes_out);
        worker.records.append(|line, clock| match &self.combined {
            Some(combined) => combined.write(self, line, clock),
            None => self.write(line, clock, now),
        });
        self.origin.watch.end(worker.limits().idle_timeout);
    }
}

/// Time-ordered and unique; nothing secret hangs on it, so a fast generator will do.
fn request_id(wall: SystemTime) -> HeaderValue {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    uuid::Builder::from_unix_timestamp_millis(millis, &random)
        .into_uuid()
        .hyphenated()
        .encode_lower(&mut text);
    // Shared from the beginning: each request clones it.
    let mut id = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    id.set_sensitive(true); // never the same twice: it must not push others out of HPACK's table
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids_of_version_7_and_differ() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_000_000_007);
        let (a, b) = (request_id(now), request_id(now));
        assert_ne!(a, b);
        let id = uuid::Uuid::parse_str(a.to_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
}
