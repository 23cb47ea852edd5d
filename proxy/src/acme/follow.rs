//! What other instances have changed, put to use here within a second.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::challenge::Answers;
use super::slot::{Slot, Wanted, challenges_file};
use super::{Issuance, State};
use crate::admin::Control;
use crate::config::Config;
use crate::worker::wall_clock;

/// How often the shared store is asked what has changed.
const EVERY: Duration = Duration::from_millis(250);

/// Follows the other instances, if certificates are shared, for as long as the process runs.
pub(crate) async fn follow(control: Rc<Control>) {
    while control.issuance.vault.shared().is_some() {
        let following = Rc::clone(&control);
        let turn = async move {
            let plan = following.plan();
            following.issuance.catch_up(&plan.config).await;
            following.issuance.found(&plan.config).await;
        };
        // If that panics, the hook has told of it, and the next turn may do better.
        _ = tokio::task::spawn_local(turn).await;
        tokio::time::sleep(EVERY).await;
    }
}

impl Issuance {
    async fn catch_up(&self, config: &Config) {
        let Some(shared) = self.vault.shared() else { return };
        // A failure has been told, and its time will come.
        if let Ok(changed) = shared.follow().await {
            self.take_in(config, &changed, wall_clock());
            self.doubt(&changed);
        }
    }

    /// Puts files to use that have changed. Waits for nothing: others rely on it.
    pub(super) fn take_in(&self, config: &Config, changed: &BTreeSet<String>, now: SystemTime) {
        if changed.is_empty() {
            return;
        }
        let mut is_other = false;
        self.take_in_approvals(changed);
        for Wanted { slot, .. } in self.wanted(config) {
            if changed.contains(&challenges_file(&slot.name)) {
                self.show(&slot.name, now);
            }
            let files = [slot.certificate_file(), slot.life_file()];
            if !files.iter().any(|file| changed.contains(file)) {
                continue;
            }
            if let Some(state) = self.slots.borrow_mut().get_mut(&slot) {
                match state.busy {
                    true => state.reread = true,
                    false => is_other |= self.take_over(&slot, state, now),
                }
            }
        }
        if is_other {
            self.install_or_tell(config);
        }
    }

    /// Takes over what is kept of a slot. Says whether that is another certificate than the one
    /// that is served, which goes on being served if there is none.
    pub(super) fn take_over(&self, slot: &Slot, state: &mut State, now: SystemTime) -> bool {
        let State { leaf, life, .. } = self.read(slot, now);
        let Some(leaf) = leaf else {
            if state.leaf.is_none() {
                state.life = life;
            }
            return false;
        };
        let known = state.leaf.as_ref().map(|known| &known.key.cert);
        let is_other = known != Some(&leaf.key.cert);
        (state.leaf, state.life) = (Some(leaf), life);
        is_other
    }

    /// Shows what the leader of a name wants CAs to be shown.
    fn show(&self, name: &str, now: SystemTime) {
        let text = self.vault.read(&challenges_file(name)).ok().flatten();
        let answers = text.map(|text| serde_json::from_str::<Answers>(&text)).transpose();
        let shown = match &answers {
            Ok(Some(answers)) => self.challenges.show(name, answers.at(now)),
            Ok(None) | Err(_) => self.challenges.show(name, &[]),
        };
        if let Err(error) = shown {
            tracing::error!(name, %error, "a challenge of another instance is not answered here");
        }
    }

    /// Chooses anew what every site is served with.
    pub(super) fn install_or_tell(&self, config: &Config) {
        if let Err(error) = self.install(config, wall_clock()) {
            tracing::error!(%error, "certificates cannot be swapped in");
        }
    }
}
