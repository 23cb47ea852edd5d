//! What a CA is shown to prove that the names of an order are ours.

use instant_acme::{AuthorizationStatus, ChallengeStatus, ChallengeType, Order};

use super::challenge::{Answers, Proof};
use super::dns::{self, Action, Record};
use super::failure::Failure;
use super::order::{Job, learn, steady};
use super::slot::challenges_file;
use crate::config::Challenge;
use crate::worker::wall_clock;

/// What is shown until it is withdrawn.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    shown: Vec<Proof>,
    records: Vec<Record>,
}

impl Proofs {
    /// Shows nothing any more. A record that stays proves nothing to anybody, and fails nothing.
    pub(super) async fn withdraw(self, job: &Job<'_>) {
        let name = &job.slot.name;
        job.challenges.withdraw(name);
        if let Err(error) = job.vault.remove(job.lead, &challenges_file(name)).await {
            tracing::warn!(name, %error, "an answer stays until it has had its time");
        }
        let Some(dns) = job.dns else { return };
        for record in &self.records {
            if let Err(failure) = dns::write(dns, Action::Cleanup, record).await {
                tracing::warn!(name, "a record of a challenge stays: {}", failure.words);
            }
        }
    }
}

/// Shows the answer of every name that is not proven yet, and tells the CA to look.
pub(super) async fn prove(
    job: &Job<'_>,
    order: &mut Order,
    proofs: &mut Proofs,
) -> Result<(), Failure> {
    learn(order).await?;
    show(job, order, proofs).await?;
    job.challenges.show(&job.slot.name, &proofs.shown)?;
    if !proofs.shown.is_empty() {
        let shared = serde_json::to_vec_pretty(&Answers::new(&proofs.shown, wall_clock()))?;
        job.vault.share(job.lead, &challenges_file(&job.slot.name), &shared).await?;
    }
    if let Some(dns) = job.dns.filter(|_| !proofs.records.is_empty()) {
        dns::seen(dns, &proofs.records).await?;
    }
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let host = authorization.identifier().to_string();
        let kind = kind(job, authorization.identifier().wildcard);
        // An order that is taken up again may have come this far.
        if let Some(mut challenge) = authorization.challenge(of_acme(kind))
            && challenge.status == ChallengeStatus::Pending
        {
            // A CA that is quick says here already that it looked in vain.
            let told = steady(async || challenge.set_ready().await).await;
            told.map_err(|error| Failure::from(error).of(&host))?;
        }
    }
    Ok(())
}

async fn show(job: &Job<'_>, order: &mut Order, proofs: &mut Proofs) -> Result<(), Failure> {
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let host = authorization.identifier().to_string();
        let kind = kind(job, authorization.identifier().wildcard);
        let Some(challenge) = authorization.challenge(of_acme(kind)) else {
            let text = format!("{host}: the CA does not offer {}", kind.name());
            return Err(Failure::name(text));
        };
        let answer = challenge.key_authorization();
        match kind {
            Challenge::Http01 | Challenge::TlsAlpn01 => {
                let token = (kind == Challenge::Http01).then(|| challenge.token.clone());
                proofs.shown.push(Proof { host, token, answer: answer.as_str().to_owned() });
            }
            Challenge::Dns01 => {
                let dns = job.dns.ok_or_else(|| {
                    Failure::name(format!("{host}: nothing writes DNS records for dns-01"))
                })?;
                let record = Record::new(&host, answer.dns_value());
                proofs.records.push(record.clone());
                dns::write(dns, Action::Present, &record).await?;
            }
        }
    }
    Ok(())
}

/// Wildcards are proven in DNS and nowhere else.
fn kind(job: &Job<'_>, wildcard: bool) -> Challenge {
    if wildcard { Challenge::Dns01 } else { job.challenge }
}

fn of_acme(kind: Challenge) -> ChallengeType {
    match kind {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Dns01 => ChallengeType::Dns01,
    }
}
