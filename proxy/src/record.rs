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

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use crate::body::Progress;
use crate::config::AccessLog;
use crate::pipeline::Origin;
use crate::site::{Host, Route};

/// Everything that is known of a request.
pub(crate) struct Record {
    origin: Rc<Origin>,
    pub(crate) started: Instant,
    wall: SystemTime,
    /// UUIDv7 (RFC 9562), also the `X-Request-Id` of both sides.
    pub(crate) id: HeaderValue,
    method: Method,
    path: Option<PathAndQuery>,
    version: Version,
    pub(crate) host: Option<Rc<Host>>,
    pub(crate) route: Option<Rc<Route>>,
    pub(crate) status: StatusCode,
    /// A rejection's stable label.
    pub(crate) reason: Option<&'static str>,
    /// The rule that rejected.
    pub(crate) rule: Option<Arc<str>>,
    /// From the request's head to the response's, all but microseconds of it the upstream's.
    pub(crate) upstream_time: Option<Duration>,
    /// The request body that is being forwarded.
    pub(crate) upload: Option<Rc<Progress>>,
    /// Bytes of the response body that were handed to the connection.
    pub(crate) bytes_out: u64,
    /// Whether the response is known to have been cut short.
    pub(crate) aborted: bool,
}

impl Record {
    /// Opens the record of a request that has just been read.
    pub(crate) fn open<B>(origin: &Rc<Origin>, request: &http::Request<B>) -> Box<Self> {
        let started = Instant::now();
        let wall = origin.worker.wall_clock(started);
        origin.watch.begin();
        Box::new(Self {
            origin: Rc::clone(origin),
            started,
            wall,
            id: request_id(wall),
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            version: request.version(),
            host: None,
            route: None,
            status: StatusCode::OK,
            reason: None,
            rule: None,
            upstream_time: None,
            upload: None,
            bytes_out: 0,
            aborted: false,
        })
    }

    fn bytes_in(&self) -> u64 {
        self.upload.as_ref().map_or(0, |upload| upload.bytes.get())
    }

    fn write(&self, line: &mut Vec<u8>, clock: &mut ClockText, now: Instant) {
        line.extend_from_slice(b"{\"time\":\"");
        clock.write(line, self.wall);
        line.extend_from_slice(b"\",\"request_id\":\"");
        line.extend_from_slice(self.id.as_bytes());
        line.extend_from_slice(b"\",\"client\":\"");
        line.extend_from_slice(self.origin.client.forwarded_for.as_bytes());
        text(line, "method", self.method.as_str(), 32);
        if let Some(host) = &self.host {
            text(line, "host", &host.name, 255);
        }
        line.extend_from_slice(b"\",\"path\":\"");
        if let Some(path) = &self.path {
            escape(line, path.path(), 1_024);
            parameter_names(line, path.query());
        }
        line.extend_from_slice(b"\",\"protocol\":\"");
        line.extend_from_slice(protocol(self.version).as_bytes());
        if let Some(tls) = self.origin.tls {
            text(line, "tls", tls, 8);
        }
        line.extend_from_slice(b"\",\"status\":");
        line.extend_from_slice(self.status.as_str().as_bytes());
        number(line, "bytes_in", self.bytes_in());
        number(line, "bytes_out", self.bytes_out);
        millis(line, "duration_ms", now.saturating_duration_since(self.started));
        if let Some(time) = self.upstream_time {
            millis(line, "upstream_ms", time);
        }
        line.push(b',');
        if let Some(route) = &self.route {
            field(line, "route", &route.label);
        }
        if let Some(rule) = &self.rule {
            field(line, "rule", rule);
        }
        if let Some(reason) = self.reason {
            field(line, "reason", reason);
        }
        if self.aborted {
            line.extend_from_slice(b"\"aborted\":true,");
        }
        line.pop();
        line.extend_from_slice(b"}\n");
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (worker, now) = (&self.origin.worker, Instant::now());
        worker.counters.request(self.status, self.reason, self.bytes_in(), self.bytes_out);
        worker.records.append(|line, clock| self.write(line, clock, now));
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
    let mut id = HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    id.set_sensitive(true); // never the same twice: it must not push others out of HPACK's table
    id
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Ends the string before it and begins the next.
fn text(line: &mut Vec<u8>, name: &str, value: &str, most: usize) {
    line.extend_from_slice(b"\",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":\"");
    escape(line, value, most);
}

fn field(line: &mut Vec<u8>, name: &str, value: &str) {
    line.push(b'"');
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":\"");
    escape(line, value, 256);
    line.extend_from_slice(b"\",");
}

fn number(line: &mut Vec<u8>, name: &str, value: u64) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with microseconds behind the point.
#[expect(clippy::cast_possible_truncation, reason = "584,000 years of microseconds")]
fn millis(line: &mut Vec<u8>, name: &str, value: Duration) {
    let micros = value.as_micros() as u64;
    number(line, name, micros / 1_000);
    let fraction = micros % 1_000 + 1_000;
    line.push(b'.');
    line.extend_from_slice(
        itoa::Buffer::new().format(fraction).as_bytes().get(1..).unwrap_or_default(),
    );
}

/// `?name&name`, the query without its values.
fn parameter_names(line: &mut Vec<u8>, query: Option<&str>) {
    let Some(query) = query else { return };
    let mut separator = b'?';
    for pair in query.split('&').take(32) {
        line.push(separator);
        separator = b'&';
        escape(line, pair.split('=').next().unwrap_or_default(), 64);
    }
}

/// The inside of a JSON string, at most `most` bytes of it.
fn escape(line: &mut Vec<u8>, value: &str, most: usize) {
    let cut = value.floor_char_boundary(most);
    let kept = value.get(..cut).unwrap_or_default();
    for &byte in kept.as_bytes() {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => {
                _ = write!(line, "\\u{byte:04x}");
            }
            _ => line.push(byte),
        }
    }
    if cut < value.len() {
        line.extend_from_slice("…".as_bytes());
    }
}

/// The text of a moment, with the second's part kept from one record to the next.
#[derive(Debug, Default)]
pub(crate) struct ClockText {
    second: u64,
    text: String,
}

impl ClockText {
    fn write(&mut self, line: &mut Vec<u8>, wall: SystemTime) {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.text.is_empty() {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).unwrap_or_default();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = time.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.extend_from_slice(self.text.as_bytes());
        let fraction = since.subsec_millis() + 1_000;
        line.extend_from_slice(
            itoa::Buffer::new().format(fraction).as_bytes().get(1..).unwrap_or_default(),
        );
        line.push(b'Z');
    }
}

/// The records of one worker that have not been handed to the writer yet.
pub(crate) struct RecordBuffer {
    sink: Option<RecordSink>,
    lines: RefCell<(Vec<u8>, u64)>,
    clock: RefCell<ClockText>,
}

impl RecordBuffer {
    /// Bytes that are handed over at once.
    const FULL: usize = 64 << 10;

    pub(crate) fn new(sink: Option<RecordSink>) -> Self {
        Self { sink, lines: RefCell::default(), clock: RefCell::default() }
    }

    fn append(&self, write: impl FnOnce(&mut Vec<u8>, &mut ClockText)) {
        if self.sink.is_none() {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        if lines.0.capacity() == 0 {
            lines.0.reserve(Self::FULL + 4_096);
        }
        write(&mut lines.0, &mut self.clock.borrow_mut());
        lines.1 += 1;
        if lines.0.len() >= Self::FULL {
            drop(lines);
            self.flush();
        }
    }

    /// Hands over what is there.
    pub(crate) fn flush(&self) {
        let Some(sink) = &self.sink else { return };
        let (bytes, count) = std::mem::take(&mut *self.lines.borrow_mut());
        if count > 0 {
            sink.send(bytes, count);
        }
    }
}

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct RecordSink {
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl RecordSink {
    /// Buffers that may wait for the writer: 4 MiB.
    const QUEUE: usize = 64;

    /// Opens the sink and starts its writer; `None` when records are off. The handle ends when
    /// every clone is gone.
    pub(crate) fn open(
        log: &AccessLog,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Option<(Self, JoinHandle<()>)>> {
        let output: Box<dyn Write + Send> = match log {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Box::new(io::stdout()),
            AccessLog::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (queue, buffers) = sync_channel(Self::QUEUE);
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || write_all(output, &buffers, &lost))?;
        Ok(Some((Self { queue, dropped }, writer)))
    }

    fn send(&self, bytes: Vec<u8>, count: u64) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(bytes)
        {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Writes until every worker is gone. A sink that fails is named once, until it works again.
fn write_all(mut output: Box<dyn Write + Send>, buffers: &Receiver<Vec<u8>>, dropped: &AtomicU64) {
    let mut failing = false;
    while let Ok(bytes) = buffers.recv() {
        match output.write_all(&bytes).and_then(|()| output.flush()) {
            Ok(()) => failing = false,
            Err(error) => {
                let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
                dropped.fetch_add(lines, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "records cannot be written; they are dropped and counted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &str, most: usize) -> String {
        let mut line = Vec::new();
        escape(&mut line, value, most);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn strings_are_escaped_and_cut_between_characters() {
        assert_eq!(escaped("a\"b\\c\n\u{7f}é", 64), "a\\\"b\\\\c\\u000a\\u007fé");
        assert_eq!(escaped("aéé", 2), "a…");
        let line = format!("\"{}\"", escaped("\u{1}\"\\ü", 64));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "\u{1}\"\\ü");
    }

    #[test]
    fn a_query_keeps_its_names_and_loses_its_values() {
        let mut line = Vec::new();
        parameter_names(&mut line, Some("token=secret&page=2&flag"));
        assert_eq!(line, b"?token&page&flag");
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let (mut line, mut clock) = (Vec::new(), ClockText::default());
        clock.write(&mut line, UNIX_EPOCH + Duration::from_millis(1_795_000_000_007));
        assert_eq!(line, b"2026-11-18T11:06:40.007Z");
        line.clear();
        millis(&mut line, "d", Duration::from_micros(12_034));
        assert_eq!(line, b",\"d\":12.034");
    }

    #[test]
    fn request_ids_are_uuids_of_version_7_and_differ() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_000_000_007);
        let (a, b) = (request_id(now), request_id(now));
        assert_ne!(a, b);
        let id = uuid::Uuid::parse_str(a.to_str().unwrap()).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }

    #[test]
    fn a_sink_that_does_not_keep_up_costs_records_and_nothing_else() {
        let (queue, buffers) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = RecordSink { queue, dropped: Arc::clone(&dropped) };
        for _ in 0..5 {
            sink.send(b"{}\n{}\n".to_vec(), 2);
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 8);
        assert_eq!(buffers.try_iter().count(), 1);
    }
}
