//! Which hosts are approved, and what is known of those who want to be.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::HOLDS;
use super::ask::{Answer, Endpoint};
use super::door::{Door, is_public};
use crate::config::{Config, OnDemand};
use crate::tls::leaf::Leaf;
use crate::tls::store::Store;

/// Where the approved hosts are kept.
const FILE: &str = "on-demand.json";

/// The hosts on demand.
#[derive(Debug)]
pub(crate) struct Approvals {
    pub(crate) door: Arc<Door>,
    /// Where they are kept, unless instances share them.
    store: Option<Store>,
    /// The approved ones, and when they were last.
    hosts: RefCell<BTreeMap<String, Timestamp>>,
    /// They are not yet what is kept and served.
    changed: Cell<bool>,
    endpoint: RefCell<Option<(OnDemand, Arc<Endpoint>)>>,
    /// Questions under way.
    pub(super) asking: Cell<usize>,
    /// When first certificates were ordered, within the window.
    ordered: RefCell<VecDeque<SystemTime>>,
    /// What approved hosts are served with that have no certificate yet.
    pub(super) stand_ins: RefCell<BTreeMap<String, Leaf>>,
    answers: RefCell<BTreeMap<&'static str, u64>>,
    /// There was no answer last time, and the log says so.
    silent: Cell<bool>,
}

/// How it stands with them.
pub(crate) struct Overview {
    pub(crate) hosts: u64,
    /// Answers since the start, by what they said.
    pub(crate) answers: BTreeMap<&'static str, u64>,
    /// Names for which there was no room since the start.
    pub(crate) turned_away: u64,
}

impl Approvals {
    /// Those that an earlier process left in a directory. Without one, they are kept elsewhere.
    pub(in crate::acme) fn open(directory: Option<&Path>) -> Self {
        let store = directory.map(Store::at);
        let hosts = store.as_ref().map(read).unwrap_or_default();
        Self {
            door: Arc::default(),
            store,
            hosts: RefCell::new(hosts),
            changed: Cell::default(),
            endpoint: RefCell::default(),
            asking: Cell::default(),
            ordered: RefCell::default(),
            stand_ins: RefCell::default(),
            answers: RefCell::default(),
            silent: Cell::default(),
        }
    }

    /// The approved hosts that no site lists; none if the configuration has no hosts on demand.
    pub(in crate::acme) fn hosts(&self, config: &Config) -> Vec<String> {
        if config.on_demand().is_none() {
            return Vec::new();
        }
        let hosts = self.hosts.borrow();
        hosts.keys().filter(|host| !config.lists(host)).cloned().collect()
    }

    /// Lets workers serve them, and nobody else.
    pub(in crate::acme) fn admit(&self, config: &Config) {
        let hosts = self.hosts(config).into_iter().map(String::into_boxed_str);
        self.door.admit(hosts.collect());
    }

    /// Writes them down if they have changed. Says whether they have.
    pub(in crate::acme) fn keep(&self) -> bool {
        let changed = self.changed.take();
        if changed && let Some(store) = &self.store {
            let text = serde_json::to_vec_pretty(&*self.hosts.borrow()).unwrap_or_default();
            if let Err(error) = store.write(FILE, &text) {
                tracing::error!(%error, "which hosts are approved cannot be kept");
            }
        }
        changed
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.hosts.borrow().len()
    }

    /// Whether a host is approved.
    pub(super) fn has(&self, host: &str) -> bool {
        self.hosts.borrow().contains_key(host)
    }

    /// A host is approved.
    pub(super) fn approve(&self, host: &str, now: SystemTime) {
        if let Ok(now) = Timestamp::try_from(now) {
            self.adopt(host, now);
        }
    }

    /// A host was approved, here or for another instance.
    pub(super) fn adopt(&self, host: &str, at: Timestamp) {
        let before = self.hosts.borrow_mut().insert(host.to_owned(), at);
        self.changed.set(self.changed.get() || before != Some(at));
    }

    /// When a host was approved last.
    pub(super) fn approved_at(&self, host: &str) -> Option<Timestamp> {
        self.hosts.borrow().get(host).copied()
    }

    /// A host is approved no more.
    pub(super) fn forget(&self, host: &str) {
        self.hosts.borrow_mut().remove(host);
        self.changed.set(true);
    }

    /// Whether a host was approved so lately that it need not be asked for again.
    pub(super) fn holds(&self, host: &str, now: SystemTime) -> bool {
        let hosts = self.hosts.borrow();
        let ago = Timestamp::try_from(now).ok().zip(hosts.get(host));
        let ago = ago.map(|(now, at)| Duration::try_from(now.duration_since(*at)));
        matches!(ago, Some(Ok(ago)) if ago < HOLDS)
    }

    /// Whether a first certificate may be ordered.
    pub(in crate::acme) fn may_order(&self, on_demand: &OnDemand, now: SystemTime) -> bool {
        let mut ordered = self.ordered.borrow_mut();
        ordered.retain(|at| now.duration_since(*at).is_ok_and(|ago| ago < on_demand.window));
        ordered.len() < on_demand.limit
    }

    /// A first certificate is ordered.
    pub(super) fn ordered(&self, now: SystemTime) {
        self.ordered.borrow_mut().push_back(now);
    }

    /// Asks whether a host is to be served. That nobody answers is said once.
    pub(super) async fn ask(&self, on_demand: &OnDemand, host: &str) -> Answer {
        let answer = match self.endpoint(on_demand) {
            Ok(endpoint) => endpoint.ask(host).await,
            Err(error) => Answer::Nothing(format!("ask: {error}")),
        };
        *self.answers.borrow_mut().entry(answer.name()).or_default() += 1;
        match &answer {
            Answer::Nothing(why) if !self.silent.replace(true) => {
                tracing::error!("no host is approved or refused: {why}");
            }
            Answer::Yes | Answer::No if self.silent.replace(false) => {
                tracing::info!("hosts are approved and refused again");
            }
            Answer::Nothing(_) | Answer::Yes | Answer::No => {}
        }
        answer
    }

    /// How it stands.
    pub(crate) fn overview(&self) -> Overview {
        Overview {
            hosts: self.count() as u64,
            answers: self.answers.borrow().clone(),
            turned_away: self.door.turned_away(),
        }
    }

    /// Whom to ask, as is configured now.
    fn endpoint(&self, on_demand: &OnDemand) -> Result<Arc<Endpoint>, rustls::Error> {
        let mut known = self.endpoint.borrow_mut();
        match &*known {
            Some((of, endpoint)) if of == on_demand => Ok(Arc::clone(endpoint)),
            _ => {
                let endpoint = Arc::new(Endpoint::new(on_demand)?);
                *known = Some((on_demand.clone(), Arc::clone(&endpoint)));
                Ok(endpoint)
            }
        }
    }
}

/// What a file says. One that says nothing is set aside: its hosts are to be approved again.
fn read(store: &Store) -> BTreeMap<String, Timestamp> {
    let kept = store.read(FILE).map_err(|error| error.to_string()).and_then(|text| {
        let text = text.unwrap_or_else(|| "{}".to_owned());
        serde_json::from_str(&text).map_err(|error| error.to_string())
    });
    let mut hosts: BTreeMap<String, Timestamp> = kept.unwrap_or_else(|error| {
        tracing::error!(error, "set aside: {FILE}; its hosts are to be approved again");
        _ = store.set_aside(FILE);
        BTreeMap::new()
    });
    hosts.retain(|host, _| is_public(host));
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(directory: &Path) -> Config {
        let text = "[[site]]\nhosts = [\"a.example.com\", \"*.b.example.com\"]\n\
                    upstream = \"http://127.0.0.1:1\"\n\
                    on_demand = { ask = \"http://127.0.0.1:1/\", limit = 2, window = \"1h\" }\n\
                    [acme]\ndns_hook = \"/bin/true\"\n";
        let file = directory.join("gatehouse.toml");
        config::load_text(&file, text, &|_| None).unwrap()
    }

    #[test]
    fn approved_hosts_are_found_again_and_a_file_that_is_none_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (config, now) = (config(directory.path()), SystemTime::now());
        let approvals = Approvals::open(Some(directory.path()));
        for host in ["c.example.com", "a.example.com", "x.b.example.com"] {
            approvals.approve(host, now);
        }
        assert!(approvals.keep() && !approvals.keep(), "once");
        let again = Approvals::open(Some(directory.path()));
        assert_eq!(again.hosts(&config), ["c.example.com"], "a site lists the others");
        again.admit(&config);
        assert!(again.door.admits("c.example.com") && !again.door.admits("d.example.com"));
        assert!(again.holds("c.example.com", now + HOLDS / 2));
        assert!(!again.holds("c.example.com", now + HOLDS * 2), "not for ever");
        assert!(!again.holds("c.example.com", now - HOLDS), "nor if the clock was wrong");
        std::fs::write(directory.path().join(FILE), "{\"c.example").unwrap();
        assert!(Approvals::open(Some(directory.path())).hosts(&config).is_empty());
        assert!(directory.path().join(format!("{FILE}.aside")).exists());
    }

    #[test]
    fn first_certificates_are_ordered_in_a_sliding_window() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let (approvals, now) = (Approvals::open(Some(directory.path())), SystemTime::now());
        let on_demand = config.on_demand().unwrap();
        let may = |minutes: u64| {
            let at = now + Duration::from_secs(minutes * 60);
            let may = approvals.may_order(on_demand, at);
            if may {
                approvals.ordered(at);
            }
            may
        };
        let allowed = [0, 30, 59, 60, 61, 90, 91].map(may);
        assert_eq!(allowed, [true, true, false, true, false, true, false]);
    }
}
