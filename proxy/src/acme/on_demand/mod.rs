//! Hosts that no site lists and that are served all the same, because somebody approves them:
//! `on_demand` of a site.
//!
//! The first handshake or request for such a host leaves its name at the [`door`]. The control
//! thread asks for it; if it is approved, its certificates are ordered, renewed and kept as those
//! of a site are, after all that is due for sites. Before an order, it must have been approved
//! within the last minutes; a host that is refused then is given up. One that serves nothing and
//! has failed for half a day is let go until somebody wants it again: who pointed it here may have
//! left. Until its certificate is there, an approved host is served as `until_issued` says, and an
//! unknown one is refused.
//!
//! What others can make of it is bounded: names that wait and are remembered, questions at a time,
//! hosts, and first certificates in a window. When all places are taken, a host that has failed
//! and serves nothing gives way.
//!
//! Instances that share certificates share approvals, too, from the first order on.
//!
//! # Why
//!
//! In Caddy, the first handshake waits for the CA: for seconds, in which it holds a connection, so
//! that whoever makes names up could hold them all. Here no handshake waits for anybody. A client
//! that is refused comes back, and is served a moment later.

mod approvals;
mod ask;
pub(crate) mod door;

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::Instant;

pub(super) use self::approvals::Approvals;
use self::ask::Answer;
use self::door::is_public;
use super::due::contain;
use super::life::Life;
use super::slot::{Slot, approval_file, approved_host};
use super::{Issuance, State};
use crate::admin::Control;
use crate::config::{Config, KeyType, UntilIssued};
use crate::tls::certificates::Served;
use crate::tls::internal::InternalError;
use crate::vault::Lead;
use crate::worker::wall_clock;

/// Questions at a time; as many are begun four times a second at most.
const ASKING: usize = 8;

/// How long a question may be under way, and its name is not asked for again.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// How long an approval or a refusal holds.
const HOLDS: Duration = Duration::from_secs(600);

/// Failures in a row after which a host that serves nothing is given up: those of half a day.
const HOPELESS: u32 = 8;

/// How long a host is left alone for which there was no answer, or no place.
const PAUSE: Duration = Duration::from_secs(10);

/// Puts to use what was answered, and asks for what waits.
pub(super) fn tick(control: &Rc<Control>, config: &Config) {
    let approvals = &control.issuance.approvals;
    if approvals.keep() {
        control.issuance.install_or_tell(config);
    }
    if config.on_demand().is_none() {
        return;
    }
    for _ in approvals.asking.get()..ASKING {
        let Some(host) = approvals.door.next(Instant::now(), UNDER_WAY) else { return };
        approvals.asking.update(|asking| asking + 1);
        let (holder, control) = (Rc::clone(control), Rc::clone(control));
        let done = move || holder.issuance.approvals.asking.update(|asking| asking - 1);
        let asked = async move { settle(&control, &host).await };
        tokio::task::spawn_local(async move {
            contain(asked, || {}).await;
            done();
        });
    }
}

/// Asks for a host that is not approved, and does as is answered.
async fn settle(control: &Control, host: &str) {
    let (issuance, plan) = (&control.issuance, control.plan());
    let Some(on_demand) = plan.config.on_demand() else { return };
    let approvals = &issuance.approvals;
    let answer = approvals.ask(on_demand, host).await;
    if answer == Answer::Yes && approvals.count() >= on_demand.hosts {
        issuance.make_room(wall_clock()).await;
    }
    let pause = match answer {
        Answer::Yes if approvals.count() < on_demand.hosts => {
            tracing::info!(host, "approved on demand");
            return approvals.approve(host, wall_clock());
        }
        Answer::Yes => {
            approvals.door.turn_away();
            PAUSE
        }
        Answer::No => HOLDS,
        Answer::Nothing(_) => PAUSE,
    };
    let now = Instant::now();
    approvals.door.settle(host, now + pause, now);
}

/// Whether a certificate may be ordered for an approved host.
pub(super) enum Permission {
    Granted,
    Refused,
    /// Too many were ordered lately.
    Later,
    /// Nobody says, and why not.
    Unknown(String),
}

impl Issuance {
    /// Has a host give way that has only failed so far, if there is one.
    async fn make_room(&self, now: SystemTime) {
        let Some(host) = self.hopeless(now) else { return };
        if let Ok(Some(lead)) = self.vault.lead(&host).await {
            self.give_up(&host, &lead, "it has failed, and others wait").await;
            self.vault.release(lead).await;
        }
    }

    /// Lets go of a host that serves nothing and has only failed for long. What is known of its
    /// failures stays: whoever wants it again does not begin anew with the CA.
    pub(super) async fn despair(&self, host: &str, lead: &Lead, now: SystemTime) {
        if !self.in_vain(now).any(|(name, failures)| name == host && failures >= HOPELESS) {
            return;
        }
        let slots = KeyType::ALL.map(|key_type| Slot::new(host, key_type));
        let files = slots.iter().flat_map(|slot| [slot.certificate_file(), slot.order_file()]);
        let why = "it has failed for half a day; somebody has to want it again";
        self.let_go(host, lead, why, files).await;
    }

    /// The approved host that has failed most among those that serve nothing.
    fn hopeless(&self, now: SystemTime) -> Option<String> {
        let worst = self.in_vain(now).max_by_key(|(_, failures)| *failures);
        worst.map(|(host, _)| host)
    }

    /// The approved hosts that serve nothing and have failed, and how often in a row.
    fn in_vain(&self, now: SystemTime) -> impl Iterator<Item = (String, u32)> {
        let slots = self.slots.borrow();
        let serves = |state: &State| {
            state.busy || state.leaf.as_ref().is_some_and(|leaf| now < leaf.not_after)
        };
        let serving = { slots.iter() }.filter(|(_, state)| serves(state));
        let serving: HashSet<&str> = serving.map(|(slot, _)| slot.name.as_str()).collect();
        let failing = { slots.iter() }.filter(|(slot, state)| {
            let name = slot.name.as_str();
            state.life.failures > 0 && !serving.contains(name) && self.approvals.has(name)
        });
        let failing = failing.map(|(slot, state)| (slot.name.clone(), state.life.failures));
        failing.collect::<Vec<_>>().into_iter()
    }

    /// Whether a certificate may be ordered for a host, its `first` or another; asks, if that was
    /// not asked lately. If so, the other instances learn of the host, for they may have to prove
    /// its name.
    pub(super) async fn permission(
        &self,
        config: &Config,
        host: &str,
        lead: &Lead,
        first: bool,
    ) -> Permission {
        let (approvals, now) = (&self.approvals, wall_clock());
        let Some(on_demand) = config.on_demand() else { return Permission::Later };
        if !approvals.holds(host, now) {
            match approvals.ask(on_demand, host).await {
                Answer::Yes => approvals.approve(host, now),
                Answer::No => return Permission::Refused,
                Answer::Nothing(why) => return Permission::Unknown(why),
            }
        }
        if first {
            if !approvals.may_order(on_demand, now) {
                return Permission::Later;
            }
            approvals.ordered(now);
        }
        if self.vault.shared().is_some()
            && let Some(at) = approvals.approved_at(host)
            && let Err(error) =
                self.vault.write(lead, &approval_file(host), format!("\"{at}\"").as_bytes()).await
        {
            return Permission::Unknown(error.to_string());
        }
        Permission::Granted
    }

    /// Nobody says whether a host may still have a certificate: what it has goes on being served.
    pub(super) fn unanswered(&self, host: &str, life: &mut Life, why: String) {
        *self.failures.borrow_mut().entry(host.to_owned()).or_default() += 1;
        life.failed(why, None, wall_clock(), fastrand::f64());
    }

    /// Forgets a host and all that is kept of it.
    pub(super) async fn give_up(&self, host: &str, lead: &Lead, why: &str) {
        let slots = KeyType::ALL.map(|key_type| Slot::new(host, key_type));
        self.let_go(host, lead, why, slots.iter().flat_map(Slot::files)).await;
    }

    /// Forgets a host, and these files of it.
    async fn let_go(
        &self,
        host: &str,
        lead: &Lead,
        why: &str,
        files: impl Iterator<Item = String>,
    ) {
        tracing::info!(host, "given up: {why}");
        self.drop_host(host);
        for file in files.chain([approval_file(host)]) {
            if let Err(error) = self.vault.remove(lead, &file).await {
                tracing::error!(%error, "what is given up stays in the store");
            }
        }
        let now = Instant::now();
        self.approvals.door.settle(host, now + HOLDS, now);
    }

    /// Serves a host no more.
    fn drop_host(&self, host: &str) {
        self.approvals.forget(host);
        self.failures.borrow_mut().remove(host);
        self.slots.borrow_mut().retain(|slot, _| slot.name != host);
    }

    /// Takes over what other instances have approved or given up.
    pub(super) fn take_in_approvals(&self, changed: &BTreeSet<String>) {
        for file in changed {
            let Some(host) = approved_host(file).filter(|host| is_public(host)) else { continue };
            let at = self.vault.read(file).ok().flatten();
            match at.and_then(|text| serde_json::from_str::<Timestamp>(&text).ok()) {
                Some(at) => self.approvals.adopt(host, at),
                None if self.approvals.has(host) => self.drop_host(host),
                None => {}
            }
        }
    }

    /// What approved hosts are served with.
    pub(super) fn serve_on_demand(
        &self,
        config: &Config,
        now: SystemTime,
    ) -> Result<Vec<Served>, InternalError> {
        let mut all = Vec::new();
        let mut before = self.approvals.stand_ins.take();
        for host in self.approvals.hosts(config) {
            let leaves = self.leaves(&host, &config.acme.key_types, now);
            if leaves.is_empty() && config.acme.until_issued == UntilIssued::Internal {
                let known = before.remove(&host).filter(|leaf| now < leaf.two_thirds());
                let leaf = match known {
                    Some(leaf) => leaf,
                    None => self.authority.borrow().issue(std::slice::from_ref(&host), now)?,
                };
                all.push(Served::new(vec![host.clone()], leaf.clone(), true));
                self.approvals.stand_ins.borrow_mut().insert(host, leaf);
                continue;
            }
            let leaves = leaves.into_iter();
            all.extend(leaves.map(|leaf| Served::new(vec![host.clone()], leaf, false)));
        }
        Ok(all)
    }
}
