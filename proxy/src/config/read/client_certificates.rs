//! `client_certificates` and `client_ca` of a `[[site]]`.

use std::net::IpAddr;

use super::upstream::certificates;
use crate::config::model::ClientCertificates;
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::values::At;

/// Whether and whom clients are asked for certificates.
pub(super) fn read(
    section: &mut Section<'_>,
    hosts: &[String],
    redirect_http: Option<bool>,
) -> Option<ClientCertificates> {
    let asked = section.parsed("client_certificates", "choice", |text| match text {
        "off" => Ok(None),
        "required" => Ok(Some(true)),
        "optional" => Ok(Some(false)),
        other => Err(suggestion(other, ["off", "optional", "required"])),
    });
    let ca = section.parsed("client_ca", "file", certificates);
    match (asked, ca) {
        (Some(At { value: Some(required), place }), Some(ca)) if !ca.value.is_empty() => {
            if redirect_http == Some(false) {
                let message = "over plain HTTP nobody can be asked for a certificate";
                section.error(&place, message, "leave `redirect_http` at true");
            }
            if hosts.iter().any(|host| host.parse::<IpAddr>().is_ok()) {
                let message =
                    "a client that connects to an address does not say which site it wants";
                section.error(&place, message, "ask for certificates under DNS names only");
            }
            Some(ClientCertificates { ca: ca.value, required })
        }
        (Some(At { value: Some(_), place }), _) => {
            let remedy =
                "add client_ca = \"/etc/ssl/clients.pem\", a file of those who signed them";
            section.error(&place, "`client_certificates` without `client_ca`", remedy);
            None
        }
        (None, Some(ca)) if !ca.value.is_empty() => {
            let remedy = "add client_certificates = \"required\", or \"optional\"";
            section.error(&ca.place, "`client_ca` without `client_certificates`", remedy);
            None
        }
        _ => None,
    }
}
