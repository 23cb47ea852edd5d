//! Who leads a name: one instance at a time, for as long as it says so every few seconds.
//!
//! Each lease has a token that is greater than all before it, and the store checks it with each
//! change that is made under the lease (fencing). Whoever led a name, was held up and has been
//! replaced meanwhile is refused, however late it comes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::line::Line;
use crate::store::Script;

/// How long a lease lasts, and how often it is renewed.
const LENGTH: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);

/// How long it is renewed at most: whatever takes longer hangs, and another instance may try.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("lease.lua")]));

/// The leases of this instance.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Tokens,
    renewed: Cell<Option<Instant>>,
}

/// By token: the name, and since when.
type Tokens = Arc<Mutex<BTreeMap<String, (String, Instant)>>>;

/// A lease that is renewed until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) token: String,
    all: Tokens,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.token);
    }
}

fn lock(tokens: &Tokens) -> MutexGuard<'_, BTreeMap<String, (String, Instant)>> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    /// Takes the lease of a name; `None` if it is somebody's.
    pub(super) async fn take(&self, line: &Line, name: &str) -> Result<Option<Held>, String> {
        let token = ask(line, name, LENGTH, "").await?;
        Ok((token != "0").then(|| {
            lock(&self.held).insert(token.clone(), (name.to_owned(), Instant::now()));
            Held { name: name.to_owned(), token, all: Arc::clone(&self.held) }
        }))
    }

    /// Gives a lease back. One that cannot be given back ends by itself.
    pub(super) async fn release(line: &Line, held: Held) {
        let (name, token) = (held.name.clone(), held.token.clone());
        drop(held);
        _ = ask(line, &name, Duration::ZERO, &token).await;
    }

    /// Gives all of them back, as far as the store answers.
    pub(super) async fn give_back(&self, line: &Line) {
        let held = std::mem::take(&mut *lock(&self.held));
        for (token, (name, _)) in held {
            if ask(line, &name, Duration::ZERO, &token).await.is_err() {
                return;
            }
        }
    }

    /// Renews all of them, when it is time.
    pub(super) async fn renew(&self, line: &Line, now: Instant) -> Result<(), String> {
        if self.renewed.get().is_some_and(|at| now < at + RENEW) {
            return Ok(());
        }
        self.renewed.set(Some(now));
        let held = lock(&self.held).clone();
        for (token, (name, since)) in held {
            if now > since + LONGEST {
                tracing::error!(name, "what is done about its certificate takes too long");
                lock(&self.held).remove(&token);
            } else if ask(line, &name, LENGTH, &token).await? == "0" {
                tracing::warn!(name, "another instance has taken over");
                lock(&self.held).remove(&token);
            }
        }
        Ok(())
    }
}

/// Takes the lease of a name with an empty token, renews it with its own, or gives it back.
async fn ask(line: &Line, name: &str, length: Duration, token: &str) -> Result<String, String> {
    let lease = format!("lease:{name}");
    let keys = [lease.as_str(), "fences", "meta"];
    let complete = |command: &mut redis::Cmd| {
        command.arg(name).arg(length.as_millis().to_string()).arg(token);
    };
    line.ask(&LEASE, &keys, complete).await
}
