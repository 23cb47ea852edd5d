//! What the configuration comes to at one moment. A reload makes the next one; a request holds the
//! one that it began with to its end.

use std::rc::Rc;
use std::sync::Arc;

use crate::acme::challenge::Challenges;
use crate::acme::on_demand::door::Door;
use crate::config::{self, Config, UpstreamId};
use crate::deadline::Deadlines;
use crate::policy::rate_limit::{Limiter, Rules};
use crate::site::Sites;
use crate::tls::Policies;
use crate::upstream::{Standing, Upstream};

/// What all workers are given.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) tls: Policies,
    /// What a CA is shown while an order is pending.
    pub(crate) challenges: Arc<Challenges>,
    /// Where hosts that no site lists become known.
    pub(crate) door: Arc<Door>,
    /// Where plain HTTP is redirected to.
    pub(crate) https_port: u16,
    /// 0 at the start, one more with each reload.
    pub(crate) generation: u64,
    /// How it stands with each upstream, in the order of the configuration.
    pub(crate) standings: Vec<Standing>,
}

impl Plan {
    /// Each upstream as configured, with how it stands.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = (&config::Upstream, &Standing)> {
        self.config.upstreams.iter().zip(&self.standings)
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
    pub(crate) fn new(
        plan: Arc<Plan>,
        before: Option<&Self>,
        limiter: &Limiter,
        deadlines: &Rc<Deadlines>,
    ) -> Self {
        let config = &plan.config;
        let upstreams = plan.upstreams().map(|(configured, standing)| {
            let mut known = before.iter().flat_map(|before| &before.upstreams);
            match known.find(|known| known.is(configured)) {
                Some(known) => Rc::clone(known),
                None => Rc::new(Upstream::new(
                    configured,
                    standing.clone(),
                    config.listen.workers,
                    deadlines,
                )),
            }
        });
        Self {
            sites: Sites::new(config, Some(&plan.door)),
            rules: Rules::new(config, limiter, before.map(|before| &before.rules)),
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
