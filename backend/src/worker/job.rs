//! One job, from its lease to its end.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;
use uuid::Uuid;

use super::tally::Ended;
use super::{ATTEMPTS_MAX, HEARTBEAT, LEASE, LEASE_SECONDS};
use crate::browser::{Browser, BrowserError, StepResult};
use crate::domain::failure::Failure;
use crate::domain::timestamp::Timestamp;
use crate::http::problem::Causes;
use crate::store::{Job, Lease, Outcome, Store, StoreError, Work};

/// Performs a job for as long as it is this worker's.
pub(super) async fn perform(
    store: &Store,
    job: &Job,
    lease: &Lease,
    mut given_up: watch::Receiver<bool>,
) -> Ended {
    let span = tracing::info_span!("job", id = %job.id, attempt = job.attempts);
    // A lease that is left ends by itself, and then somebody tries again.
    let left = |error: StoreError| {
        tracing::warn!(cause = %Causes(&error), "the job is left to its lease");
        Ended::Left
    };
    async {
        tokio::select! {
            done = work(store, job, lease) => done.unwrap_or_else(left),
            () = lost(store, job, lease) => {
                tracing::info!("cancelled, or taken over");
                Ended::Lost
            }
            () = told(&mut given_up) => {
                let released = store.release_job(job, lease).await;
                released.map_or_else(left, |()| Ended::Left)
            }
        }
    }
    .instrument(span)
    .await
}

/// Resolves when all jobs are to be given back.
async fn told(given_up: &mut watch::Receiver<bool>) {
    // An error means that the worker is gone, which is just as good a reason.
    let _ = given_up.wait_for(|given_up| *given_up).await;
}

/// Extends the lease until it is lost. A database that is away for less than the lease costs
/// nothing.
async fn lost(store: &Store, job: &Job, lease: &Lease) {
    let mut good_until = tokio::time::Instant::now() + LEASE;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let now = tokio::time::Instant::now();
        match store.extend_lease(job, lease, LEASE_SECONDS).await {
            Ok(true) => good_until = now + LEASE,
            Ok(false) => return,
            Err(_away) if now < good_until => {}
            Err(_away) => return,
        }
    }
}

async fn work(store: &Store, job: &Job, lease: &Lease) -> Result<Ended, StoreError> {
    let outcome = if job.attempts > ATTEMPTS_MAX {
        failed(&format!("{ATTEMPTS_MAX} workers were lost while they performed it"))
    } else if let Some(execution) = job.test_execution_id {
        match store.begin_execution((job, lease), execution, Timestamp::now()).await? {
            Some(work) => execute(store, job, lease, execution, work).await?,
            None => failed("it was over before it began"),
        }
    } else if let Some(suite) = job.suite_execution_id {
        match execute_suite(store, job, lease, suite).await? {
            Some(outcome) => outcome,
            None => return Ok(Ended::Left),
        }
    } else {
        return Ok(Ended::Lost);
    };
    store.end_job((job, lease), &outcome, Timestamp::now()).await?;
    tracing::info!(?outcome, "performed");
    Ok(match outcome {
        Outcome::Passed => Ended::Passed,
        Outcome::Failed(_) => Ended::Failed,
    })
}

/// All tests of a suite in order, also after one that failed. What was finished before is not done
/// again. Between two of them others may have their turn; then there is no outcome yet.
async fn execute_suite(
    store: &Store,
    job: &Job,
    lease: &Lease,
    suite: Uuid,
) -> Result<Option<Outcome>, StoreError> {
    let executions = store.begin_suite((job, lease), suite, Timestamp::now()).await?;
    for (place, execution) in executions.into_iter().enumerate() {
        if place > 0 && store.pass_turn(job, lease).await? {
            tracing::info!("somebody else's turn");
            return Ok(None);
        }
        let begun = store.begin_execution((job, lease), execution, Timestamp::now()).await?;
        let Some(work) = begun else { continue };
        let outcome = execute(store, job, lease, execution, work).await?;
        store.end_execution((job, lease), execution, &outcome, Timestamp::now()).await?;
    }
    let unpassed = store.unpassed(suite).await?;
    Ok(Some(match unpassed {
        0 => Outcome::Passed,
        1 => failed("1 test did not pass"),
        many => failed(&format!("{many} tests did not pass")),
    }))
}

/// Performs one execution in a browser of its own, and records each step as it is done.
async fn execute(
    store: &Store,
    job: &Job,
    lease: &Lease,
    execution: Uuid,
    Work { steps, timeout_seconds }: Work,
) -> Result<Outcome, StoreError> {
    let browser = match Browser::find_in_path() {
        Ok(browser) => browser,
        Err(missing) => return Ok(unstarted(&missing)),
    };
    let (send, mut results) = mpsc::channel::<StepResult>(1);
    let record = async {
        let mut failure = None;
        while let Some(result) = results.recv().await {
            let Some(step) = steps.as_slice().get(result.index) else { continue };
            store.record_step((job, lease), execution, step, &result).await?;
            failure = result
                .failure
                .map(|why| Failure::new(&format!("step {}: {}", result.index + 1, why.as_str())));
        }
        Ok::<_, StoreError>(failure.map_or(Outcome::Passed, Outcome::Failed))
    };
    let run = async { Ok::<_, StoreError>(browser.run(&steps, send).await) };
    let timeout = Duration::from_secs(u64::try_from(timeout_seconds).unwrap_or_default());
    match tokio::time::timeout(timeout, async { tokio::try_join!(run, record) }).await {
        Ok(done) => {
            let (ran, outcome) = done?;
            Ok(ran.map_or_else(|error| unstarted(&error), |()| outcome))
        }
        Err(_elapsed) => Ok(failed(&format!("not finished after {timeout:?}"))),
    }
}

fn unstarted(error: &BrowserError) -> Outcome {
    tracing::error!(cause = %Causes(error), "there is no browser");
    failed(&error.to_string())
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed(Failure::new(reason))
}
