//! The account that we have with each CA: made once, kept in the store, made anew if the CA has
//! forgotten it, its key replaced when the operator asks.

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, Error, ExternalAccountKey, NewAccount,
};

use super::Issuance;
use super::client::Client;
use super::failure::Failure;
use super::order::steady;
use crate::config::{Acme, Ca};
use crate::vault::Lead;

impl Issuance {
    /// The account that the store has, or a new one.
    pub(super) async fn account(&self, client: &Client, ca: &Ca) -> Result<Account, Failure> {
        let _one = self.account.lock().await;
        if self.vault.read(&marker(ca))?.is_none()
            && let Some(account) = self.known(client, ca).await?
        {
            return Ok(account);
        }
        let lead = self.vault.lead_in_turn(&account_file(ca)).await?;
        let account = self.settled(client, ca, &lead).await;
        self.vault.release(lead).await;
        account
    }

    /// The account after whatever happened to it, or a new one.
    async fn settled(&self, client: &Client, ca: &Ca, lead: &Lead) -> Result<Account, Failure> {
        self.settle(client, ca, lead).await?;
        if let Some(account) = self.known(client, ca).await? {
            return Ok(account);
        }
        let contact = contact(ca);
        let new = NewAccount {
            contact: &contact.iter().map(String::as_str).collect::<Vec<_>>(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let binding = ca.eab.as_ref();
        let binding = binding.map(|eab| ExternalAccountKey::new(eab.key_id.clone(), &eab.hmac_key));
        let directory = &ca.directory;
        let create = async || http(client).create(&new, directory.clone(), binding.as_ref()).await;
        let (account, credentials) = steady(create).await?;
        self.keep(ca, lead, &credentials).await?;
        tracing::info!(directory, "account made");
        Ok(account)
    }

    /// The account that the store has, if it can be used.
    async fn known(&self, client: &Client, ca: &Ca) -> Result<Option<Account>, Failure> {
        let file = account_file(ca);
        let Some(text) = self.vault.read(&file)? else { return Ok(None) };
        let credentials: AccountCredentials = match serde_json::from_str(&text) {
            Ok(credentials) => credentials,
            Err(error) => {
                self.set_aside(&file, &error);
                return Ok(None);
            }
        };
        Ok(Some(http(client).from_credentials(credentials).await?))
    }

    /// An earlier process may have ended while the key was replaced. If it is not the one that is
    /// kept which the CA knows, that one is set aside.
    async fn settle(&self, client: &Client, ca: &Ca, lead: &Lead) -> Result<(), Failure> {
        let marker = marker(ca);
        if self.vault.read(&marker)?.is_none() {
            return Ok(());
        }
        if let Some(account) = self.known(client, ca).await? {
            let contact = contact(ca);
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            match steady(async || account.update_contacts(&contact).await).await {
                Err(Error::Api(problem)) if matches!(problem.status, Some(400 | 401 | 403)) => {
                    self.set_aside(&account_file(ca), &problem);
                }
                outcome => outcome?,
            }
        }
        Ok(self.vault.remove(lead, &marker).await?)
    }

    async fn keep(
        &self,
        ca: &Ca,
        lead: &Lead,
        account: &AccountCredentials,
    ) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(account)?;
        Ok(self.vault.write(lead, &account_file(ca), &text).await?)
    }

    /// The CA does not know an account any more. If another has taken its place, that one stays.
    pub(super) fn forget_account(&self, ca: &Ca, id: &str) {
        let file = account_file(ca);
        if self.vault.read(&file).is_ok_and(|text| text.is_some_and(|text| text.contains(id))) {
            self.set_aside(&file, &"the CA does not know this account");
        }
    }

    /// Replaces the keys of all accounts (RFC 8555, 7.3.5). Says with which CAs, and why not.
    pub(crate) async fn replace_keys(&self, acme: &Acme) -> Vec<(String, Result<(), String>)> {
        let mut outcomes = Vec::new();
        for ca in &acme.cas {
            let outcome = match self.replace_key(ca).await {
                Ok(false) => continue,
                Ok(true) => Ok(()),
                Err(failure) => Err(failure.words),
            };
            match &outcome {
                Ok(()) => tracing::info!(ca.directory, "the key of the account is replaced"),
                Err(words) => tracing::error!(ca.directory, "account key: {words}"),
            }
            outcomes.push((ca.directory.clone(), outcome));
        }
        outcomes
    }

    /// False if there is no account.
    async fn replace_key(&self, ca: &Ca) -> Result<bool, Failure> {
        let _one = self.account.lock().await;
        let lead = self.vault.lead_in_turn(&account_file(ca)).await?;
        let replaced = self.replace_key_of(ca, &lead).await;
        self.vault.release(lead).await;
        replaced
    }

    async fn replace_key_of(&self, ca: &Ca, lead: &Lead) -> Result<bool, Failure> {
        let client = Client::new(ca.root_ca.as_deref())?;
        self.settle(&client, ca, lead).await?;
        let Some(mut account) = self.known(&client, ca).await? else { return Ok(false) };
        let marker = marker(ca);
        self.vault.write(lead, &marker, b"").await?;
        let replaced = steady(async || account.update_key().await).await;
        if matches!(replaced, Err(Error::Api(_))) {
            self.vault.remove(lead, &marker).await?;
        }
        self.keep(ca, lead, &replaced?).await?;
        self.vault.remove(lead, &marker).await?;
        Ok(true)
    }
}

fn http(client: &Client) -> AccountBuilder {
    Account::builder_with_http(Box::new(client.clone()))
}

fn contact(ca: &Ca) -> Option<String> {
    ca.email.as_ref().map(|email| format!("mailto:{email}"))
}

/// An account belongs to one CA.
fn account_file(ca: &Ca) -> String {
    let directory = ca.directory.trim_start_matches("https://");
    let plain = |byte: char| if byte.is_ascii_alphanumeric() || byte == '.' { byte } else { '-' };
    format!("{}.account.json", directory.chars().map(plain).collect::<String>())
}

/// Is there while the account's key is replaced.
fn marker(ca: &Ca) -> String {
    format!("{}.replacing", account_file(ca))
}
