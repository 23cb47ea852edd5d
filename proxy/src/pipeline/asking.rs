//! The wait of a request for the shared store, between its arrival and its way upstream. Only
//! requests that have to wait pay for it.

use http::request::Parts;
use tokio::time::Instant;

use super::{Arrived, Decision, Origin, forward};
use crate::body::ClientBody;
use crate::policy::admit_shared;
use crate::policy::rate_limit::Question;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::response::Finish;
use crate::snapshot::Snapshot;

/// A request about which the shared store has to be asked.
pub(super) struct Asking {
    pub(super) head: Parts,
    pub(super) question: Box<Question>,
    pub(super) arrived: Arrived,
    pub(super) path: String,
}

/// Waits for the store, then goes on where [`super::decide`] left off.
pub(super) async fn ask(
    asking: Option<Box<Asking>>,
    origin: &Origin,
    snapshot: &Snapshot,
    body: &mut Option<ClientBody>,
    record: &mut Record,
    finish: &mut Finish,
) -> Result<Decision, Rejection> {
    let worker = &*origin.worker;
    let (Some(asking), Some(link)) = (asking, &worker.link) else {
        return Err(Rejection::LimitsUnavailable);
    };
    let Asking { head, question, arrived, path } = *asking;
    let found = arrived.found(&path);
    let (limiter, now) = (&worker.shared.limiter, || worker.now(Instant::now()));
    let admitted = admit_shared(head, question, &found, limiter, link, &snapshot.rules, now);
    forward(admitted.await, arrived, origin, snapshot, body, record, finish)
}
