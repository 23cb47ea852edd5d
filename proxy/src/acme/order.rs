//! One order, from the account to the chain (RFC 8555, 7.4).
//!
//! The order's URL and the key of its certificate are in the store before the CA is asked to issue,
//! so an instance that dies at any moment takes the order up again where it was.

use std::time::Duration;

use instant_acme::{
    Account, CertificateIdentifier, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde::{Deserialize, Serialize};

use super::challenge::Challenges;
use super::failure::{Failure, is_bad_nonce};
use super::prove::{Proofs, prove};
use super::slot::Slot;
use crate::config::{Ca, Challenge, Dns, KeyType};
use crate::vault::{Lead, Vault};

/// Nonces that are refused before an exchange is given up. The library itself tries each three
/// times.
const NONCES: usize = 8;

/// How a pending order is watched.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(200))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// What is ordered, and with what.
pub(super) struct Job<'a> {
    pub(super) account: &'a Account,
    pub(super) vault: &'a Vault,
    /// The right to change what is kept of the name.
    pub(super) lead: &'a Lead,
    pub(super) challenges: &'a Challenges,
    pub(super) ca: &'a Ca,
    pub(super) slot: &'a Slot,
    pub(super) hosts: &'a [String],
    /// The certificate that this one takes the place of (RFC 9773, 5).
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
    /// How names are proven that are no wildcards.
    pub(super) challenge: Challenge,
    pub(super) dns: Option<&'a Dns>,
}

/// An order that has not come to its end, as the store keeps it.
#[derive(Serialize, Deserialize)]
struct Pending {
    directory: String,
    hosts: Vec<String>,
    order: String,
    key: String,
}

/// Orders a certificate, or takes up the order that was pending. The result is the key and the
/// chain in PEM; the order is forgotten by the caller, once that is stored.
pub(super) async fn obtain(job: &Job<'_>) -> Result<String, Failure> {
    let (mut order, key) = match resume(job).await? {
        Some(resumed) => resumed,
        None => open(job).await?,
    };
    if order.state().status == OrderStatus::Pending {
        let mut proofs = Proofs::default();
        let ready = match prove(job, &mut order, &mut proofs).await {
            Ok(()) => Ok(steady(async || order.poll_ready(&POLL).await).await),
            Err(failure) => Err(failure),
        };
        proofs.withdraw(job).await;
        let ready = ready?;
        if order.state().status == OrderStatus::Invalid {
            // An error of the order says less than those of its challenges.
            let refused = refusal(&mut order).await;
            _ = job.vault.remove(job.lead, &job.slot.order_file()).await;
            return Err(match (refused, ready) {
                (Some(refused), _) => Failure::name(refused),
                (None, Err(error)) => error.into(),
                (None, Ok(_)) => Failure::name("the CA calls the order invalid".to_owned()),
            });
        }
        ready?;
    }
    if order.state().status == OrderStatus::Ready {
        let mut params = CertificateParams::new(job.hosts)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        steady(async || order.finalize_csr(request.der()).await).await?;
    }
    let chain = steady(async || order.poll_certificate(&POLL).await).await;
    if order.state().status == OrderStatus::Invalid {
        _ = job.vault.remove(job.lead, &job.slot.order_file()).await;
    }
    Ok(format!("{}{}", key.serialize_pem(), chain?))
}

/// The order that an earlier attempt left, if the CA still knows it and it can end well. One whose
/// certificate is kept already is over: a crash between the two left it.
async fn resume(job: &Job<'_>) -> Result<Option<(Order, KeyPair)>, Failure> {
    let Some(text) = job.vault.read(&job.slot.order_file())? else { return Ok(None) };
    let certificate = job.vault.read(&job.slot.certificate_file())?.unwrap_or_default();
    let pending = serde_json::from_str::<Pending>(&text)
        .ok()
        .filter(|pending| pending.directory == job.ca.directory && pending.hosts == job.hosts)
        .filter(|pending| !certificate.starts_with(&pending.key));
    if let Some(pending) = pending
        && let Ok(key) = KeyPair::from_pem(&pending.key)
    {
        let known = steady(async || job.account.order(pending.order.clone()).await).await;
        match known {
            Ok(mut order) => {
                if order.state().status != OrderStatus::Invalid {
                    tracing::info!(name = job.slot.name, "taking up a pending order");
                    return Ok(Some((order, key)));
                }
            }
            Err(error) if !is_forgotten(&error) => return Err(error.into()),
            Err(_) => {}
        }
    }
    job.vault.remove(job.lead, &job.slot.order_file()).await?;
    Ok(None)
}

/// Whether the CA knows nothing of what it is asked for. One that has no time says so, too.
fn is_forgotten(error: &Error) -> bool {
    let Error::Api(problem) = error else { return false };
    matches!(problem.status, None | Some(400..=428 | 430..=499))
}

/// A new order, kept in the store with the key of its certificate. Between the CA's answer and the
/// store there is nothing: an order of which the store does not know is lost if we die.
async fn open(job: &Job<'_>) -> Result<(Order, KeyPair), Failure> {
    let key = generate(job.slot.key_type).await?;
    let identifiers: Vec<Identifier> = job.hosts.iter().map(|host| identifier(host)).collect();
    let mut new = NewOrder::new(&identifiers);
    if let Some(profile) = &job.ca.profile {
        let offered: Vec<&str> = job.account.profiles().map(|profile| profile.name).collect();
        if !offered.contains(&profile.as_str()) {
            let offered = offered.join(", ");
            let text = format!("the CA has no profile `{profile}`; it has: {offered}");
            return Err(Failure::name(text));
        }
        new = new.profile(profile);
    }
    let order = match job.replaces.clone() {
        None => steady(async || job.account.new_order(&new).await).await?,
        Some(replaced) => {
            let replacing = replacing(&identifiers, job.ca.profile.as_deref(), replaced);
            match steady(async || job.account.new_order(&replacing).await).await {
                Ok(order) => order,
                // A CA that does not understand `replaces`, or not this one.
                Err(error) => {
                    let name = &job.slot.name;
                    tracing::info!(name, %error, "ordering again without `replaces`");
                    steady(async || job.account.new_order(&new).await).await?
                }
            }
        }
    };
    let pending = Pending {
        directory: job.ca.directory.clone(),
        hosts: job.hosts.to_vec(),
        order: order.url().to_owned(),
        key: key.serialize_pem(),
    };
    let text = serde_json::to_vec_pretty(&pending)?;
    job.vault.write(job.lead, &job.slot.order_file(), &text).await?;
    Ok((order, key))
}

/// A new key. One of RSA takes up to seconds, for which this thread has no time.
async fn generate(key_type: KeyType) -> Result<KeyPair, Failure> {
    let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    let generate = move || match key_type {
        KeyType::EcdsaP256 => KeyPair::generate(),
        KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
        KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
        KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
    };
    let generated = tokio::task::spawn_blocking(generate).await;
    Ok(generated.map_err(|_| Failure::name("no key could be made".to_owned()))??)
}

fn replacing<'a>(
    identifiers: &'a [Identifier],
    profile: Option<&'a str>,
    replaced: CertificateIdentifier<'a>,
) -> NewOrder<'a> {
    let new = NewOrder::new(identifiers).replaces(replaced);
    match profile {
        Some(profile) => new.profile(profile),
        None => new,
    }
}

fn identifier(host: &str) -> Identifier {
    host.parse().map_or_else(|_| Identifier::Dns(host.to_owned()), Identifier::Ip)
}

/// What the CA says of the first name that it could not validate.
async fn refusal(order: &mut Order) -> Option<String> {
    learn(order).await.ok()?;
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization.ok()?;
        _ = steady(async || authorization.refresh().await.map(|_| ())).await;
        let error = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(error) = error {
            return Some(format!("{}: {error}", authorization.identifier()));
        }
    }
    None
}

/// Learns how each authorization of an order is, where that is not known.
pub(super) async fn learn(order: &mut Order) -> Result<(), Error> {
    steady(async || {
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            authorization?;
        }
        Ok(())
    })
    .await
}

/// Repeats an exchange whose nonce the CA refuses: that is no failure of the order (RFC 8555, 6.5).
pub(super) async fn steady<T>(
    mut exchange: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 1..NONCES {
        match exchange().await {
            Err(error) if is_bad_nonce(&error) => {}
            outcome => return outcome,
        }
    }
    exchange().await
}
