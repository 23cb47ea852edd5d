//! A worker in a process of its own, which says whether it is ready where `WORKER_BIND` wants it.

use std::future::Future;
use std::sync::Arc;

use super::StartError;
use super::listener::BoundListener;
use crate::config::WorkerConfig;
use crate::http::health;
use crate::queue::Queue;
use crate::store::Store;
use crate::supervisor;
use crate::worker::Worker;

/// Performs executions until `stop` resolves, then finishes those in hand.
///
/// # Errors
/// What keeps it from starting; nothing is left open.
pub async fn work(config: WorkerConfig, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let WorkerConfig { database, pool, redis, bind } = config;
    let queue = redis.map(Queue::new).transpose()?;
    let listener = match &bind {
        Some(bind) => Some(BoundListener::bind("WORKER_BIND", bind).await?),
        None => None,
    };
    let store = Store::open(&database, pool)
        .await
        .map_err(|error| StartError::Store(database.clone(), error))?;
    // Until the end, since a worker that finishes its jobs is well.
    let health = health::of_worker(store.clone());
    let answering =
        listener.map(|listener| tokio::spawn(listener.serve(health, std::future::pending())));
    tracing::info!(%database, redis = queue.is_some(), "working");
    supervisor::serves();
    let stop = async {
        stop.await;
        supervisor::stops();
    };
    Worker::new(store.clone(), queue, Arc::default()).run(stop).await;
    if let Some(answering) = answering {
        answering.abort();
        // Its socket's file is removed by then.
        let _ = answering.await;
    }
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}
