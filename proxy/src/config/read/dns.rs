//! The `dns_` keys of `[acme]`: who writes the records of `dns-01`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::BASE64;

use crate::config::host::host;
use crate::config::model::{Dns, DnsUpdate, DnsWriter, TsigHash};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::values::{At, List};

/// How long a record may take to be seen.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The longest that it may take.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Reads the keys. `None` if nobody is named; with it the place where somebody is.
pub(super) fn read(section: &mut Section<'_>) -> Option<(Dns, Place)> {
    let hook = section.list("dns_hook", "argument", |text| Ok(text.to_owned()));
    if let Some(hook) = &hook {
        check_hook(section, hook);
    }
    let update_place = section.node("dns_update").map(|node| node.place.clone());
    let update = section.section("dns_update", "`dns_update` of [acme]");
    let update = update_place.clone().and_then(|_| self::update(update));
    if let (Some(hook), Some(place)) = (&hook, &update_place) {
        let message = "both `dns_hook` and `dns_update` in [acme]";
        section.findings.clash(place, message, "keep one", "the other is", &hook.place);
    }
    let servers = section.list("dns_servers", "address", name_server);
    let timeout = section.duration("dns_timeout", Duration::from_secs(1)..=LONGEST);
    let (writer, place) = match (hook, update) {
        (Some(hook), _) => {
            let place = hook.place.clone();
            (DnsWriter::Hook(hook.into_values()), place)
        }
        (None, update) => (DnsWriter::Update(update?), update_place?),
    };
    let servers = servers.map_or_else(Vec::new, List::into_values);
    Some((Dns { writer, servers, timeout: timeout.unwrap_or(TIMEOUT) }, place))
}

/// It is run as it stands, in no folder in particular.
fn check_hook(section: &Section<'_>, hook: &List<String>) {
    section.note_empty("dns_hook", hook, "name a program");
    if let Some(At { place, .. }) = hook.items.first().filter(|at| !at.value.starts_with('/')) {
        let message = "the program of `dns_hook` in [acme] is not a whole path";
        section.error(place, message, "write it from the root: \"/usr/local/bin/dns-hook\"");
    }
}

/// `None` if something is missing or wrong, which is a fault already noted.
fn update(mut section: Section<'_>) -> Option<DnsUpdate> {
    section.require("server", "server = \"192.0.2.53\", which takes the updates");
    section.require("key", "key = \"gatehouse\", the name of the key that it shares");
    section.require("secret", "secret = \"${file:/run/secrets/dns-key}\"");
    let server = section.parsed("server", "address", name_server);
    let zone = section.parsed("zone", "zone", host);
    let key_name = section.parsed("key", "name", host);
    let hash = section.parsed("algorithm", "algorithm", |text| match text {
        "hmac-sha256" => Ok(TsigHash::Sha256),
        "hmac-sha384" => Ok(TsigHash::Sha384),
        "hmac-sha512" => Ok(TsigHash::Sha512),
        other => Err(suggestion(other, ["hmac-sha256", "hmac-sha384", "hmac-sha512"])),
    });
    let secret = section.text("secret").and_then(|At { value, place }| {
        let secret = BASE64.decode(value.as_bytes()).ok().filter(|secret| secret.len() >= 16);
        if secret.is_none() {
            let message = "`secret` of `dns_update` in [acme] is no key";
            let remedy = "write base64 of 16 bytes or more: tsig-keygen, openssl rand -base64 32";
            section.error(&place, message, remedy);
        }
        secret
    });
    section.finish();
    Some(DnsUpdate {
        server: server?.value,
        zone: zone.map(|at| at.value),
        key_name: key_name?.value,
        hash: hash.map_or(TsigHash::Sha256, |at| at.value),
        secret: secret?,
    })
}

/// An address of a name server, on port 53 if none is named.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    let remedy = "write an IP address, with a port if it is not 53: \"192.0.2.53\"";
    address.or_else(|_| text.parse()).map_err(|_| remedy.to_owned())
}
