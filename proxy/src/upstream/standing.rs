//! How it stands with an upstream, which is the same for all workers: how its servers are, which
//! group of them is active, how they are spoken to, and the cookies that name them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ClientConfig;

use super::client_config;
use super::health::Health;
use super::keep::Kept;
use super::sticky::Cookies;
use crate::config::{self, Config, Groups, Server};
use crate::snapshot::Plan;

/// How it stands with an upstream.
#[derive(Clone)]
pub(crate) struct Standing {
    /// Of each server, in the order of the configuration.
    pub(crate) health: Vec<Arc<Health>>,
    /// How the `https://` servers are spoken to, if there are any.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) active: Arc<Active>,
    pub(super) cookies: Option<Arc<Cookies>>,
}

/// The place of the group that new requests go to.
#[derive(Debug, Default)]
pub(crate) struct Active(AtomicUsize);

impl Active {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// New requests go to another group from now on.
    pub(crate) fn set(&self, place: usize) {
        self.0.store(place, Ordering::Relaxed);
    }
}

impl Standing {
    /// Of every upstream, in the order of the configuration. What an upstream of the same name was
    /// `before` goes on; at the start, what was `kept` does.
    pub(crate) fn all(
        config: &Config,
        before: Option<&Plan>,
        kept: &Kept,
    ) -> Result<Vec<Self>, rustls::Error> {
        let one = |upstream: &config::Upstream| {
            let same = |(known, _): &(&config::Upstream, &Self)| known.name == upstream.name;
            let before = before.and_then(|before| before.upstreams().find(same));
            Self::new(upstream, before, kept)
        };
        config.upstreams.iter().map(one).collect()
    }

    fn new(
        upstream: &config::Upstream,
        before: Option<(&config::Upstream, &Self)>,
        kept: &Kept,
    ) -> Result<Self, rustls::Error> {
        let known = |server: &Server| {
            let (known, standing) = before?;
            let mut servers = known.servers.iter().zip(&standing.health);
            servers.find(|(known, _)| *known == server).map(|(_, health)| Arc::clone(health))
        };
        let health = { upstream.servers.iter() }.map(|server| known(server).unwrap_or_default());
        let tls = match upstream.servers.iter().any(Server::is_tls) {
            true => Some(client_config(&upstream.ca)?),
            false => None,
        };
        Ok(Self {
            health: health.collect(),
            tls,
            active: upstream.groups.as_ref().map_or_else(Arc::default, |groups| {
                let before = before.and_then(|(known, standing)| {
                    known.groups.as_ref().map(|before| (before, &standing.active))
                });
                active(&upstream.name, groups, before, kept)
            }),
            cookies: Cookies::new(upstream, kept).map(Arc::new),
        })
    }
}

/// Which group is active: the one that was activated, until the file names another than it did.
fn active(
    upstream: &str,
    groups: &Groups,
    before: Option<(&Groups, &Arc<Active>)>,
    kept: &Kept,
) -> Arc<Active> {
    let chosen = match before {
        Some((before, active)) if before == groups => return Arc::clone(active),
        Some((before, active)) if before.configured() == groups.configured() => {
            groups.place(before.name(active.get()))
        }
        Some(_) => None,
        None => kept.choice(upstream, groups.configured()).and_then(|name| groups.place(name)),
    };
    let active = Active::default();
    active.set(chosen.unwrap_or(groups.active));
    Arc::new(active)
}
