//! What is kept of certificates: they themselves with their keys, their lives, accounts with CAs,
//! pending orders, the development CA. In a directory, or in the store that instances share.
//!
//! Reading asks nobody: of what is shared, an instance has a copy, which it brings up to date a few
//! times a second. Whoever changes what is kept of a name leads it ([`Vault::lead`]), as one
//! instance does at a time. All of it is the control thread's; no request waits for it.

mod known;
mod lease;
mod line;
mod mend;
mod seal;
mod sets;
mod shared;

use std::io;
use std::time::Duration;

use crate::config::Config;
use crate::tls::lock::Lock;
use crate::tls::store::{Store, StoreError};

use self::lease::Held;
pub(crate) use self::shared::Shared;

/// How often somebody who cannot lead a name yet looks again, and for how long.
const AGAIN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);

/// Where it is kept.
pub(crate) enum Vault {
    Directory(Store),
    Shared(Box<Shared>),
}

/// The right to change what is kept of one name; it ends when it is [given back](Vault::release),
/// or soon after this is dropped. In a directory, it is held against other processes.
#[derive(Debug)]
pub(crate) struct Lead {
    held: Option<Held>,
    _lock: Option<Lock>,
}

impl Vault {
    /// Opens the directory and proves that it can be written to; what is shared is asked for later.
    pub(crate) fn open(config: &Config) -> Result<Self, StoreError> {
        match &config.store.redis {
            Some(redis) if config.tls.shared => {
                let secret = config.store.encryption_key.as_ref();
                Ok(Self::Shared(Box::new(Shared::new(redis.clone(), secret)?)))
            }
            _ => Store::open(&config.tls.store).map(Self::Directory),
        }
    }

    /// What is shared, if this is.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Directory(_) => None,
            Self::Shared(shared) => Some(shared),
        }
    }

    /// A file's text; `None` if there is none.
    pub(crate) fn read(&self, file: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::Directory(store) => store.read(file),
            Self::Shared(shared) => Ok(shared.read(file)),
        }
    }

    /// Begins to lead a name, and knows from then on what the last leader has written; `None` if
    /// another instance leads it.
    pub(crate) async fn lead(&self, name: &str) -> Result<Option<Lead>, StoreError> {
        match self {
            Self::Directory(store) => {
                Ok(store.lock(name).map(|lock| Lead { held: None, _lock: lock }))
            }
            Self::Shared(shared) => {
                let held = shared.lead(name).await?;
                Ok(held.map(|held| Lead { held: Some(held), _lock: None }))
            }
        }
    }

    /// The same, waiting until the other one is done.
    pub(crate) async fn lead_in_turn(&self, name: &str) -> Result<Lead, StoreError> {
        let wait = async {
            loop {
                if let Some(lead) = self.lead(name).await? {
                    return Ok(lead);
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| {
            Err(StoreError::shared("change", name, "another instance is at it"))
        })
    }

    /// Ends to lead a name, at once.
    pub(crate) async fn release(&self, lead: Lead) {
        if let (Self::Shared(shared), Some(held)) = (self, lead.held) {
            shared.release(held).await;
        }
    }

    /// Ends to lead whatever is led, because the process ends: others go on at once.
    pub(crate) async fn resign(&self) {
        if let Self::Shared(shared) = self {
            shared.leases.give_back(&shared.line).await;
        }
    }

    /// Writes a whole file or none.
    pub(crate) async fn write(
        &self,
        lead: &Lead,
        file: &str,
        content: &[u8],
    ) -> Result<(), StoreError> {
        match (self, &lead.held) {
            (Self::Shared(shared), Some(held)) => {
                shared.write(held, file, Some(content)).await.map(drop)
            }
            (Self::Directory(store), _) => store.write(file, content),
            (Self::Shared(_), None) => Err(StoreError::shared("write", file, "nobody leads it")),
        }
    }

    /// Lets every instance know a file, before anything else is done; one that has nobody to share
    /// with knows it already.
    pub(crate) async fn share(
        &self,
        lead: &Lead,
        file: &str,
        content: &[u8],
    ) -> Result<(), StoreError> {
        match (self, &lead.held) {
            (Self::Shared(shared), Some(held)) => shared.share(held, file, content).await,
            _ => Ok(()),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) async fn remove(&self, lead: &Lead, file: &str) -> Result<(), StoreError> {
        match (self, &lead.held) {
            (Self::Shared(_), _) if self.read(file)?.is_none() => Ok(()),
            (Self::Shared(shared), Some(held)) => shared.write(held, file, None).await.map(drop),
            (Self::Directory(store), _) => store.remove(file),
            (Self::Shared(_), None) => Err(StoreError::shared("remove", file, "nobody leads it")),
        }
    }

    /// Renames a file that cannot be used, so that it is neither read again nor lost. Says where
    /// it is then.
    pub(crate) fn set_aside(&self, file: &str) -> Result<String, StoreError> {
        match self {
            Self::Directory(store) => Ok(store.set_aside(file)?.display().to_string()),
            Self::Shared(shared) => Ok(shared.set_aside(file)),
        }
    }

    /// Where a file is, for people.
    pub(crate) fn place(&self, file: &str) -> String {
        match self {
            Self::Directory(store) => store.path(file).display().to_string(),
            Self::Shared(_) => format!("{file} in the shared store"),
        }
    }

    /// Proves that files can be written. Where they are shared, who leads has just written.
    pub(crate) fn prove(&self) -> Result<(), StoreError> {
        match self {
            Self::Directory(store) => store.prove(),
            Self::Shared(_) => Ok(()),
        }
    }
}

/// Does on a thread of its own what has to wait, for a caller that cannot: it is no task, or one of
/// another runtime.
pub(crate) fn apart<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    };
    let thread = std::thread::Builder::new().name("vault".to_owned()).spawn(run)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}

#[cfg(test)]
mod tests;
