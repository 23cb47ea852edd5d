//! A report on its way in, on a worker: so many, so large, so fast.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Body as _;
use tokio::time::Instant;

use super::Reports;
use super::parse::Form;
use crate::body::ClientBody;
use crate::policy::headers::REPORTS_PATH;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::response::Answer;
use crate::site::{Host, Site};

/// How many reports a worker takes: in all, and of one client.
pub(crate) struct Intake {
    reports: Reports,
    since: Cell<Instant>,
    all: Cell<u32>,
    /// By the hash of the client, so that there is no table to fill.
    clients: RefCell<[u8; Self::CLIENTS]>,
    hasher: RandomState,
}

impl Intake {
    /// How long a round of counting is.
    const ROUND: Duration = Duration::from_secs(10);
    /// Requests with reports in a round.
    const MOST: u32 = 500;
    /// Of those, by one client.
    const MOST_OF_CLIENT: u8 = 50;
    const CLIENTS: usize = 256;

    pub(crate) fn new(reports: Reports, now: Instant) -> Self {
        Self {
            reports,
            since: Cell::new(now),
            all: Cell::new(0),
            clients: RefCell::new([0; Self::CLIENTS]),
            hasher: RandomState::new(),
        }
    }

    /// Counts a request, if it is not one too many.
    fn admit(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.clients.borrow_mut();
        if now.saturating_duration_since(self.since.get()) >= Self::ROUND {
            self.since.set(now);
            self.all.set(0);
            *clients = [0; Self::CLIENTS];
        }
        #[expect(clippy::cast_possible_truncation, reason = "any part of a hash will do")]
        let slot = self.hasher.hash_one(client) as usize % Self::CLIENTS;
        let Some(of_client) = clients.get_mut(slot) else { return false };
        if self.all.get() >= Self::MOST || *of_client >= Self::MOST_OF_CLIENT {
            self.reports.drop(1);
            return false;
        }
        *of_client += 1;
        self.all.set(self.all.get() + 1);
        true
    }
}

/// A report that is about to be read.
pub(crate) struct Receiving {
    form: Option<Form>,
    site: String,
    host: String,
}

/// Bytes of a request with reports.
const LARGEST: usize = 64 << 10;

/// How long a client may take to send them.
const PATIENCE: Duration = Duration::from_secs(10);

impl Receiving {
    /// `None` if it is not reports that a request brings, or if the site collects none.
    pub(crate) fn of(head: &Parts, path: &str, site: &Site, host: &Host) -> Option<Box<Self>> {
        let site = site.reports.as_deref()?;
        if head.method != Method::POST || path != REPORTS_PATH {
            return None;
        }
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let form = content_type.and_then(|value| value.to_str().ok()).and_then(Form::named);
        // With the port, as the page's own URL has it.
        let host = String::from_utf8_lossy(host.field.as_bytes()).into_owned();
        Some(Box::new(Self { form, site: site.to_owned(), host }))
    }

    /// Reads the reports and hands them over.
    pub(crate) async fn receive(
        self: Box<Self>,
        body: &mut Option<ClientBody>,
        record: &Record,
    ) -> Result<Answer, Rejection> {
        let (worker, client) = (record.worker(), record.client.bucket);
        let intake = &worker.intake;
        let status = |status| Ok(Answer::Own(status, HeaderMap::new()));
        let Some(form) = self.form else { return status(StatusCode::UNSUPPORTED_MEDIA_TYPE) };
        if !intake.admit(client, Instant::now()) {
            return status(StatusCode::TOO_MANY_REQUESTS);
        }
        let body = body.take().ok_or(Rejection::BodyAborted)?;
        let deadline = worker.deadlines.deadline();
        deadline.arm(PATIENCE);
        let bytes = deadline.guard(collect(body)).await.ok_or(Rejection::BodyTimeout)??;
        let Some(violations) = form.read(&bytes, &self.site, &self.host) else {
            return status(StatusCode::BAD_REQUEST);
        };
        violations.into_iter().for_each(|violation| intake.reports.report(violation));
        status(StatusCode::NO_CONTENT)
    }
}

/// What is a little too large is read to its end all the same, so that the answer arrives.
async fn collect(mut body: ClientBody) -> Result<Vec<u8>, Rejection> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Rejection::BodyAborted)?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        match length {
            0..=LARGEST => bytes.extend_from_slice(&data),
            length if length > 4 * LARGEST => return Err(Rejection::BodyTooLarge),
            _ => {}
        }
    }
    if length > LARGEST { Err(Rejection::BodyTooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_room_for_so_many() {
        let (reports, thread) = Reports::start(None).unwrap();
        let now = Instant::now();
        let intake = Intake::new(reports, now);
        let admitted = |from: u32, count: u32, now| {
            let client = |n: u32| IpAddr::from((from + n).to_be_bytes());
            (0..count).filter(|n| intake.admit(client(*n), now)).count()
        };
        let one = (0..100).filter(|_| admitted(7, 1, now) == 1).count();
        assert_eq!(one, usize::from(Intake::MOST_OF_CLIENT));
        let all = one + admitted(1_000, 10_000, now);
        assert_eq!(all, Intake::MOST as usize);
        assert_eq!(admitted(7, 1, now + Intake::ROUND), 1);
        assert!(intake.reports.overview().dropped >= 50);
        drop(intake);
        thread.join().unwrap();
    }
}
