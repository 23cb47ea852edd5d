//! What upstreams keep in the store, so that it survives a restart: the groups that were activated,
//! and the key of sticky cookies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::snapshot::Plan;
use crate::tls::store::{Store, StoreError};

const CHOICES: &str = "active-groups.json";
const KEY: &str = "sticky.key";

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    choices: BTreeMap<String, Choice>,
    key: Option<String>,
}

/// A group that was activated.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    group: String,
    /// The group that the file named at that time.
    instead_of: String,
}

impl Kept {
    /// Reads it; a key that is needed and not there is made.
    pub(crate) fn read(config: &Config) -> Result<Self, StoreError> {
        let upstreams = || config.upstreams.iter();
        let sticks = { upstreams() }
            .any(|upstream| upstream.sticky.as_ref().is_some_and(|sticky| sticky.secret.is_none()));
        if !sticks && upstreams().all(|upstream| upstream.groups.is_none()) {
            return Ok(Self::default());
        }
        let store = Store::open(&config.tls.store)?;
        let choices = store.read(CHOICES)?.unwrap_or_else(|| "{}".to_owned());
        let choices = serde_json::from_str(&choices).unwrap_or_else(|error| {
            tracing::error!(%error, "{CHOICES} cannot be read: groups are as the file says");
            BTreeMap::default()
        });
        let key = if sticks { Some(key(&store)?) } else { None };
        Ok(Self { choices, key })
    }

    /// The group that was activated, if the file still names the one that it named then.
    pub(super) fn choice(&self, upstream: &str, configured: &str) -> Option<&str> {
        let choice = self.choices.get(upstream)?;
        (choice.instead_of == configured).then_some(&choice.group)
    }

    /// Keeps what a new plan has made of it, if that is something else.
    pub(crate) fn follow(&self, plan: &Plan) -> Result<(), StoreError> {
        match choices(plan) == self.choices {
            true => Ok(()),
            false => keep(plan),
        }
    }

    /// The key of upstreams that have no secret of their own.
    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }
}

/// Which groups are active, where it is not what the file says.
fn choices(plan: &Plan) -> BTreeMap<String, Choice> {
    let choices = plan.upstreams().filter_map(|(upstream, standing)| {
        let groups = upstream.groups.as_ref()?;
        let (group, configured) = (groups.name(standing.active.get()), groups.configured());
        let choice = Choice { group: group.to_owned(), instead_of: configured.to_owned() };
        (group != configured).then(|| (upstream.name.clone(), choice))
    });
    choices.collect()
}

/// Keeps the groups that were activated.
pub(crate) fn keep(plan: &Plan) -> Result<(), StoreError> {
    let text = serde_json::to_vec_pretty(&choices(plan)).unwrap_or_default();
    Store::open(&plan.config.tls.store)?.write(CHOICES, &text)
}

/// 256 random bits, made once.
fn key(store: &Store) -> Result<String, StoreError> {
    if let Some(key) = store.read(KEY)?.filter(|key| key.len() >= 32) {
        return Ok(key);
    }
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| store.no_randomness(KEY))?;
    let key = data_encoding::HEXLOWER.encode(&bytes);
    store.write(KEY, key.as_bytes())?;
    Ok(key)
}
