//! One attempt at a certificate, or at learning when the next is due, and what is noted of it.

use instant_acme::CertificateIdentifier;

use super::client::Client;
use super::failure::{Cause, Failure};
use super::life::Life;
use super::order::{self, Job};
use super::schedule::{self, Window};
use super::slot::Wanted;
use super::{Issuance, State};
use crate::config::{Acme, Ca};
use crate::tls::leaf::{Leaf, Unfit};
use crate::vault::Lead;
use crate::worker::wall_clock;

impl Issuance {
    /// Asks the CA when to renew (RFC 9773, 4). What it cannot say, it is asked later.
    pub(super) async fn ask(&self, ca: &Ca, state: &mut State) {
        let Some(leaf) = &state.leaf else { return };
        let answer = async {
            let client = Client::new(ca.root_ca.as_deref())?;
            let account = self.account(&client, ca).await?;
            let id = identifier(leaf).ok_or_else(|| Failure::name("no identifier".to_owned()))?;
            Ok::<_, Failure>(account.renewal_info(&id).await?)
        };
        let (window, again) = match answer.await {
            Ok((info, again)) => {
                let window = info.suggested_window;
                (Some(Window { start: window.start.into(), end: window.end.into() }), Some(again))
            }
            Err(failure) => {
                tracing::debug!(error = failure.words, "no renewal information");
                (None, None)
            }
        };
        state.life.suggested(leaf, window, again, wall_clock(), fastrand::f64());
    }

    /// Obtains a certificate, or notes why not.
    pub(super) async fn renew(
        &self,
        acme: &Acme,
        ca: &Ca,
        wanted: &Wanted,
        lead: &Lead,
        state: &mut State,
    ) {
        let (hosts, by) = (wanted.hosts.join(", "), &ca.directory);
        let key = wanted.slot.key_type.name();
        let mut outcome = self.attempt(acme, ca, wanted, lead, state).await;
        if matches!(&outcome, Err(failure) if failure.cause == Cause::Account) {
            outcome = self.attempt(acme, ca, wanted, lead, state).await; // with a new account
        }
        match outcome {
            Ok(leaf) => {
                let (now, chance) = (wall_clock(), fastrand::f64());
                state.life = Life::renewed(&leaf, &ca.directory, now, chance);
                state.leaf = Some(leaf);
                self.succeeded(ca);
                let until = state.life.not_after.map(|end| end.to_string()).unwrap_or_default();
                tracing::info!(hosts, key, until, by, "certificate obtained");
            }
            Err(failure) => {
                let words = failure.words.clone();
                self.failed(acme, ca, &wanted.slot.name, &mut state.life, failure, wall_clock());
                let next = state.life.retry_at.map(|at| at.to_string()).unwrap_or_default();
                tracing::error!(hosts, key, next, by, "no certificate: {words}");
            }
        }
    }

    async fn attempt(
        &self,
        acme: &Acme,
        ca: &Ca,
        wanted: &Wanted,
        lead: &Lead,
        state: &State,
    ) -> Result<Leaf, Failure> {
        // What cannot be kept is not ordered.
        self.vault.prove()?;
        let client = Client::new(ca.root_ca.as_deref())?;
        let told = |failure: Failure| failure.told(client.asked_to_wait(), client.clock());
        let account = self.account(&client, ca).await.map_err(told)?;
        // The CA that issued it has said when to renew it.
        let known = state.life.window.is_some() && state.life.directory == ca.directory;
        let replaced = state.leaf.as_ref().filter(|_| known);
        let (kinds, count) = (acme.challenges.len(), acme.cas.len());
        let (_, kind) = schedule::turn(state.life.turns, kinds, count);
        let job = Job {
            account: &account,
            vault: &self.vault,
            lead,
            challenges: &self.challenges,
            ca,
            slot: &wanted.slot,
            hosts: &wanted.hosts,
            replaces: replaced.and_then(identifier),
            dns: acme.dns.as_ref(),
            challenge: acme.challenges.get(kind).copied().unwrap_or_default(),
        };
        let obtained = order::obtain(&job).await;
        if matches!(&obtained, Err(failure) if failure.cause == Cause::Account) {
            self.forget_account(ca, account.id());
        }
        let pem = obtained.map_err(told)?;
        if let Some(wrong) = client.clock() {
            tracing::warn!("{wrong}: certificates and renewals go by it");
        }
        let leaf = Leaf::read(&pem, wall_clock()).and_then(|leaf| {
            leaf.covers_all(&wanted.hosts)?;
            Ok(leaf)
        });
        match &leaf {
            Ok(_) => {
                self.vault.write(lead, &wanted.slot.certificate_file(), pem.as_bytes()).await?;
            }
            // It is our clock: the order stays, and brings the same certificate when that is right.
            Err(Unfit::NotYet | Unfit::Expired) if client.clock().is_some() => {
                return leaf.map_err(|unfit| told(unfit.into()));
            }
            Err(_) => {}
        }
        self.vault.remove(lead, &wanted.slot.order_file()).await?;
        leaf.map_err(|unfit| told(unfit.into()))
    }
}

/// How a CA that knows ARI calls a certificate.
fn identifier(leaf: &Leaf) -> Option<CertificateIdentifier<'static>> {
    let certificate = leaf.key.end_entity_cert().ok()?;
    Some(CertificateIdentifier::try_from(certificate).ok()?.into_owned())
}
