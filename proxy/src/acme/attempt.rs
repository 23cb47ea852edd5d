//! One attempt at a certificate, or at learning when the next is due, and what is noted of it.

use instant_acme::{Account, AccountCredentials, CertificateIdentifier, NewAccount};

use super::client::Client;
use super::failure::{Cause, Failure};
use super::life::Life;
use super::order::{self, Job, steady};
use super::schedule::Window;
use super::{Issuance, Name, certificate_file};
use crate::config::{Acme, Site};
use crate::tls::leaf::Leaf;
use crate::worker::wall_clock;

impl Issuance {
    /// Asks the CA when to renew (RFC 9773, 4). What it cannot say, it is asked later.
    pub(super) async fn ask(&self, acme: &Acme, state: &mut Name) {
        let Some(leaf) = &state.leaf else { return };
        let answer = async {
            let client = Client::new(acme.root_ca.as_deref())?;
            let account = self.account(&client, acme).await?;
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
    pub(super) async fn renew(&self, acme: &Acme, site: &Site, state: &mut Name) {
        let hosts = site.hosts.join(", ");
        match self.attempt(acme, site, state).await {
            Ok(leaf) => {
                state.life = Life::renewed(&leaf, &acme.directory, fastrand::f64());
                state.leaf = Some(leaf);
                *self.ca.borrow_mut() = Life::default();
                let until = state.life.not_after.map(|end| end.to_string()).unwrap_or_default();
                tracing::info!(hosts, until, "certificate obtained");
            }
            Err(Failure { words, cause, asked }) => {
                let (now, chance) = (wall_clock(), fastrand::f64());
                if cause == Cause::Authority {
                    self.ca.borrow_mut().failed(words.clone(), asked, now, chance);
                }
                state.life.failed(words.clone(), asked, now, chance);
                let next = state.life.retry_at.map(|at| at.to_string()).unwrap_or_default();
                tracing::error!(hosts, next, "no certificate: {words}");
            }
        }
    }

    async fn attempt(&self, acme: &Acme, site: &Site, state: &Name) -> Result<Leaf, Failure> {
        let client = Client::new(acme.root_ca.as_deref())?;
        let told = |failure: Failure| Failure { asked: client.asked_to_wait(), ..failure };
        let account = self.account(&client, acme).await.map_err(told)?;
        let replaced = state.leaf.as_ref().filter(|_| state.life.window.is_some());
        // After a failure the next kind has its turn.
        let turn = usize::try_from(state.life.failures).unwrap_or_default();
        let kinds = acme.challenges.len().max(1);
        let challenge = acme.challenges.get(turn % kinds).copied().unwrap_or_default();
        let job = Job {
            account: &account,
            store: &self.store,
            challenges: &self.challenges,
            acme,
            name: site.name(),
            hosts: &site.hosts,
            replaces: replaced.and_then(identifier),
            challenge,
        };
        let obtained = order::obtain(&job).await;
        if matches!(&obtained, Err(failure) if failure.cause == Cause::Account) {
            self.set_aside(&account_file(acme), &"the CA does not know this account");
        }
        let pem = obtained.map_err(told)?;
        let leaf = Leaf::read(&pem, wall_clock()).and_then(|leaf| {
            leaf.covers_all(&site.hosts)?;
            Ok(leaf)
        });
        let kept = match &leaf {
            Ok(_) => self.store.write(&certificate_file(site.name()), pem.as_bytes()),
            Err(_) => Ok(()),
        };
        kept?;
        self.store.remove(&order::file(site.name()))?;
        Ok(leaf?)
    }

    /// The account that the store has, or a new one.
    async fn account(&self, client: &Client, acme: &Acme) -> Result<Account, Failure> {
        let _one = self.account.lock().await;
        let file = account_file(acme);
        let http = || Account::builder_with_http(Box::new(client.clone()));
        if let Some(text) = self.store.read(&file)? {
            match serde_json::from_str::<AccountCredentials>(&text) {
                Ok(credentials) => return Ok(http().from_credentials(credentials).await?),
                Err(error) => self.set_aside(&file, &error),
            }
        }
        let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) =
            steady(async || http().create(&new, acme.directory.clone(), None).await).await?;
        self.store.write(&file, &serde_json::to_vec_pretty(&credentials)?)?;
        tracing::info!(directory = acme.directory, "account made");
        Ok(account)
    }
}

/// How a CA that knows ARI calls a certificate.
fn identifier(leaf: &Leaf) -> Option<CertificateIdentifier<'static>> {
    let certificate = leaf.key.end_entity_cert().ok()?;
    Some(CertificateIdentifier::try_from(certificate).ok()?.into_owned())
}

/// An account belongs to one CA.
fn account_file(acme: &Acme) -> String {
    let directory = acme.directory.trim_start_matches("https://");
    let plain = |byte: char| if byte.is_ascii_alphanumeric() || byte == '.' { byte } else { '-' };
    format!("{}.account.json", directory.chars().map(plain).collect::<String>())
}
