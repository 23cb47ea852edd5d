//! What the configuration comes to at one moment. A reload makes the next one; a request holds the
//! one that it began with to its end.

use std::rc::Rc;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use crate::acme::challenge::Challenges;
use crate::config::{self, Config, Server, UpstreamId};
use crate::deadline::Deadlines;
use crate::policy::rate_limit::Rules;
use crate::site::Sites;
use crate::upstream::health::Health;
use crate::upstream::{Upstream, client_config};

/// What all workers are given.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) tls: Arc<ServerConfig>,
    /// What a CA is shown while an order is pending.
    pub(crate) challenges: Arc<Challenges>,
    /// Where plain HTTP is redirected to.
    pub(crate) https_port: u16,
    /// 0 at the start, one more with each reload.
    pub(crate) generation: u64,
    /// How the servers of each upstream are, in the order of the configuration.
    pub(crate) health: Vec<Vec<Arc<Health>>>,
    /// How the `https://` servers of each upstream are spoken to.
    pub(crate) clients: Vec<Option<Arc<ClientConfig>>>,
}

impl Plan {
    /// How the `https://` servers of each upstream are spoken to, where there are any.
    pub(crate) fn clients(
        config: &Config,
    ) -> Result<Vec<Option<Arc<ClientConfig>>>, rustls::Error> {
        let of = |upstream: &config::Upstream| match upstream.servers.iter().any(Server::is_tls) {
            true => client_config(&upstream.ca).map(Some),
            false => Ok(None),
        };
        config.upstreams.iter().map(of).collect()
    }

    /// Servers that an upstream of the same name had `before` are as they were.
    pub(crate) fn health(config: &Config, before: Option<&Self>) -> Vec<Vec<Arc<Health>>> {
        let known = |name: &str, server: &Server| {
            let before = before?;
            let upstreams = before.config.upstreams.iter().zip(&before.health);
            let (upstream, health) = { upstreams }.find(|(upstream, _)| upstream.name == name)?;
            let mut servers = upstream.servers.iter().zip(health);
            servers.find(|(known, _)| *known == server).map(|(_, health)| Arc::clone(health))
        };
        let of = |upstream: &config::Upstream| {
            let servers = upstream.servers.iter();
            servers.map(|server| known(&upstream.name, server).unwrap_or_default()).collect()
        };
        config.upstreams.iter().map(of).collect()
    }
}

/// A plan as one worker carries it out: nothing in it is shared with another thread but what is
/// only read.
pub(crate) struct Snapshot {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sites: Sites,
    pub(crate) rules: Rules,
    upstreams: Vec<Rc<Upstream>>,
}

impl Snapshot {
    /// Upstreams that are configured as they were `before` stay what they are, with their links and
    /// the requests in flight on them.
    pub(crate) fn new(plan: Arc<Plan>, before: Option<&Self>, deadlines: &Rc<Deadlines>) -> Self {
        let config = &plan.config;
        let upstreams = config.upstreams.iter().zip(&plan.health).zip(&plan.clients);
        let upstreams = upstreams.map(|((configured, health), tls)| {
            let mut known = before.iter().flat_map(|before| &before.upstreams);
            match known.find(|known| known.is(configured)) {
                Some(known) => Rc::clone(known),
                None => {
                    let workers = config.listen.workers;
                    Rc::new(Upstream::new(configured, health, tls.clone(), workers, deadlines))
                }
            }
        });
        Self {
            sites: Sites::new(config),
            rules: Rules::new(&config.rules),
            upstreams: upstreams.collect(),
            plan,
        }
    }

    pub(crate) fn upstream(&self, id: UpstreamId) -> Option<&Rc<Upstream>> {
        self.upstreams.get(id.0)
    }

    /// Closes links that have rested too long.
    pub(crate) fn tick(&self) {
        self.upstreams.iter().for_each(|upstream| upstream.tick());
    }
}
