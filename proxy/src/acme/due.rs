//! What is due, begun: a task for each name whose CA is to be asked something, a few at a time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use super::life::Step;
use super::{Issuance, Name, life_file};
use crate::admin::Control;
use crate::config::{Ca, Issuer, Site};
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
    let sites = plan.config.sites.iter().filter(|site| site.issuer == Issuer::Acme);
    for site in sites {
        let mut names = issuance.names.borrow_mut();
        if names.values().filter(|state| state.busy).count() >= AT_A_TIME {
            return;
        }
        let Some(state) = names.get_mut(site.name()).filter(|state| !state.busy) else { continue };
        if std::mem::take(&mut state.hurried) {
            (state.life.renew_at, state.life.retry_at, state.life.turns) = (None, None, 0);
        }
        let issuer = acme.ca(&state.life.directory);
        let serves = state.leaf.as_ref().is_some_and(|leaf| leaf.covers_all(&site.hosts).is_ok());
        let step = state.life.step(serves && issuer.is_some(), now);
        let ca = match step {
            Step::Wait => None,
            Step::Ask => issuer,
            Step::Order => issuance.ca_for(acme, state.life.turns, now),
        };
        let Some(ca) = ca.cloned() else { continue };
        state.busy = true;
        let (control, plan, site) = (Rc::clone(control), Arc::clone(&plan), site.clone());
        let (name, holder) = (site.name().to_owned(), Rc::clone(&control));
        let attended = async move { attend(&control, &plan, &site, &ca, step).await };
        tokio::task::spawn_local(contain(attended, move || holder.issuance.panicked(&name)));
    }
}

/// Runs a task to its end. If that is a panic, no other task knows of it, and something is done.
async fn contain(task: impl Future<Output = ()> + 'static, after_panic: impl FnOnce()) {
    if tokio::task::spawn_local(task).await.is_err() {
        after_panic();
    }
}

impl Issuance {
    /// The task of a name has ended in a panic, which the panic hook has told of.
    fn panicked(&self, name: &str) {
        if let Some(state) = self.names.borrow_mut().get_mut(name) {
            let error = "a bug: the task panicked; the log says where".to_owned();
            state.life.failed(error, None, wall_clock(), fastrand::f64());
            state.busy = false;
        }
    }
}

/// Does a step and notes what came of it.
async fn attend(control: &Control, plan: &Plan, site: &Site, ca: &Ca, step: Step) {
    let (issuance, acme) = (&control.issuance, &plan.config.acme);
    let mut state = {
        let names = issuance.names.borrow();
        let state = names.get(site.name());
        state.map_or_else(Name::default, |s| Name { leaf: s.leaf.clone(), ..s.life.clone().into() })
    };
    match step {
        Step::Ask => issuance.ask(ca, &mut state).await,
        Step::Order | Step::Wait => issuance.renew(acme, ca, site, &mut state).await,
    }
    state.busy = false;
    let before = issuance.names.borrow_mut().remove(site.name()).unwrap_or_default();
    // Somebody may have put a certificate into the store meanwhile, or asked for a new one.
    if before.reread {
        issuance.reread(site.name(), &mut state, wall_clock());
    }
    state.hurried = before.hurried;
    if let Ok(text) = serde_json::to_vec_pretty(&state.life)
        && let Err(error) = issuance.store.write(&life_file(site.name()), &text)
    {
        tracing::error!(%error, "what is known of a certificate cannot be kept");
    }
    issuance.names.borrow_mut().insert(site.name().to_owned(), state);
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
    use crate::config;

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
        issuance.names.borrow_mut().get_mut("a.example").unwrap().busy = true;
        let holder = Rc::clone(&issuance);
        let tasks = tokio::task::LocalSet::new();
        let task = async { panic!("on purpose") };
        tasks.run_until(contain(task, move || holder.panicked("a.example"))).await;
        let names = issuance.names.borrow();
        let state = names.get("a.example").unwrap();
        assert!(!state.busy && state.life.retry_at.is_some(), "{:?}", state.life);
        assert_eq!(state.life.step(false, wall_clock()), Step::Wait);
    }
}
