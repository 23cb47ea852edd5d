//! The sweep: now and then, what has had its time leaves the database.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;
use crate::http::problem::Causes;
use crate::store::Store;

/// How often there is a sweep; the first is at start.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Most batches of one sweep: what is left waits for the next.
const BATCHES_MAX: usize = 100;
/// Between two batches, so that requests go first.
const PAUSE: Duration = Duration::from_millis(50);

/// Sweeps until it is dropped. Several instances may do so at once.
pub(super) async fn run(store: &Store) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for _batch in 0..BATCHES_MAX {
            match store.forget_expired(Timestamp::now()).await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(cause = %Causes(&error), "the sweep ends early");
                    break;
                }
            }
        }
    }
}
