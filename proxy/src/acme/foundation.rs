//! What instances have in common besides certificates: the development CA, and the secret that
//! session tickets come of. Both are made once, by whichever instance is first.
//!
//! An instance that starts while the shared store does not answer makes do with a CA and a secret
//! of its own, and takes over those of all as soon as it hears of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;

use super::Issuance;
use crate::config::{Config, Issuer};
use crate::tls::internal::{Authority, InternalError, ROOT};
use crate::tls::store::{Store, StoreError};
use crate::tls::tickets::TicketSecret;
use crate::vault::{Shared, Vault};
use crate::worker::wall_clock;

/// How long the start waits for the shared store, or for another process that has just begun; and
/// how often it looks.
const START: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(50);

/// The secret of tickets, where none is derived from a secret of the operator's.
const TICKETS: &str = "tickets.key";

/// What an instance starts with.
pub(super) struct Foundation {
    pub(super) vault: Vault,
    pub(super) authority: Authority,
    /// `None` if tickets are shared with nobody.
    pub(super) tickets: Option<Arc<TicketSecret>>,
    /// Whether all of it is what all instances have.
    pub(super) is_founded: bool,
}

/// Reads it, or makes it and keeps it.
pub(super) async fn lay(vault: Vault, now: SystemTime) -> Result<Foundation, InternalError> {
    let Some(shared) = vault.shared() else {
        let authority = match tokio::time::timeout(START, own(&vault, now)).await {
            Ok(authority) => authority?,
            Err(_) => Authority::alone(now)?,
        };
        return Ok(Foundation { vault, authority, tickets: None, is_founded: true });
    };
    let first = async {
        loop {
            match common(&vault, shared, now).await {
                Ok(Some(common)) => return Some(common),
                Ok(None) => tokio::time::sleep(AGAIN).await,
                Err(error) => {
                    tracing::error!(%error, "starting without what instances share");
                    return None;
                }
            }
        }
    };
    let first = tokio::time::timeout(START, first).await.ok().flatten();
    shared.disconnect();
    let is_founded = first.is_some();
    let (authority, tickets) = match first {
        Some(common) => common,
        None => (Authority::alone(now)?, random()?),
    };
    let tickets = Some(TicketSecret::new(tickets));
    Ok(Foundation { vault, authority, tickets, is_founded })
}

/// That of a directory, in which another process may be making it.
async fn own(vault: &Vault, now: SystemTime) -> Result<Authority, InternalError> {
    loop {
        if let Some(authority) = Authority::open(vault, now).await? {
            return Ok(authority);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What all instances have; `None` while another one makes it.
async fn common(
    vault: &Vault,
    shared: &Shared,
    now: SystemTime,
) -> Result<Option<(Authority, [u8; 32])>, InternalError> {
    shared.pull().await?;
    let tickets = match shared.tickets() {
        Some(tickets) => Some(tickets),
        None => secret(vault).await?,
    };
    Ok(Authority::open(vault, now).await?.zip(tickets))
}

async fn secret(vault: &Vault) -> Result<Option<[u8; 32]>, StoreError> {
    let read = || {
        let text = vault.read(TICKETS).ok().flatten()?;
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
    };
    if let Some(secret) = read() {
        return Ok(Some(secret));
    }
    let Some(lead) = vault.lead(TICKETS).await? else { return Ok(None) };
    let secret = match read() {
        Some(secret) => secret,
        None => {
            let secret = random()?;
            vault.write(&lead, TICKETS, HEXLOWER.encode(&secret).as_bytes()).await?;
            secret
        }
    };
    vault.release(lead).await;
    Ok(Some(secret))
}

fn random() -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| StoreError::shared("make", TICKETS, "there are no random bits"))?;
    Ok(bytes)
}

impl Issuance {
    /// What all instances have may be something else now: a store that had lost it was given
    /// another by an instance that knew of none.
    pub(super) fn doubt(&self, changed: &BTreeSet<String>) {
        if [ROOT, TICKETS].iter().any(|file| changed.contains(*file)) {
            self.is_founded.set(false);
        }
    }

    /// Takes over what all instances have, once it can be had.
    pub(super) async fn found(&self, config: &Config) {
        let Some(shared) = self.vault.shared().filter(|_| !self.is_founded.get()) else { return };
        match common(&self.vault, shared, wall_clock()).await {
            Ok(Some((authority, tickets))) => {
                if let Some(secret) = &self.credentials.tickets {
                    secret.set(tickets);
                }
                self.is_founded.set(true);
                if self.authority.borrow().root != authority.root {
                    self.authority.replace(authority);
                    self.announce(config);
                    self.install_or_tell(config);
                }
            }
            Ok(None) | Err(InternalError::Store(_)) => {}
            Err(error) => {
                tracing::error!(%error, "going on without what instances share");
                self.is_founded.set(true);
            }
        }
    }

    /// Says what clients of the development CA have to trust, if a site is to be served by it.
    pub(crate) fn announce(&self, config: &Config) {
        if !config.sites.iter().any(|site| site.issuer == Issuer::Internal) {
            return;
        }
        let by = "certificates by the development CA";
        if !self.is_founded.get() {
            tracing::warn!("{by} of this instance alone, until the shared store answers");
            return;
        }
        let place = match &self.vault {
            Vault::Directory(_) => Ok(self.vault.place(ROOT)),
            // Those who are to trust it look for a file.
            Vault::Shared(_) => Store::open(&config.tls.store).and_then(|store| {
                store.write(ROOT, self.authority.borrow().root.as_bytes())?;
                Ok(store.path(ROOT).display().to_string())
            }),
        };
        match place {
            Ok(root) => tracing::info!("{by}; clients must trust {root}"),
            Err(error) => tracing::warn!("{by}, whose root has no file: {error}"),
        }
    }
}
