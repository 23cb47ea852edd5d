//! The worker: takes jobs from the queue and performs them in a real browser.
//!
//! [`Worker::run`] takes a job whenever one is due and a browser is free. A job is held under a
//! lease of [`LEASE_SECONDS`], extended every [`HEARTBEAT`] while it is performed: a worker that is
//! killed leaves it to the next one, [`ATTEMPTS_MAX`] times at most. A job that is cancelled, or
//! that another worker has taken over, is noticed at the next heartbeat, and its browser ends.
//!
//! # At least once
//! A step may be performed again after a worker died between performing and recording it. What is
//! recorded is always of one attempt, from its first step on.

mod job;
mod source;
mod tally;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::queue::Queue;
use crate::store::Store;
use source::{Source, Taken};
use tally::Ended;
pub use tally::Tally;

/// How long a job is a worker's own without a sign of life.
const LEASE_SECONDS: i64 = 20;
/// The same, for clocks.
const LEASE: Duration = Duration::from_secs(LEASE_SECONDS.unsigned_abs());
/// How often a worker shows that it lives; also how long a cancellation may go unnoticed.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often a job is begun before it is given up: by then it is the job that kills workers.
pub const ATTEMPTS_MAX: i32 = 3;
/// Browsers at once. Each takes a core while a page loads, and some 300 MB.
const BROWSERS: usize = 2;
/// How long jobs may take to finish after a stop, before they are given back.
pub const STOP_MAX: Duration = Duration::from_secs(30);

/// Performs jobs of one queue.
#[derive(Clone, Debug)]
pub struct Worker {
    store: Store,
    queue: Option<Queue>,
    tally: Arc<Tally>,
}

impl Worker {
    /// A worker on the jobs of `store`, of which `queue` tells, which counts them in `tally`.
    #[must_use]
    pub fn new(store: Store, queue: Option<Queue>, tally: Arc<Tally>) -> Self {
        Self { store, queue, tally }
    }

    /// Performs jobs until `stop` resolves; then takes no more, finishes what it holds for up to
    /// [`STOP_MAX`], and gives back the rest.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (give_up, given_up) = watch::channel(false);
        let browsers = Arc::new(Semaphore::new(BROWSERS));
        let mut jobs = JoinSet::new();
        let mut source = Source::new(self.store.clone(), self.queue.clone());
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.take(&mut source, &browsers, &mut jobs, &given_up) => {}
            }
            while jobs.try_join_next().is_some() {}
        }
        if jobs.is_empty() {
            return;
        }
        tracing::info!(jobs = jobs.len(), "jobs in hand finish");
        let finished = async { while jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, finished).await.is_err() {
            tracing::warn!(jobs = jobs.len(), after = ?STOP_MAX, "jobs are given back");
            let _ = give_up.send(true);
            while jobs.join_next().await.is_some() {}
        }
    }

    /// Begins a job, if there is one.
    async fn take(
        &self,
        source: &mut Source,
        browsers: &Arc<Semaphore>,
        jobs: &mut JoinSet<()>,
        given_up: &watch::Receiver<bool>,
    ) {
        let Ok(browser) = Arc::clone(browsers).acquire_owned().await else { return };
        let Some(Taken { job, lease, message }) = source.next().await else { return };
        let (worker, given_up) = (self.clone(), given_up.clone());
        jobs.spawn(async move {
            let in_hand = worker.tally.begin();
            let ended = job::perform(&worker.store, &job, &lease, given_up).await;
            if let (Some(queue), Some(message)) = (&worker.queue, &message)
                && ended != Ended::Left
            {
                queue.done(message).await;
            }
            in_hand.end(ended);
            drop(browser);
        });
    }
}
