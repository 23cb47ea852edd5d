//! Who a client is by the certificate that it proved to have: two fields for the upstream, made
//! once per connection. No client can send either of them itself.

use std::fmt::Write as _;

use data_encoding::BASE64;
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A certificate that was verified in the handshake.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The whole of it: `Client-Cert` (RFC 9440).
    pub(crate) field: HeaderValue,
    /// Whom it is for: `X-Client-Subject`, a distinguished name (RFC 4514) in ASCII.
    pub(crate) subject: HeaderValue,
}

impl ClientCertificate {
    /// `None` if it is none that a field can hold, which no verifier lets pass.
    pub(super) fn new(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let field = HeaderValue::from_str(&format!(":{}:", BASE64.encode(der))).ok()?;
        let subject = HeaderValue::from_str(&distinguished_name(certificate.subject())).ok()?;
        Some(Self { field, subject })
    }
}

/// The most specific part first (RFC 4514, 2.1).
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for relative in name.iter_rdn() {
        let pairs: Vec<String> = relative.iter().map(pair).collect();
        parts.push(pairs.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

/// A type by its short name (RFC 4514, 3) or number, and its value, escaped. What is not ASCII is
/// written in hexadecimal, and so is whatever has a meaning of its own.
fn pair(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type().to_id_string();
    let mut text = match kind.as_str() {
        "2.5.4.3" => "CN=",
        "2.5.4.6" => "C=",
        "2.5.4.7" => "L=",
        "2.5.4.8" => "ST=",
        "2.5.4.9" => "STREET=",
        "2.5.4.10" => "O=",
        "2.5.4.11" => "OU=",
        "0.9.2342.19200300.100.1.1" => "UID=",
        "0.9.2342.19200300.100.1.25" => "DC=",
        _ => "",
    }
    .to_owned();
    if text.is_empty() {
        text = format!("{kind}=");
    }
    let value = attribute.as_str().map_or(attribute.as_slice(), str::as_bytes);
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.iter().enumerate() {
        let plain = match byte {
            b' ' => index != 0 && index != last,
            b'#' => index != 0,
            _ => byte.is_ascii_graphic() && !br#",+"\<>;="#.contains(byte),
        };
        match plain {
            true => text.push(char::from(*byte)),
            false => _ = write!(text, "\\{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_subject_cannot_pretend_to_be_another() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Ops, Inc");
        params.distinguished_name.push(DnType::CommonName, "#eve,O=root\r\nx: y é ");
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let client = ClientCertificate::new(&der).unwrap();
        assert_eq!(client.subject, r"CN=\23eve\2CO\3Droot\0D\0Ax: y \C3\A9\20,O=Ops\2C Inc");
        let field = client.field.to_str().unwrap();
        let inner = field.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).unwrap();
        assert_eq!(BASE64.decode(inner.as_bytes()).unwrap(), der.as_ref());
    }
}
