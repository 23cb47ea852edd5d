//! `[listen]` and `[admin]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::host::listener;
use crate::config::model::{Admin, Listen};
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::values::{At, List};

/// The shortest token that guards an admin listener, in characters.
const SHORTEST_TOKEN: usize = 16;

/// The most worker threads.
const MOST_WORKERS: u64 = 1024;

/// The longest drain.
const LONGEST_DRAIN: Duration = Duration::from_secs(86_400);

/// Reads both sections.
pub(super) fn read(root: &mut Section<'_>) -> (Listen, Admin) {
    let token = token(root.section("admin", "[admin]"));
    let mut section = root.section("listen", "[listen]");
    let http = section.list("http", "address", listener);
    let https = section.list("https", "address", listener);
    let admin = section.parsed("admin", "address", listener);
    let workers = section.integer("workers", 0..=MOST_WORKERS).map_or(0, |at| at.value);
    let drain_timeout = section.duration("drain_timeout", Duration::ZERO..=LONGEST_DRAIN);
    let place = section.place.clone();

    let given = [&http, &https].map(|list| list.as_ref().map_or(&[][..], |list| &list.items));
    let all: Vec<&At<SocketAddr>> = given.into_iter().flatten().chain(&admin).collect();
    note_duplicates(&section, &all);
    if let (Some(http), Some(https)) = (&http, &https)
        && http.empty
        && https.empty
    {
        section.error(&place, "no listener for clients", "add an address to `https` or `http`");
    }
    if let Some(admin) = &admin {
        check_admin(&section, admin, token.is_some());
    }
    section.finish();

    let listen = Listen {
        http: addresses(http, 80),
        https: addresses(https, 443),
        admin: admin.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9180)), |at| at.value),
        workers: workers_or_cores(workers),
        drain_timeout: drain_timeout.unwrap_or(Duration::from_secs(30)),
    };
    (listen, Admin { token })
}

/// The addresses given, or every address of the host.
fn addresses(given: Option<List<SocketAddr>>, port: u16) -> Vec<SocketAddr> {
    given.map_or_else(
        || vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))],
        List::into_values,
    )
}

/// One worker per core, unless the file says otherwise.
fn workers_or_cores(workers: u64) -> usize {
    match usize::try_from(workers) {
        Ok(workers @ 1..) => workers,
        _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// An address can be bound once; port 0 is a new port each time.
fn note_duplicates(section: &Section<'_>, all: &[&At<SocketAddr>]) {
    for (index, later) in all.iter().enumerate() {
        let mut before = all.iter().take(index);
        let Some(first) = before.find(|first| first.value == later.value) else { continue };
        if later.value.port() != 0 {
            let message = format!("the address {} is listened on twice", later.value);
            let findings = section.findings;
            let (place, other): (&Place, &Place) = (&later.place, &first.place);
            findings.clash(place, message, "give each listener its own", "first named", other);
        }
    }
}

fn check_admin(section: &Section<'_>, admin: &At<SocketAddr>, guarded: bool) {
    if !admin.value.ip().to_canonical().is_loopback() && !guarded {
        let message = format!("the admin listener {} is open to anybody", admin.value);
        let remedy = "set `token` in [admin], or listen on 127.0.0.1";
        section.error(&admin.place, message, remedy);
    }
}

/// The token. It is hidden before anything can go wrong with it.
fn token(mut section: Section<'_>) -> Option<String> {
    if let Some(node) = section.node("token") {
        node.place.hide();
    }
    let text = section.text("token").filter(|text| !text.value.is_empty());
    if let Some(At { value, place }) = &text {
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            let remedy = "write printable ASCII without spaces";
            section.error(place, "bad characters in `token` in [admin]", remedy);
        } else if value.len() < SHORTEST_TOKEN {
            let remedy = format!("write {SHORTEST_TOKEN} characters or more: openssl rand -hex 32");
            section.error(place, "`token` in [admin] can be guessed", remedy);
        }
    }
    let token = text.map(|text| text.value.to_owned());
    section.finish();
    token
}
