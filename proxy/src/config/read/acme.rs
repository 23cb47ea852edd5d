//! `[acme]` and `[[acme.fallback]]`.

use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;

use super::dns;
use crate::config::fault::Findings;
use crate::config::model::{Acme, Ca, Challenge, Eab, KeyType, UntilIssued};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::tree::Value;
use crate::config::values::At;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The shortest key of an external account, in bytes.
const SHORTEST_KEY: usize = 16;

/// The section, and what has to be held against the sites.
pub(super) struct Read {
    pub(super) acme: Acme,
    /// Where it is said who writes DNS records.
    dns: Option<Place>,
}

impl Read {
    /// Notes the wildcards that cannot be proven, and what would never be used.
    pub(super) fn check(&self, wildcards: &[At<String>], findings: &Findings) {
        for host in wildcards.iter().filter(|_| self.dns.is_none()) {
            let message = format!("`{}` can be proven by a DNS record only", host.value);
            let remedy = "name a `dns_hook` or a `dns_update` in [acme]";
            findings.error(&host.place, message, remedy);
        }
        if let Some(place) = &self.dns
            && wildcards.is_empty()
            && !self.acme.challenges.contains(&Challenge::Dns01)
        {
            let message = "nothing in [acme] is proven by a DNS record";
            findings.warning(place, message, "add \"dns-01\" to `challenges`, or remove this");
        }
    }
}

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Read {
    let (first, place) = ca(&mut section, None);
    let challenges = section.list("challenges", "challenge", |text| match text {
        "tls-alpn-01" => Ok(Challenge::TlsAlpn01),
        "http-01" => Ok(Challenge::Http01),
        "dns-01" => Ok(Challenge::Dns01),
        other => Err(suggestion(other, ["tls-alpn-01", "http-01", "dns-01"])),
    });
    let key_types = key_types(&mut section);
    let dns = dns::read(&mut section);
    if let Some(list) = &challenges {
        section.note_empty("challenges", list, "name at least one");
        let named = list.items.iter().find(|at| at.value == Challenge::Dns01);
        let writers = ["dns_hook", "dns_update"].map(|key| section.node(key).is_some());
        if let Some(At { place, .. }) = named.filter(|_| writers == [false, false]) {
            let remedy = "name a `dns_hook` or a `dns_update` in [acme]";
            section.error(place, "nothing writes the DNS records of \"dns-01\"", remedy);
        }
    }
    let until_issued = section.parsed("until_issued", "choice", |text| match text {
        "internal" => Ok(UntilIssued::Internal),
        "refuse" => Ok(UntilIssued::Refuse),
        other => Err(suggestion(other, ["internal", "refuse"])),
    });
    let email = first.email.clone();
    let mut all = vec![(first, place.unwrap_or_else(|| section.place.clone()))];
    for mut fallback in section.sections("fallback", "[[acme.fallback]]") {
        fallback.require("directory", "directory = \"https://acme.zerossl.com/v2/DV90\"");
        let (ca, place) = ca(&mut fallback, email.clone());
        if let Some(place) = place {
            if let Some((_, first)) = all.iter().find(|(a, _)| a.directory == ca.directory) {
                let message = format!("`{}` is asked twice", ca.directory);
                fallback.findings.clash(&place, message, "name another CA", "first named", first);
            }
            all.push((ca, place));
        }
        fallback.finish();
    }
    section.finish();
    let default = || vec![Challenge::TlsAlpn01, Challenge::Http01];
    let (dns, place) = dns.unzip();
    let acme = Acme {
        cas: all.into_iter().map(|(ca, _)| ca).collect(),
        challenges: challenges.map_or_else(default, |list| list.into_values()),
        key_types,
        dns,
        until_issued: until_issued.map_or(UntilIssued::Internal, |at| at.value),
    };
    Read { acme, dns: place }
}

/// The kinds of key, ECDSA first: who can verify it is served that.
fn key_types(section: &mut Section<'_>) -> Vec<KeyType> {
    let list = section.list("key_types", "kind of key", |text| {
        let named = KeyType::ALL.into_iter().find(|key_type| key_type.name() == text);
        named.ok_or_else(|| suggestion(text, KeyType::ALL.map(KeyType::name)))
    });
    let Some(list) = list else { return vec![KeyType::EcdsaP256] };
    section.note_empty("key_types", &list, "name at least one");
    for (index, later) in list.items.iter().enumerate() {
        let same = |first: &&At<KeyType>| first.value.is_rsa() == later.value.is_rsa();
        if let Some(first) = list.items.iter().take(index).find(same) {
            let kind = if later.value.is_rsa() { "RSA" } else { "ECDSA" };
            let message = format!("two kinds of {kind} key: no client would be served the second");
            let (place, other) = (&later.place, &first.place);
            section.findings.clash(place, message, "keep one", "the other is", other);
        }
    }
    let mut key_types = list.into_values();
    key_types.sort_unstable();
    key_types
}

/// What a section says of a CA, and where it names it.
fn ca(section: &mut Section<'_>, email: Option<String>) -> (Ca, Option<Place>) {
    let directory = section.parsed("directory", "URL", |text| match text.parse::<http::Uri>() {
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(text.to_owned()),
        _ => Err("write the https:// URL of the CA's directory".to_owned()),
    });
    let root_ca = section.text("root_ca").filter(|at| !at.value.is_empty());
    let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let own_email = section.parsed("email", "address", |text| match text.split_once('@') {
        None if text.is_empty() => Ok(None),
        Some((user, host)) if !user.is_empty() && host.contains('.') && graphic(text) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("write one e-mail address: \"ops@example.com\"".to_owned()),
    });
    let profile = section.parsed("profile", "profile", |text| match text {
        "" => Ok(None),
        name if graphic(name) => Ok(Some(name.to_owned())),
        _ => Err("write the CA's name for it, without spaces".to_owned()),
    });
    let is_table = section.node("eab").is_some_and(|node| matches!(node.value, Value::Table(_)));
    let title = format!("`eab` of {}", section.title);
    let eab = section.section("eab", &title);
    let (directory, place) = directory.map(|At { value, place }| (value, place)).unzip();
    let ca = Ca {
        directory: directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        root_ca: root_ca.map(|at| PathBuf::from(at.value)),
        email: own_email.map_or(email, |at| at.value),
        profile: profile.and_then(|at| at.value),
        eab: Some(eab).filter(|_| is_table).and_then(self::eab),
    };
    (ca, place)
}

/// `None` if a key is missing or wrong, which is a fault already noted, or if both are empty.
fn eab(mut section: Section<'_>) -> Option<Eab> {
    section.require("key_id", "key_id = \"…\", as the CA gave it");
    section.require("hmac_key", "hmac_key = \"${file:/run/secrets/eab}\"");
    let (key_id, hmac_key) = (section.text("key_id"), section.text("hmac_key"));
    let eab = key_id.zip(hmac_key).and_then(|(key_id, hmac_key)| {
        if key_id.value.is_empty() && hmac_key.value.is_empty() {
            return None;
        }
        if key_id.value.is_empty() {
            section.error(&key_id.place, "`key_id` without a value", "write it as the CA gave it");
        }
        let key = BASE64URL_NOPAD.decode(hmac_key.value.trim_end_matches('=').as_bytes());
        let key = key.ok().filter(|key| key.len() >= SHORTEST_KEY);
        if key.is_none() {
            let message = format!("`hmac_key` in {} is no key", section.title);
            let remedy = "write it as the CA gave it: base64url, 22 characters or more";
            section.error(&hmac_key.place, message, remedy);
        }
        Some(Eab { key_id: key_id.value.to_owned(), hmac_key: key? })
    });
    section.finish();
    eab
}
