//! Where jobs come from: the stream in Redis, where there is one, and the table, which has them
//! all.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{LEASE, LEASE_SECONDS};
use crate::http::problem::Causes;
use crate::queue::{Message, Queue};
use crate::store::{Job, Lease, Store, StoreError};

/// How often the table is asked where nobody tells of jobs.
const POLL: Duration = Duration::from_millis(250);
/// How often it is asked although the stream tells: for jobs that were never announced, or whose
/// announcement was lost. Also how long a Redis that does not answer is left alone.
const LOOK: Duration = Duration::from_secs(5);
/// How long to leave a database alone that did not answer.
const AWAY: Duration = Duration::from_secs(2);

/// A job that is this worker's.
pub(super) struct Taken {
    pub(super) job: Job,
    pub(super) lease: Lease,
    /// The announcement that led to it, of this job or another.
    pub(super) message: Option<Message>,
}

/// Takes jobs.
pub(super) struct Source {
    store: Store,
    queue: Option<Queue>,
    /// When the table is asked again, whatever the stream tells.
    look_at: Instant,
    /// Until when the stream is not asked.
    silent_until: Instant,
}

impl Source {
    pub(super) fn new(store: Store, queue: Option<Queue>) -> Self {
        let now = Instant::now();
        Self { store, queue, look_at: now, silent_until: now }
    }

    /// The table is asked next, whatever the stream tells.
    pub(super) fn look_at_once(&mut self) {
        self.look_at = Instant::now();
    }

    /// Takes a job of anybody but `passed_over`, or waits a little. Dropping it loses nothing but a
    /// lease.
    pub(super) async fn next(&mut self, passed_over: Option<Uuid>) -> Option<Taken> {
        let taken = match self.queue.clone() {
            Some(queue) if Instant::now() < self.look_at && Instant::now() >= self.silent_until => {
                self.take_told(&queue, passed_over).await
            }
            _ => self.take_due(passed_over).await,
        };
        match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(cause = %Causes(&error), "the queue cannot be asked");
                tokio::time::sleep(AWAY).await;
                None
            }
        }
    }

    /// A message says that there is a job; the table says whose turn it is.
    async fn take_told(
        &mut self,
        queue: &Queue,
        passed_over: Option<Uuid>,
    ) -> Result<Option<Taken>, StoreError> {
        let message = match queue.next(LEASE).await {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(cause = %Causes(&error), "Redis is away; the table is asked");
                self.silent_until = Instant::now() + LOOK;
                None
            }
        };
        let Some(message) = message else { return Ok(None) };
        let taken = self.take(passed_over).await?;
        if taken.is_none() {
            queue.done(&message).await;
        }
        Ok(taken.map(|taken| Taken { message: Some(message), ..taken }))
    }

    async fn take_due(&mut self, passed_over: Option<Uuid>) -> Result<Option<Taken>, StoreError> {
        let taken = self.take(passed_over).await?;
        if taken.is_none() {
            self.look_at = Instant::now() + LOOK;
            let stream_tells = self.queue.is_some() && Instant::now() >= self.silent_until;
            if !stream_tells {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(taken)
    }

    async fn take(&self, passed_over: Option<Uuid>) -> Result<Option<Taken>, StoreError> {
        let lease = Lease::unique();
        let job = self.store.take_job(&lease, LEASE_SECONDS, passed_over).await?;
        Ok(job.map(|job| Taken { job, lease, message: None }))
    }
}
