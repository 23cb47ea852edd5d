//! `[acme]`.

use std::path::PathBuf;

use crate::config::model::{Acme, Challenge, UntilIssued};
use crate::config::nearest::suggestion;
use crate::config::section::Section;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Reads the section.
pub(super) fn read(mut section: Section<'_>) -> Acme {
    let directory = section.parsed("directory", "URL", |text| match text.parse::<http::Uri>() {
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(text.to_owned()),
        _ => Err("write the https:// URL of the CA's directory".to_owned()),
    });
    let root_ca = section.text("root_ca").filter(|at| !at.value.is_empty());
    let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let email = section.parsed("email", "address", |text| match text.split_once('@') {
        None if text.is_empty() => Ok(None),
        Some((user, host)) if !user.is_empty() && host.contains('.') && graphic(text) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err("write one e-mail address: \"ops@example.com\"".to_owned()),
    });
    let challenges = section.list("challenges", "challenge", |text| match text {
        "tls-alpn-01" => Ok(Challenge::TlsAlpn01),
        "http-01" => Ok(Challenge::Http01),
        other => Err(suggestion(other, ["tls-alpn-01", "http-01"])),
    });
    if let Some(list) = &challenges {
        section.note_empty("challenges", list, "name at least one");
    }
    let profile = section.parsed("profile", "profile", |text| match text {
        "" => Ok(None),
        name if graphic(name) => Ok(Some(name.to_owned())),
        _ => Err("write the CA's name for it, without spaces".to_owned()),
    });
    let until_issued = section.parsed("until_issued", "choice", |text| match text {
        "internal" => Ok(UntilIssued::Internal),
        "refuse" => Ok(UntilIssued::Refuse),
        other => Err(suggestion(other, ["internal", "refuse"])),
    });
    section.finish();
    let default = || vec![Challenge::TlsAlpn01, Challenge::Http01];
    Acme {
        directory: directory.map_or_else(|| LETS_ENCRYPT.to_owned(), |at| at.value),
        root_ca: root_ca.map(|at| PathBuf::from(at.value)),
        email: email.and_then(|at| at.value),
        challenges: challenges.map_or_else(default, |list| list.into_values()),
        profile: profile.and_then(|at| at.value),
        until_issued: until_issued.map_or(UntilIssued::Internal, |at| at.value),
    }
}
