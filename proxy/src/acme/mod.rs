//! Certificates that look after themselves: what each site is served with, and when the next
//! certificate is obtained (RFC 8555, RFC 9773).
//!
//! Runs on the control thread. Each name, which is the first host of a site, has for each kind of
//! key a certificate with a life and attempts of its own ([`slot`]), so that one that fails holds
//! up no other. A site without a certificate is served with one of the development CA, or refused,
//! as the configuration says. Certificates of the operator's own are served beside them, and read
//! again when their files change.

mod account;
mod attempt;
mod ca;
pub(crate) mod challenge;
mod client;
mod dns;
pub(crate) mod due;
mod failure;
pub(crate) mod follow;
mod foundation;
pub(crate) mod import;
mod life;
pub(crate) mod on_demand;
mod order;
mod overview;
mod prove;
mod schedule;
mod slot;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::Mutex;

use self::challenge::Challenges;
use self::foundation::Foundation;
use self::life::Life;
use self::on_demand::Approvals;
use self::slot::Slot;
use crate::config::{Config, Issuer, KeyType, UntilIssued};
use crate::reload::FileWatch;
use crate::tls::Credentials;
use crate::tls::certificates::Served;
use crate::tls::files::Files;
use crate::tls::internal::{Authority, InternalError};
use crate::tls::leaf::{Leaf, Unfit};
use crate::tls::store::StoreError;
use crate::vault::{Vault, apart};

/// What looks after the certificates.
pub(crate) struct Issuance {
    pub(crate) vault: Vault,
    authority: RefCell<Authority>,
    /// Whether the development CA and the ticket secret are those of all instances.
    is_founded: Cell<bool>,
    pub(crate) credentials: Credentials,
    pub(crate) challenges: Arc<Challenges>,
    slots: RefCell<BTreeMap<Slot, State>>,
    /// Of hosts that no site lists.
    pub(crate) approvals: Approvals,
    /// The operator's own.
    files: Files,
    watch: RefCell<FileWatch>,
    /// The failures of each CA itself, by its directory; while they last, no name is tried there.
    troubles: RefCell<BTreeMap<String, Life>>,
    /// Failed attempts since the start, by name.
    failures: RefCell<BTreeMap<String, u64>>,
    /// Held while an account is made, so that there is one.
    account: Mutex<()>,
}

/// What is known of one certificate.
#[derive(Default)]
struct State {
    leaf: Option<Leaf>,
    life: Life,
    /// A task is at it.
    busy: bool,
    /// The operator wants one that is obtained after this, whatever the schedule says.
    hurried: Option<Timestamp>,
    /// What is kept is to be looked at again when the task is done.
    reread: bool,
    /// Until when nothing is begun, and why, if that is a failure.
    wait: Option<(SystemTime, Option<String>)>,
}

impl Issuance {
    /// Opens the vault and puts to use what it holds.
    pub(crate) fn open(config: &Config, now: SystemTime) -> Result<Self, InternalError> {
        let vault = Vault::open(config)?;
        let opened = apart(async move || foundation::lay(vault, now).await);
        let Foundation { vault, authority, tickets, is_founded } =
            opened.map_err(|error| InternalError::Store(StoreError::thread(error)))??;
        let issuance = Self {
            vault,
            authority: RefCell::new(authority),
            is_founded: Cell::new(is_founded),
            credentials: Credentials { certificates: Arc::default(), tickets },
            challenges: Arc::default(),
            slots: RefCell::default(),
            approvals: Approvals::open(config.tls.folder()),
            files: Files::default(),
            watch: RefCell::default(),
            troubles: RefCell::default(),
            failures: RefCell::default(),
            account: Mutex::default(),
        };
        let all = issuance.prepare(config, now)?;
        issuance.serve(config, &all);
        if let Some(shared) = issuance.vault.shared() {
            issuance.take_in(config, &shared.changed(), now);
        }
        Ok(issuance)
    }

    /// Reads again what others may have changed, and chooses what every site is to be served with.
    pub(crate) fn prepare(
        &self,
        config: &Config,
        now: SystemTime,
    ) -> Result<Vec<Served>, InternalError> {
        self.files.read(config, now);
        self.watch.borrow_mut().loaded(&Files::paths(config));
        for (slot, state) in self.slots.borrow_mut().iter_mut() {
            match state.busy {
                true => state.reread = true,
                false => _ = self.reread(slot, state, now),
            }
        }
        self.choose(config, now)
    }

    /// Takes over what the store holds for a slot, if somebody has put another certificate there.
    /// Says whether that is so.
    fn reread(&self, slot: &Slot, state: &mut State, now: SystemTime) -> bool {
        let kept = self.vault.read(&slot.certificate_file()).ok().flatten();
        let known = state.leaf.as_ref().map(|leaf| &leaf.key.cert);
        let leaf = kept.and_then(|pem| slot.read(&pem, now).ok());
        let is_other = leaf.is_some_and(|leaf| Some(&leaf.key.cert) != known);
        if is_other {
            *state = State { hurried: state.hurried, busy: state.busy, ..self.read(slot, now) };
        }
        is_other
    }

    /// Takes over certificates of the operator's own whose files have changed.
    pub(crate) fn follow(&self, config: &Config, now: SystemTime) {
        let paths = Files::paths(config);
        if !self.watch.borrow_mut().has_settled(&paths) {
            return;
        }
        self.watch.borrow_mut().loaded(&paths);
        if self.files.read(config, now) {
            self.install_or_tell(config);
        }
    }

    /// Chooses what every site is served with, and swaps all of it in.
    pub(crate) fn install(&self, config: &Config, now: SystemTime) -> Result<(), InternalError> {
        self.serve(config, &self.choose(config, now)?);
        Ok(())
    }

    /// Swaps in what was chosen, and forgets what is no longer configured.
    pub(crate) fn serve(&self, config: &Config, all: &[Served]) {
        let wanted: BTreeSet<Slot> =
            { self.wanted(config).into_iter() }.map(|of| of.slot).collect();
        self.slots.borrow_mut().retain(|slot, state| state.busy || wanted.contains(slot));
        let named = |name: &String| wanted.iter().any(|slot| slot.name == *name);
        self.failures.borrow_mut().retain(|name, _| named(name));
        self.approvals.admit(config);
        self.credentials.certificates.replace(all);
    }

    fn choose(&self, config: &Config, now: SystemTime) -> Result<Vec<Served>, InternalError> {
        let mut all = Vec::new();
        for site in &config.sites {
            let mut rest = site.hosts.clone();
            let stands_in = match site.issuer {
                Issuer::Internal => true,
                Issuer::Files => {
                    all.extend(rest.drain(..).flat_map(|host| {
                        let leaves = self.files.leaves(&host).into_iter();
                        leaves.map(move |leaf| Served::new(vec![host.clone()], leaf, false))
                    }));
                    false
                }
                Issuer::Acme => {
                    for leaf in self.leaves(site.name(), &config.acme.key_types, now) {
                        let hosts = site.hosts.iter().filter(|host| leaf.covers(host));
                        let covered: Vec<String> = hosts.cloned().collect();
                        rest.retain(|host| !covered.contains(host));
                        all.push(Served::new(covered, leaf, false));
                    }
                    config.acme.until_issued == UntilIssued::Internal
                }
            };
            if !rest.is_empty() && stands_in {
                let leaf = self.authority.borrow().issue(&rest, now)?;
                all.push(Served::new(rest, leaf, true));
            }
        }
        all.extend(self.serve_on_demand(config, now)?);
        Ok(all)
    }

    /// The certificates of a name. While there is none of the wanted kinds, one of another serves
    /// that was obtained before they were wanted.
    fn leaves(&self, name: &str, wanted: &[KeyType], now: SystemTime) -> Vec<Leaf> {
        let mut slots = self.slots.borrow_mut();
        let mut held = |key_type: &KeyType| {
            let slot = Slot::new(name, *key_type);
            let state = slots.entry(slot).or_insert_with_key(|slot| self.read(slot, now));
            state.leaf.clone()
        };
        let leaves: Vec<Leaf> = wanted.iter().filter_map(&mut held).collect();
        if !leaves.is_empty() {
            return leaves;
        }
        let others = KeyType::ALL.into_iter().filter(|key_type| !wanted.contains(key_type));
        others.filter_map(|key_type| self.read(&Slot::new(name, key_type), now).leaf).collect()
    }

    /// What the store holds for a slot. What cannot be used is set aside.
    fn read(&self, slot: &Slot, now: SystemTime) -> State {
        let mut state = State::default();
        let (certificate, life) = (slot.certificate_file(), slot.life_file());
        match self.vault.read(&life) {
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(life) => state.life = life,
                Err(error) => self.set_aside(&life, &error),
            },
            Ok(None) => {}
            Err(error) => self.set_aside(&life, &error),
        }
        match self.vault.read(&certificate) {
            Ok(Some(pem)) => match slot.read(&pem, now) {
                Ok(leaf) => {
                    let life = Life::renewed(&leaf, &state.life.directory, now, fastrand::f64());
                    if state.life.not_after != life.not_after {
                        state.life = life; // what was noted is of another certificate
                    }
                    state.leaf = Some(leaf);
                }
                // A clock that is wrong is no reason to hide from others what they can use.
                Err(unfit @ (Unfit::Expired | Unfit::NotYet)) => {
                    tracing::error!("{certificate} is not used: {unfit}");
                }
                Err(unfit) => self.set_aside(&certificate, &unfit),
            },
            Ok(None) => {}
            Err(error) => self.set_aside(&certificate, &error),
        }
        state
    }

    fn set_aside(&self, file: &str, why: &dyn std::fmt::Display) {
        match self.vault.set_aside(file) {
            Ok(aside) => tracing::error!(%why, "set aside as {aside}: {file}"),
            Err(error) => tracing::error!(%why, %error, "{file} cannot be used"),
        }
    }

    /// Has certificates renewed as soon as can be: those of a name, or all. Says how many.
    ///
    /// Where there is none, any is wanted that another instance may obtain meanwhile.
    pub(crate) fn hurry(&self, name: Option<&str>, now: SystemTime) -> usize {
        let mut slots = self.slots.borrow_mut();
        let wanted = slots.iter_mut().filter(|(slot, _)| name.is_none_or(|name| name == slot.name));
        let hurried = wanted.map(|(_, state)| {
            let last = state.life.obtained_at.unwrap_or(Timestamp::MIN);
            let now = Timestamp::try_from(now).unwrap_or(Timestamp::MIN);
            state.hurried = Some(if state.leaf.is_some() { now } else { last });
        });
        self.troubles.borrow_mut().clear();
        hurried.count()
    }

    /// The process ends: what it knows is written down, and what it leads is left to others.
    pub(crate) async fn retire(&self) {
        self.approvals.keep();
        self.vault.resign().await;
    }

    /// Whether orders are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.slots.borrow().values().any(|state| state.busy)
    }
}

impl From<Life> for State {
    fn from(life: Life) -> Self {
        Self { life, ..Self::default() }
    }
}
