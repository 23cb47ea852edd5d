//! What is due, begun: a task for each certificate whose CA is to be asked something, a few at a
//! time and one for each name.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::life::Step;
use super::on_demand::Permission;
use super::slot::{Slot, Wanted};
use super::{Issuance, State, on_demand};
use crate::admin::Control;
use crate::config::{Acme, Ca};
use crate::snapshot::Plan;
use crate::tls::leaf::Leaf;
use crate::vault::Lead;
use crate::worker::wall_clock;

/// Orders under way at a time.
const AT_A_TIME: usize = 4;

/// How long a name is left alone that another instance leads, or that cannot be led at all.
const LED: Duration = Duration::from_secs(1);
const STUCK: Duration = Duration::from_secs(5);

/// Begins what is due.
pub(crate) fn tick(control: &Rc<Control>, now: SystemTime) {
    let issuance = &control.issuance;
    let plan = control.plan();
    if issuance.credentials.certificates.is_due(now)
        && let Err(error) = issuance.install(&plan.config, now)
    {
        tracing::error!(%error, "certificates of the development CA cannot be renewed");
    }
    let acme = &plan.config.acme;
    on_demand::tick(control, &plan.config);
    let all = issuance.wanted(&plan.config);
    let mut slots = issuance.slots.borrow_mut();
    let busy = slots.iter().filter(|(_, state)| state.busy);
    let mut busy: Vec<String> = busy.map(|(slot, _)| slot.name.clone()).collect();
    for wanted in all {
        // Hosts on demand leave a place for sites.
        if busy.len() >= AT_A_TIME - usize::from(wanted.on_demand) {
            return;
        }
        // Two orders of one name would show their proofs in the same place.
        if busy.contains(&wanted.slot.name) {
            continue;
        }
        let Some(state) = slots.get_mut(&wanted.slot) else { continue };
        if issuance.next(acme, &wanted, state, now).is_none() {
            state.wait = None;
            continue;
        }
        if state.wait.as_ref().is_some_and(|(until, _)| now < *until) {
            continue;
        }
        let limit = plan.config.on_demand().filter(|_| wanted.on_demand && state.leaf.is_none());
        if limit.is_some_and(|limit| !issuance.approvals.may_order(limit, now)) {
            continue;
        }
        state.busy = true;
        busy.push(wanted.slot.name.clone());
        let (control, plan) = (Rc::clone(control), Arc::clone(&plan));
        let (slot, holder) = (wanted.slot.clone(), Rc::clone(&control));
        let attended = async move { attend(&control, &plan, &wanted).await };
        tokio::task::spawn_local(contain(attended, move || holder.issuance.panicked(&slot)));
    }
}

/// Runs a task to its end. If that is a panic, no other task knows of it, and something is done.
pub(super) async fn contain(task: impl Future<Output = ()> + 'static, after_panic: impl FnOnce()) {
    if tokio::task::spawn_local(task).await.is_err() {
        after_panic();
    }
}

/// Leads a name, does what is due for one of its slots, and notes what came of it.
async fn attend(control: &Control, plan: &Plan, wanted: &Wanted) {
    let (issuance, acme, slot) = (&control.issuance, &plan.config.acme, &wanted.slot);
    let swap = |is_other: bool| {
        if is_other {
            issuance.install_or_tell(&control.plan().config);
        }
    };
    let lead = match issuance.vault.lead(&slot.name).await {
        Ok(Some(lead)) => lead,
        // What comes of it will be heard of.
        Ok(None) => return swap(issuance.leave(slot, Some((wall_clock() + LED, None)))),
        Err(error) => {
            let wait = (wall_clock() + STUCK, Some(error.to_string()));
            return swap(issuance.leave(slot, Some(wait)));
        }
    };
    // The leader before may have given the host up, or put another certificate there.
    if let Some(shared) = issuance.vault.shared() {
        issuance.take_in(&plan.config, &shared.changed(), wall_clock());
    }
    swap(issuance.hear(slot, wall_clock()));
    match issuance.begin(acme, wanted, wall_clock()) {
        Some((step, ca, mut state)) => {
            let first = state.leaf.is_none();
            let permission = match wanted.on_demand && step != Step::Ask {
                true => issuance.permission(&plan.config, &slot.name, &lead, first).await,
                false => Permission::Granted,
            };
            match (permission, step) {
                (Permission::Refused, _) => {
                    issuance.give_up(&slot.name, &lead, "it is refused now").await;
                    issuance.vault.release(lead).await;
                    return;
                }
                (Permission::Later, _) => {
                    issuance.vault.release(lead).await;
                    return swap(issuance.leave(slot, Some((wall_clock() + LED, None))));
                }
                (Permission::Unknown(why), _) => {
                    issuance.unanswered(&slot.name, &mut state.life, why);
                }
                (Permission::Granted, Step::Ask) => issuance.ask(&ca, &mut state).await,
                (Permission::Granted, Step::Order | Step::Wait) => {
                    issuance.renew(acme, &ca, wanted, &lead, &mut state).await;
                }
            }
            swap(issuance.conclude(slot, &lead, state).await || step == Step::Order);
            if wanted.on_demand {
                issuance.despair(&slot.name, &lead, wall_clock()).await;
            }
        }
        None => swap(issuance.leave(slot, None)),
    }
    issuance.vault.release(lead).await;
}

impl Issuance {
    /// What is to be done for a slot, and which CA is asked for it.
    fn next<'a>(
        &self,
        acme: &'a Acme,
        wanted: &Wanted,
        state: &mut State,
        now: SystemTime,
    ) -> Option<(Step, &'a Ca)> {
        if let Some(since) = state.hurried {
            // Another instance may have been told, too, and faster.
            match state.life.obtained_at.is_some_and(|at| at > since) {
                true => state.hurried = None,
                false => {
                    let life = &mut state.life;
                    (life.renew_at, life.retry_at, life.turns) = (None, None, 0);
                }
            }
        }
        let issuer = acme.ca(&state.life.directory);
        // There may be thousands on demand, each of which has only the name that it was read for.
        let fits = |leaf: &Leaf| wanted.on_demand || leaf.covers_all(&wanted.hosts).is_ok();
        let serves = state.leaf.as_ref().is_some_and(fits);
        let step = state.life.step(serves && issuer.is_some(), now);
        let ca = match step {
            Step::Wait => None,
            Step::Ask => issuer,
            Step::Order => self.ca_for(acme, state.life.turns, now),
        };
        Some((step, ca?))
    }

    /// Takes over what is shared of a slot, or what another process with this store has put there.
    /// Says whether that is another certificate.
    fn hear(&self, slot: &Slot, now: SystemTime) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(state) = slots.get_mut(slot) else { return false };
        match self.vault.shared() {
            Some(_) => self.take_over(slot, state, now),
            None => self.reread(slot, state, now),
        }
    }

    /// What is to be done for a slot now that its name is led, and what is known of it; `None` if
    /// the leader before has done it.
    fn begin(&self, acme: &Acme, wanted: &Wanted, now: SystemTime) -> Option<(Step, Ca, State)> {
        let mut slots = self.slots.borrow_mut();
        let state = slots.get_mut(&wanted.slot)?;
        let (step, ca) = self.next(acme, wanted, state, now)?;
        (state.hurried, state.wait) = (None, None);
        let leaf = state.leaf.clone();
        Some((step, ca.clone(), State { leaf, ..state.life.clone().into() }))
    }

    /// Keeps what is known of a slot now. Says whether somebody has put another certificate there
    /// meanwhile.
    async fn conclude(&self, slot: &Slot, lead: &Lead, mut state: State) -> bool {
        if let Ok(text) = serde_json::to_vec_pretty(&state.life)
            && let Err(error) = self.vault.write(lead, &slot.life_file(), &text).await
        {
            tracing::error!(%error, "what is known of a certificate cannot be kept");
        }
        let before = self.slots.borrow_mut().remove(slot).unwrap_or_default();
        if before.reread {
            self.reread(slot, &mut state, wall_clock());
        }
        // Somebody may have asked for a new one meanwhile.
        state.hurried = before.hurried;
        self.slots.borrow_mut().insert(slot.clone(), state);
        before.reread
    }

    /// Does nothing for a slot now. Says whether somebody has put another certificate there
    /// meanwhile.
    fn leave(&self, slot: &Slot, wait: Option<(SystemTime, Option<String>)>) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(state) = slots.get_mut(slot) else { return false };
        state.busy = false;
        let reread = std::mem::take(&mut state.reread);
        if reread {
            self.reread(slot, state, wall_clock());
        }
        state.wait = wait;
        reread
    }

    /// The task of a slot has ended in a panic, which the panic hook has told of.
    fn panicked(&self, slot: &Slot) {
        self.challenges.withdraw(&slot.name);
        if let Some(state) = self.slots.borrow_mut().get_mut(slot) {
            let error = "a bug: the task panicked; the log says where".to_owned();
            state.life.failed(error, None, wall_clock(), fastrand::f64());
            state.busy = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, KeyType};

    #[tokio::test]
    async fn a_task_that_panics_leaves_its_name_to_be_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "[tls]\nstore = \"{}\"\n\
             [[site]]\nhosts = [\"a.example\"]\nupstream = \"http://127.0.0.1:1\"\n",
            directory.path().display()
        );
        let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
        let issuance = Rc::new(Issuance::open(&config, wall_clock()).unwrap());
        let slot = Slot::new("a.example", KeyType::EcdsaP256);
        issuance.slots.borrow_mut().get_mut(&slot).unwrap().busy = true;
        let holder = Rc::clone(&issuance);
        let tasks = tokio::task::LocalSet::new();
        let task = async { panic!("on purpose") };
        let ended = slot.clone();
        tasks.run_until(contain(task, move || holder.panicked(&ended))).await;
        let slots = issuance.slots.borrow();
        let state = slots.get(&slot).unwrap();
        assert!(!state.busy && state.life.retry_at.is_some(), "{:?}", state.life);
        assert_eq!(state.life.step(false, wall_clock()), Step::Wait);
    }
}
