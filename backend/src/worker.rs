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

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use crate::browser::Browser;
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
/// Browsers at once. Each takes a core while a page loads, and some 300 MB. One user never has the
/// last of them: a test may take an hour, and somebody else may come in the meantime.
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
        if let Err(missing) = Browser::find_in_path() {
            tracing::warn!(cause = %missing, "until that is mended, executions fail");
        }
        let (give_up, given_up) = watch::channel(false);
        let mut source = Source::new(self.store.clone(), self.queue.clone());
        let mut hand = Hand::default();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.take(&mut source, &mut hand, &given_up) => {}
            }
        }
        let mut jobs = hand.jobs;
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

    /// Begins a job, if there is one, as soon as there is a browser for it.
    async fn take(&self, source: &mut Source, hand: &mut Hand, given_up: &watch::Receiver<bool>) {
        if hand.await_a_browser().await {
            source.look_at_once();
        }
        let Some(taken) = source.next(hand.has_its_share()).await else { return };
        let Taken { job, lease, message } = taken;
        let (worker, given_up, user) = (self.clone(), given_up.clone(), job.user_id);
        let job = hand.jobs.spawn(async move {
            let in_hand = worker.tally.begin();
            let ended = job::perform(&worker.store, &job, &lease, given_up).await;
            if let (Some(queue), Some(message)) = (&worker.queue, &message)
                && ended != Ended::Left
            {
                queue.done(message).await;
            }
            in_hand.end(ended);
        });
        hand.users.insert(job.id(), user);
    }
}

/// The jobs that a worker performs, each in a browser.
#[derive(Default)]
struct Hand {
    jobs: JoinSet<()>,
    /// Whose they are.
    users: HashMap<Id, Option<Uuid>>,
}

impl Hand {
    /// Waits until a browser is free; says whether a job has ended since the last time.
    async fn await_a_browser(&mut self) -> bool {
        let mut has_ended = false;
        while self.jobs.len() >= BROWSERS {
            let ended = self.jobs.join_next_with_id().await;
            has_ended |= self.forget(ended);
        }
        while let ended @ Some(_) = self.jobs.try_join_next_with_id() {
            has_ended |= self.forget(ended);
        }
        has_ended
    }

    /// A job that panicked has ended, too; its lease does the rest.
    fn forget(&mut self, ended: Option<Result<(Id, ()), JoinError>>) -> bool {
        let id = ended.map(|ended| ended.map_or_else(|panic| panic.id(), |(id, ())| id));
        id.is_some_and(|id| self.users.remove(&id).is_some())
    }

    /// The user who has all browsers but one.
    fn has_its_share(&self) -> Option<Uuid> {
        let mut users = self.users.values();
        let first = *users.next()?;
        let are_all_the_same = users.all(|user| *user == first);
        first.filter(|_| are_all_the_same && self.users.len() == BROWSERS - 1)
    }
}
