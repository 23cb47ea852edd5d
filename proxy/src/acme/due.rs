//! What is due, begun: a task for each certificate whose CA is to be asked something, a few at a
//! time and one for each name.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use super::life::Step;
use super::slot::{Slot, Wanted};
use super::{Issuance, State};
use crate::admin::Control;
use crate::config::Ca;
use crate::snapshot::Plan;
use crate::worker::wall_clock;

/// Orders under way at a time.
const AT_A_TIME: usize = 4;

/// Begins what is due.
pub(crate) fn tick(control: &Rc<Control>, now: SystemTime) {
    let issuance = &control.issuance;
    let plan = control.plan();
    if issuance.certificates.is_due(now)
        && let Err(error) = issuance.install(&plan.config, now)
    {
        tracing::error!(%error, "certificates of the development CA cannot be renewed");
    }
    let acme = &plan.config.acme;
    for wanted in Wanted::all(&plan.config) {
        let mut slots = issuance.slots.borrow_mut();
        let busy = || slots.iter().filter(|(_, state)| state.busy);
        if busy().count() >= AT_A_TIME {
            return;
        }
        // Two orders of one name would show their proofs in the same place.
        if busy().any(|(slot, _)| slot.name == wanted.slot.name) {
            continue;
        }
        let Some(state) = slots.get_mut(&wanted.slot) else { continue };
        if std::mem::take(&mut state.hurried) {
            (state.life.renew_at, state.life.retry_at, state.life.turns) = (None, None, 0);
        }
        let issuer = acme.ca(&state.life.directory);
        let serves = state.leaf.as_ref().is_some_and(|leaf| leaf.covers_all(&wanted.hosts).is_ok());
        let step = state.life.step(serves && issuer.is_some(), now);
        let ca = match step {
            Step::Wait => None,
            Step::Ask => issuer,
            Step::Order => issuance.ca_for(acme, state.life.turns, now),
        };
        let Some(ca) = ca.cloned() else { continue };
        state.busy = true;
        let (control, plan) = (Rc::clone(control), Arc::clone(&plan));
        let (slot, holder) = (wanted.slot.clone(), Rc::clone(&control));
        let attended = async move { attend(&control, &plan, &wanted, &ca, step).await };
        tokio::task::spawn_local(contain(attended, move || holder.issuance.panicked(&slot)));
    }
}

/// Runs a task to its end. If that is a panic, no other task knows of it, and something is done.
async fn contain(task: impl Future<Output = ()> + 'static, after_panic: impl FnOnce()) {
    if tokio::task::spawn_local(task).await.is_err() {
        after_panic();
    }
}

impl Issuance {
    /// The task of a slot has ended in a panic, which the panic hook has told of.
    fn panicked(&self, slot: &Slot) {
        if let Some(state) = self.slots.borrow_mut().get_mut(slot) {
            let error = "a bug: the task panicked; the log says where".to_owned();
            state.life.failed(error, None, wall_clock(), fastrand::f64());
            state.busy = false;
        }
    }
}

/// Does a step and notes what came of it.
async fn attend(control: &Control, plan: &Plan, wanted: &Wanted, ca: &Ca, step: Step) {
    let (issuance, acme, slot) = (&control.issuance, &plan.config.acme, &wanted.slot);
    let mut state = {
        let slots = issuance.slots.borrow();
        let known = |s: &State| State { leaf: s.leaf.clone(), ..s.life.clone().into() };
        slots.get(slot).map(known).unwrap_or_default()
    };
    match step {
        Step::Ask => issuance.ask(ca, &mut state).await,
        Step::Order | Step::Wait => issuance.renew(acme, ca, wanted, &mut state).await,
    }
    state.busy = false;
    let before = issuance.slots.borrow_mut().remove(slot).unwrap_or_default();
    // Somebody may have put a certificate into the store meanwhile, or asked for a new one.
    if before.reread {
        issuance.reread(slot, &mut state, wall_clock());
    }
    state.hurried = before.hurried;
    if let Ok(text) = serde_json::to_vec_pretty(&state.life)
        && let Err(error) = issuance.store.write(&slot.life_file(), &text)
    {
        tracing::error!(%error, "what is known of a certificate cannot be kept");
    }
    issuance.slots.borrow_mut().insert(slot.clone(), state);
    if (step == Step::Order || before.reread)
        && let Err(error) = issuance.install(&control.plan().config, wall_clock())
    {
        tracing::error!(%error, "certificates cannot be swapped in");
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
