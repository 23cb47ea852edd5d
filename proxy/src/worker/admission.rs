//! Connections are counted in, in all and for each client, and out again when they end.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Worker;

impl Worker {
    /// Counts a connection in, if there is room for it in all and for its peer.
    pub(crate) fn admit_connection(self: &Rc<Self>, peer: IpAddr) -> Option<Admission> {
        self.counters.connections.add(1);
        let mut admission = Admission { worker: Rc::clone(self), client: None };
        if self.shared.connections.fetch_add(1, Ordering::Relaxed) >= self.limits().connections {
            self.counters.connections_refused.add(1);
            return None; // dropping the admission counts it out again
        }
        admission.is_for(peer).then_some(admission)
    }
}

/// A connection that has been counted in.
pub(crate) struct Admission {
    worker: Rc<Worker>,
    client: Option<IpAddr>,
}

impl Admission {
    /// Counts the connection for a client, if there is room for one more of it. A trusted proxy
    /// brings the connections of many clients and is bounded only in all.
    pub(crate) fn is_for(&mut self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let (shared, plan) = (&self.worker.shared, &self.worker.snapshot().plan);
        let trusted = &plan.config.clients.trusted_proxies;
        if self.client == Some(client) || trusted.contains(client) {
            return true;
        }
        self.client = Some(client);
        let mut open = shared.peers.entry(client).or_default();
        *open += 1;
        let refused = *open > self.worker.limits().connections_per_client;
        drop(open);
        if refused {
            self.worker.counters.connections_refused.add(1);
        }
        !refused
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.worker.counters.connections_closed.add(1);
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        self.worker.shared.peers.remove_if_mut(&client, |_, open| {
            *open = open.saturating_sub(1);
            *open == 0
        });
    }
}
