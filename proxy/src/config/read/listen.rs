//! `[listen]` and `[admin]`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::host::listener;
use crate::config::model::{Admin, AdminAddress, Listen, ProxyProtocol};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
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
    let http = addresses(&mut section, "http", 80);
    let https = addresses(&mut section, "https", 443);
    let admin = section.parsed("admin", "address", str::parse).unwrap_or_else(|| At {
        value: AdminAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9180))),
        place: section.place.clone(),
    });
    let workers = section.integer("workers", 0..=MOST_WORKERS).map_or(0, |at| at.value);
    let proxy_protocol = section.parsed("proxy_protocol", "mode", |text| match text {
        "off" => Ok(ProxyProtocol::Off),
        "optional" => Ok(ProxyProtocol::Optional),
        "required" => Ok(ProxyProtocol::Required),
        other => Err(suggestion(other, ["off", "optional", "required"])),
    });
    let share_ports = section.boolean("share_ports").unwrap_or(false);
    let drain_timeout = section.duration("drain_timeout", Duration::ZERO..=LONGEST_DRAIN);

    let of_admin = match &admin.value {
        AdminAddress::Tcp(address) => Some(At { value: *address, place: admin.place.clone() }),
        AdminAddress::Unix(_) => None,
    };
    let all: Vec<_> = http.items.iter().chain(&https.items).chain(&of_admin).collect();
    note_duplicates(&section, &all);
    if http.empty && https.empty {
        let remedy = "add an address to `https` or `http`";
        section.error(&https.place, "no listener for clients", remedy);
    }
    check_admin(&section, &admin, token.is_some());
    section.finish();

    let listen = Listen {
        http: http.into_values(),
        https: https.into_values(),
        admin: admin.value,
        workers: workers_or_cores(workers),
        share_ports,
        drain_timeout: drain_timeout.unwrap_or(Duration::from_secs(30)),
        proxy_protocol: proxy_protocol.map_or(ProxyProtocol::Off, |at| at.value),
    };
    (listen, Admin { token })
}

/// The addresses given, or every address of the machine.
fn addresses(section: &mut Section<'_>, key: &'static str, port: u16) -> List<SocketAddr> {
    section.list(key, "address", listener).unwrap_or_else(|| {
        let value = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let place = section.place.clone();
        List { items: vec![At { value, place: place.clone() }], empty: false, place }
    })
}

/// One worker per core, unless the file says otherwise.
fn workers_or_cores(workers: u64) -> usize {
    match usize::try_from(workers) {
        Ok(workers @ 1..) => workers,
        _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Whether one socket would take what the other listens for. `[::]` is every address of the
/// machine, `0.0.0.0` every one of IPv4.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |a: SocketAddr, b: SocketAddr| {
        a.ip() == b.ip() || (a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4()))
    };
    one.port() == other.port() && (holds(one, other) || holds(other, one))
}

/// An address can be bound once; port 0 is a new port each time.
fn note_duplicates(section: &Section<'_>, all: &[&At<SocketAddr>]) {
    for (index, later) in all.iter().enumerate() {
        let mut before = all.iter().take(index);
        let Some(first) = before.find(|first| overlap(first.value, later.value)) else { continue };
        if later.value.port() != 0 {
            let message = format!("the address {} is listened on twice", later.value);
            let (place, other) = (&later.place, &first.place);
            let remedy = "give each listener its own";
            section.findings.clash(place, message, remedy, "first named", other);
        }
    }
}

fn check_admin(section: &Section<'_>, admin: &At<AdminAddress>, guarded: bool) {
    if !admin.value.is_local() && !guarded {
        let message = format!("the admin listener {} is open to anybody", admin.value);
        let remedy = "set `token` in [admin], or listen on 127.0.0.1";
        section.error(&admin.place, message, remedy);
    }
}

/// The token; an empty one is none.
fn token(mut section: Section<'_>) -> Option<String> {
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
