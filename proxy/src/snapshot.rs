//! What the configuration comes to at one moment. A reload makes the next one; a request holds the
//! one that it began with to its end.

use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::{Config, UpstreamId};
use crate::deadline::Deadlines;
use crate::policy::rate_limit::Rules;
use crate::site::Sites;
use crate::upstream::Upstream;

/// What all workers are given.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) tls: Arc<ServerConfig>,
    /// Where plain HTTP is redirected to.
    pub(crate) https_port: u16,
    /// 0 at the start, one more with each reload.
    pub(crate) generation: u64,
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
        let upstreams = config.upstreams.iter().map(|configured| {
            let mut known = before.iter().flat_map(|before| &before.upstreams);
            match known.find(|known| known.is(configured)) {
                Some(known) => Rc::clone(known),
                None => Rc::new(Upstream::new(configured, config.listen.workers, deadlines)),
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
