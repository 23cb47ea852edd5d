//! What instances share, in the store of `[store]`: each value sealed, each change numbered.
//!
//! An instance keeps a copy and asks for what has changed since, a few times a second. What has to
//! be seen by all before something else is done ([`Shared::share`]: the answer of a challenge,
//! before the CA looks for it) waits until every instance that is alive has said so.
//!
//! # Why
//!
//! Answers are carried to all instances before anybody can ask for them, rather than looked up by
//! whoever is asked: so no request ever waits for the store, and no flood of made-up tokens reaches
//! it.
//!
//! Values of another secret are another set of values, which is neither read nor touched. Instances
//! with different secrets would otherwise overwrite one another's certificates for ever, and the CA
//! would be asked for each.
//!
//! What is done about values that are lost or cannot be used stands in [`super::mend`], what is
//! said of those of other secrets in [`super::sets`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value, from_redis_value};
use tokio::time::{Instant, sleep};

use super::known::Known;
use super::lease::{Held, Leases};
use super::line::Line;
use super::seal::Seal;
use super::sets::PLAIN;
use crate::config::{Redis, Secret};
use crate::store::Script;
use crate::tls::store::StoreError;

/// How long an instance counts as alive after it has last asked what has changed.
const ALIVE: Duration = Duration::from_millis(2_500);

/// How long a leader waits at most until all have seen what it shares.
const SEEN_WITHIN: Duration = Duration::from_secs(4);

static PULL: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("pull.lua")]));
static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("write.lua")]));

/// The values that instances share.
pub(crate) struct Shared {
    pub(super) line: Line,
    seal: Option<Seal>,
    pub(super) leases: Leases,
    pub(super) known: RefCell<Known>,
    /// All changes up to this one have been put to use.
    used: Cell<u64>,
    /// By what other instances know this one, if they wait for what it sees.
    id: RefCell<String>,
    /// The store has begun anew, and may lack what is known here.
    owes: Cell<bool>,
    /// Values to be renamed, at these versions.
    pub(super) aside: RefCell<Vec<(String, u64)>>,
}

impl Shared {
    /// Changes that are asked for at a time.
    pub(super) const CHANGES: usize = 128;

    /// The largest value that is taken from the store, in bytes.
    pub(super) const LARGEST: usize = 1 << 20;

    pub(super) fn new(redis: Redis, secret: Option<&Secret>) -> Result<Self, StoreError> {
        let no_key = || StoreError::shared("seal", "anything", "no key can be derived");
        let seal = secret.map(|secret| Seal::new(&secret.0).ok_or_else(no_key)).transpose()?;
        let set = seal.as_ref().map_or(PLAIN, |seal| &seal.id).to_owned();
        Ok(Self {
            line: Line::new(redis, set),
            seal,
            leases: Leases::default(),
            known: RefCell::default(),
            used: Cell::new(0),
            id: RefCell::default(),
            owes: Cell::new(false),
            aside: RefCell::default(),
        })
    }

    /// Which set of values this is.
    pub(super) fn set(&self) -> &str {
        &self.line.set
    }

    /// Whether values are encrypted.
    pub(crate) fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// What ticket keys are derived from, if there is a secret to derive it from.
    pub(crate) fn tickets(&self) -> Option<[u8; 32]> {
        self.seal.as_ref().map(|seal| seal.tickets)
    }

    /// Why the store does not answer, if it does not.
    pub(crate) fn away(&self) -> Option<String> {
        self.line.away()
    }

    /// Drops the connection, which belongs to the runtime that it was made in.
    pub(crate) fn disconnect(&self) {
        self.line.disconnect();
    }

    pub(super) fn read(&self, file: &str) -> Option<String> {
        self.known.borrow().read(file)
    }

    /// Brings the copy up to date and keeps the leases of this instance. From the first time on,
    /// others wait for what it sees. Says which files have changed since this was last asked: the
    /// caller puts all of them to use before it waits for anything.
    pub(crate) async fn follow(&self) -> Result<BTreeSet<String>, StoreError> {
        if self.id.borrow().is_empty() {
            self.id.replace(format!("{:016x}", fastrand::u64(..)));
        }
        let kept = self.leases.renew(&self.line, Instant::now()).await;
        kept.map_err(|why| StoreError::shared("lead", "anything", &why))?;
        self.pull().await?;
        Ok(self.changed())
    }

    /// The files that have changed since this was last asked, which the caller puts to use at once.
    pub(crate) fn changed(&self) -> BTreeSet<String> {
        let mut known = self.known.borrow_mut();
        self.used.set(known.version);
        known.take_changed()
    }

    /// Brings the copy up to date. Says up to which change all instances have put all to use.
    pub(crate) async fn pull(&self) -> Result<u64, StoreError> {
        let failed = |why: String| StoreError::shared("read", "what has changed", &why);
        self.put_aside().await.map_err(failed)?;
        loop {
            let (count, seen) = self.pull_some().await.map_err(failed)?;
            if count < Self::CHANGES {
                if self.owes.get() {
                    self.give_back().await.map_err(failed)?;
                    let others = self.others().await.map_err(failed)?;
                    others.iter().for_each(|said| tracing::warn!("{said}"));
                    self.owes.set(false);
                }
                return Ok(seen);
            }
        }
    }

    /// Says how many changes came, and what all instances have put to use.
    async fn pull_some(&self) -> Result<(usize, u64), String> {
        let fresh = format!("{:016x}", fastrand::u64(..));
        let (epoch, version) = {
            let known = self.known.borrow();
            (known.epoch.clone(), known.version)
        };
        let (id, used) = (self.id.borrow().clone(), self.used.get());
        let complete = |command: &mut Cmd| {
            command.arg(&fresh).arg(&epoch).arg(version).arg(Self::CHANGES);
            command.arg(&id).arg(used).arg(ALIVE.as_millis().to_string());
        };
        let keys = ["values", "changes", "meta", "instances"];
        let answer: (String, i64, Vec<Value>) = self.line.ask(&PULL, &keys, complete).await?;
        let (epoch, seen, changes) = answer;
        if self.known.borrow().epoch != epoch {
            self.known.borrow_mut().begin(epoch);
            self.used.set(0);
            self.owes.set(true);
        }
        let count = changes.len();
        for change in changes {
            let change: (String, u64, Option<Vec<u8>>) = from_redis_value(change)
                .map_err(|error| format!("it answers nonsense: {error}"))?;
            self.take_over(change);
        }
        Ok((count, u64::try_from(seen).unwrap_or(0)))
    }

    /// Puts one change into the copy.
    fn take_over(&self, (file, version, value): (String, u64, Option<Vec<u8>>)) {
        let mut known = self.known.borrow_mut();
        match value.map(|value| self.open(&file, value)).transpose() {
            Ok(text) => known.put(&file, version, text),
            Err(why) => {
                tracing::error!("{file} in the shared store is set aside: {why}");
                known.put(&file, version, None);
                self.aside.borrow_mut().push((file, version));
            }
        }
        known.version = known.version.max(version);
    }

    /// The text of a value, as the store has it.
    fn open(&self, file: &str, value: Vec<u8>) -> Result<String, &'static str> {
        if value.len() > Self::LARGEST {
            return Err("it is too large");
        }
        let value = match &self.seal {
            Some(seal) => {
                seal.open(file, &value).ok_or("it was sealed by another key, or altered")?
            }
            None => value,
        };
        String::from_utf8(value).map_err(|_| "it is no text")
    }

    pub(super) fn sealed(&self, file: &str, content: &[u8]) -> Result<Vec<u8>, String> {
        match &self.seal {
            Some(seal) => seal.seal(file, content).ok_or_else(|| "it cannot be sealed".to_owned()),
            None => Ok(content.to_vec()),
        }
    }

    pub(super) async fn lead(&self, name: &str) -> Result<Option<Held>, StoreError> {
        let held = self.leases.take(&self.line, name).await;
        let held = held.map_err(|why| StoreError::shared("lead", name, &why))?;
        if held.is_some() {
            self.pull().await?;
        }
        Ok(held)
    }

    pub(super) async fn release(&self, held: Held) {
        Leases::release(&self.line, held).await;
    }

    /// Writes or removes a file, and says which change that was.
    pub(super) async fn write(
        &self,
        held: &Held,
        file: &str,
        content: Option<&[u8]>,
    ) -> Result<u64, StoreError> {
        let failed = |why: String| StoreError::shared("write", file, &why);
        let sealed = content.map(|content| self.sealed(file, content)).transpose();
        let sealed = sealed.map_err(failed)?;
        let complete = |command: &mut Cmd| {
            command.arg(&held.name).arg(&held.token).arg(file);
            if let Some(sealed) = &sealed {
                command.arg(sealed);
            }
        };
        let keys = ["values", "changes", "meta", "fences"];
        let version = self.line.ask::<u64>(&WRITE, &keys, complete).await.map_err(failed)?;
        if version == 0 {
            return Err(failed("another instance has taken over".to_owned()));
        }
        let text = content.map(|content| String::from_utf8_lossy(content).into_owned());
        self.known.borrow_mut().put(file, version, text);
        Ok(version)
    }

    /// Writes a file, and waits until every instance that is alive has put it to use.
    pub(super) async fn share(
        &self,
        held: &Held,
        file: &str,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let version = self.write(held, file, Some(content)).await?;
        let by = Instant::now() + SEEN_WITHIN;
        while self.pull().await? < version {
            if Instant::now() > by {
                tracing::warn!("an instance has not seen {file} in time");
                break;
            }
            sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }
}
