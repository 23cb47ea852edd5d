//! How the control thread asks the shared store: one connection, one script at a time, an answer in
//! time or none. That it does not answer is said once, and that it answers again.

use std::cell::RefCell;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, from_redis_value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::sets::ALL;
use crate::config::Redis;
use crate::store::{Connection, Script, is_unknown_script};

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a store that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The way to the store.
pub(super) struct Line {
    redis: Redis,
    /// The set of values: one for each secret.
    pub(super) set: String,
    connection: RefCell<Option<Connection>>,
    connecting: Mutex<()>,
    /// Since when the store does not answer, and why.
    away: RefCell<Option<(Instant, String)>>,
}

impl Line {
    pub(super) fn new(redis: Redis, set: String) -> Self {
        Self {
            redis,
            set,
            connection: RefCell::default(),
            connecting: Mutex::default(),
            away: RefCell::default(),
        }
    }

    /// Why the store does not answer, if it does not.
    pub(super) fn away(&self) -> Option<String> {
        self.away.borrow().as_ref().map(|(_, why)| why.clone())
    }

    /// Drops the connection, which belongs to the runtime that it was made in.
    pub(super) fn disconnect(&self) {
        self.connection.take();
    }

    /// Runs a script on keys of the set.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        complete: impl Fn(&mut Cmd),
    ) -> Result<T, String> {
        let keys = keys.iter().map(|key| format!("{ALL}:{}:{key}", self.set));
        understood(self.answer(script, keys.collect(), complete).await?)
    }

    /// The same, on keys that belong to no set, or to another.
    pub(super) async fn ask_all<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        complete: impl Fn(&mut Cmd),
    ) -> Result<T, String> {
        let keys = keys.iter().map(|key| format!("{ALL}:{key}"));
        understood(self.answer(script, keys.collect(), complete).await?)
    }

    async fn answer(
        &self,
        script: &Script,
        keys: Vec<String>,
        complete: impl Fn(&mut Cmd),
    ) -> Result<Value, String> {
        let mut connection = self.connected().await?;
        for known in [true, false] {
            let mut command = script.call(known, keys.len());
            command.arg(&keys);
            complete(&mut command);
            match timeout(PATIENCE, connection.send(&command)).await {
                Ok(Ok(value)) => {
                    if self.away.take().is_some() {
                        tracing::info!("the shared store answers: certificates are shared");
                    }
                    return Ok(value);
                }
                Ok(Err(error)) if known && is_unknown_script(&error) => {}
                Ok(Err(error)) => return Err(self.fall(&error.to_string())),
                Err(_) => return Err(self.fall("no answer in time")),
            }
        }
        Err(self.fall("it forgets scripts at once"))
    }

    /// The connection; a store that did not answer is left alone for a moment.
    async fn connected(&self) -> Result<Connection, String> {
        let _one = self.connecting.lock().await;
        if let Some(connection) = self.connection.borrow().clone() {
            return Ok(connection);
        }
        if let Some((since, why)) = &*self.away.borrow()
            && since.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        match timeout(PATIENCE, Connection::open(&self.redis)).await {
            Ok(Ok(connection)) => {
                self.connection.replace(Some(connection.clone()));
                Ok(connection)
            }
            Ok(Err(error)) => Err(self.fall(&error.to_string())),
            Err(_) => Err(self.fall("no answer in time")),
        }
    }

    /// The store does not answer, which is said once.
    fn fall(&self, why: &str) -> String {
        self.connection.take();
        let why = format!("the shared store does not answer: {why}");
        if self.away.replace(Some((Instant::now(), why.clone()))).is_none() {
            tracing::warn!("certificates stay as they are, and none is renewed: {why}");
        }
        why
    }
}

fn understood<T: FromRedisValue>(answer: Value) -> Result<T, String> {
    from_redis_value(answer).map_err(|error| format!("it answers nonsense: {error}"))
}
