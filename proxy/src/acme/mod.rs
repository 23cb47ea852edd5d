//! Certificates that look after themselves: what each site is served with, and when the next
//! certificate is obtained (RFC 8555, RFC 9773).
//!
//! Runs on the control thread. Each name, which is the first host of a site, has its own life and
//! its own attempts, so that one that fails holds up no other. A site without a certificate is
//! served with one of the development CA, or refused, as the configuration says. Certificates of
//! the operator's own are served beside them, and read again when their files change.

mod account;
mod attempt;
mod ca;
pub(crate) mod challenge;
mod client;
mod dns;
pub(crate) mod due;
mod failure;
pub(crate) mod import;
mod life;
mod order;
mod overview;
mod prove;
mod schedule;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;

use self::challenge::Challenges;
use self::life::Life;
use crate::config::{Config, Issuer, UntilIssued};
use crate::reload::FileWatch;
use crate::tls::certificates::{Certificates, Served};
use crate::tls::files::Files;
use crate::tls::internal::{Authority, InternalError};
use crate::tls::leaf::Leaf;
use crate::tls::store::Store;

/// What looks after the certificates.
pub(crate) struct Issuance {
    store: Store,
    authority: Authority,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) challenges: Arc<Challenges>,
    names: RefCell<BTreeMap<String, Name>>,
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

/// What is known of the certificate of one site.
#[derive(Default)]
struct Name {
    leaf: Option<Leaf>,
    life: Life,
    /// A task is at it.
    busy: bool,
    /// The operator wants it renewed now.
    hurried: bool,
    /// The store is to be looked at again when the task is done.
    reread: bool,
}

impl Issuance {
    /// Opens the store and puts to use what it holds.
    pub(crate) fn open(config: &Config, now: SystemTime) -> Result<Self, InternalError> {
        let store = Store::open(&config.tls.store)?;
        let authority = Authority::open(&store, now)?;
        let issuance = Self {
            store,
            authority,
            certificates: Arc::default(),
            challenges: Arc::default(),
            names: RefCell::default(),
            files: Files::default(),
            watch: RefCell::default(),
            troubles: RefCell::default(),
            failures: RefCell::default(),
            account: Mutex::default(),
        };
        let all = issuance.prepare(config, now)?;
        issuance.serve(config, &all);
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
        for (name, state) in self.names.borrow_mut().iter_mut() {
            match state.busy {
                true => state.reread = true,
                false => self.reread(name, state, now),
            }
        }
        self.choose(config, now)
    }

    /// Takes over what the store holds for a name, if somebody has put another certificate there.
    fn reread(&self, name: &str, state: &mut Name, now: SystemTime) {
        let kept = self.store.read(&certificate_file(name)).ok().flatten();
        let known = state.leaf.as_ref().map(|leaf| &leaf.key.cert);
        let leaf = kept.and_then(|pem| Leaf::read(&pem, now).ok());
        if leaf.is_some_and(|leaf| Some(&leaf.key.cert) != known) {
            *state = self.read(name, now);
        }
    }

    /// Takes over certificates of the operator's own whose files have changed.
    pub(crate) fn follow(&self, config: &Config, now: SystemTime) {
        let paths = Files::paths(config);
        if !self.watch.borrow_mut().has_settled(&paths) {
            return;
        }
        self.watch.borrow_mut().loaded(&paths);
        if self.files.read(config, now)
            && let Err(error) = self.install(config, now)
        {
            tracing::error!(%error, "certificates cannot be swapped in");
        }
    }

    /// The file that clients of the development CA have to trust.
    pub(crate) fn root(&self) -> &std::path::Path {
        &self.authority.root
    }

    /// Chooses what every site is served with, and swaps all of it in.
    pub(crate) fn install(&self, config: &Config, now: SystemTime) -> Result<(), InternalError> {
        self.serve(config, &self.choose(config, now)?);
        Ok(())
    }

    /// Swaps in what was chosen, and forgets names that are no longer configured.
    pub(crate) fn serve(&self, config: &Config, all: &[Served]) {
        let mut names = self.names.borrow_mut();
        names.retain(|name, state| state.busy || config.sites.iter().any(|s| s.name() == name));
        self.certificates.replace(all);
    }

    fn choose(&self, config: &Config, now: SystemTime) -> Result<Vec<Served>, InternalError> {
        let mut all = Vec::new();
        let mut names = self.names.borrow_mut();
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
                    let name = names
                        .entry(site.name().to_owned())
                        .or_insert_with(|| self.read(site.name(), now));
                    if let Some(leaf) = &name.leaf {
                        let (covered, missing) = rest.drain(..).partition(|host| leaf.covers(host));
                        rest = missing;
                        all.push(Served::new(covered, leaf.clone(), false));
                    }
                    config.acme.until_issued == UntilIssued::Internal
                }
            };
            if !rest.is_empty() && stands_in {
                let leaf = self.authority.issue(&rest, now)?;
                all.push(Served::new(rest, leaf, true));
            }
        }
        Ok(all)
    }

    /// What the store holds for a name. What cannot be used is set aside.
    fn read(&self, name: &str, now: SystemTime) -> Name {
        let mut state = Name::default();
        let (certificate, life) = (certificate_file(name), life_file(name));
        match self.store.read(&life) {
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(life) => state.life = life,
                Err(error) => self.set_aside(&life, &error),
            },
            Ok(None) => {}
            Err(error) => self.set_aside(&life, &error),
        }
        match self.store.read(&certificate) {
            Ok(Some(pem)) => match Leaf::read(&pem, now) {
                Ok(leaf) => {
                    order::forget_finished(&self.store, name, &pem);
                    let life = Life::renewed(&leaf, &state.life.directory, now, fastrand::f64());
                    if state.life.not_after != life.not_after {
                        state.life = life; // what was noted is of another certificate
                    }
                    state.leaf = Some(leaf);
                }
                Err(unfit) => self.set_aside(&certificate, &unfit),
            },
            Ok(None) => {}
            Err(error) => self.set_aside(&certificate, &error),
        }
        state
    }

    fn set_aside(&self, file: &str, why: &dyn std::fmt::Display) {
        match self.store.set_aside(file) {
            Ok(aside) => tracing::error!(%why, "set aside as {}: {file}", aside.display()),
            Err(error) => tracing::error!(%why, %error, "{file} cannot be used"),
        }
    }

    /// Has certificates renewed as soon as can be: that of a name, or all. Says how many.
    pub(crate) fn hurry(&self, name: Option<&str>) -> usize {
        let mut names = self.names.borrow_mut();
        let wanted = names.iter_mut().filter(|(key, _)| name.is_none_or(|name| name == *key));
        let hurried = wanted.map(|(_, state)| state.hurried = true);
        self.troubles.borrow_mut().clear();
        hurried.count()
    }

    /// Whether orders are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.names.borrow().values().any(|state| state.busy)
    }
}

impl From<Life> for Name {
    fn from(life: Life) -> Self {
        Self { life, ..Self::default() }
    }
}

/// How the files of a name begin: a `*` means more than itself to shells.
fn stem(name: &str) -> String {
    name.replace('*', "_wildcard")
}

/// The key and the chain of a name.
fn certificate_file(name: &str) -> String {
    format!("{}.certificate.pem", stem(name))
}

fn life_file(name: &str) -> String {
    format!("{}.certificate.json", stem(name))
}
