//! `on_demand` of a `[[site]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::upstream::certificates;
use crate::config::host::server;
use crate::config::model::{AskUrl, Issuer, OnDemand, Scheme, Server};
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::tree::Value;

/// Each of them is held in memory with its certificates, and looked at four times a second.
const HOSTS: RangeInclusive<u64> = 1..=10_000;

const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// Reads the table, with the place where it stands; `None` if there is none, or its `ask` is empty
/// or, which is a fault already noted, missing or wrong.
pub(super) fn read(site: &mut Section<'_>, issuer: Issuer) -> Option<(OnDemand, Place)> {
    let node = site.node("on_demand")?;
    let is_table = matches!(node.value, Value::Table(_));
    let place = node.place.clone();
    let mut section = site.section("on_demand", "`on_demand` of [[site]]");
    if !is_table {
        return None;
    }
    section.require("ask", "ask = \"http://127.0.0.1:3000/may-serve\"");
    let ask = section.parsed("ask", "URL", |text| match text {
        "" => Ok(None),
        url => ask_url(url).map(Some),
    });
    let ca = section.parsed("ca", "file", certificates);
    let hosts = section.integer("hosts", HOSTS);
    let limit = section.integer("limit", 1..=100_000);
    let window = section.duration("window", WINDOW);
    section.finish();
    let ask = ask?.value?;
    if issuer != Issuer::Acme {
        let message = "`on_demand` without a CA that issues certificates";
        site.error(&place, message, "leave out `issuer`, or write issuer = \"acme\"");
    }
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let on_demand = OnDemand {
        ask,
        ca: ca.map_or_else(Vec::new, |at| at.value),
        hosts: hosts.map_or(1_000, |at| count(at.value)),
        limit: limit.map_or(60, |at| count(at.value)),
        window: window.unwrap_or(Duration::from_secs(3_600)),
    };
    Some((on_demand, place))
}

/// Reads the URL that is asked.
fn ask_url(text: &str) -> Result<AskUrl, String> {
    const REMEDY: &str = "write http://HOST:PORT/PATH or https://HOST/PATH; ?domain=HOST is added";
    let (_, rest) = text.split_once("://").ok_or(REMEDY)?;
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err(REMEDY.to_owned());
    }
    let end = text.len() - rest.len() + rest.find(['/', '?']).unwrap_or(rest.len());
    let (base, target) = text.split_at(end);
    match server(base)? {
        Server::Tcp { scheme: Scheme::H2c, .. } | Server::Unix(_) => Err(REMEDY.to_owned()),
        server @ Server::Tcp { .. } => {
            let slash = if target.starts_with('/') { "" } else { "/" };
            Ok(AskUrl { server, target: format!("{slash}{target}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_added_to_whatever_the_url_says() {
        for (url, authority, target) in [
            ("http://127.0.0.1:9000/allowed", "127.0.0.1:9000", "/allowed?domain=a.example"),
            ("http://app", "app:80", "/?domain=a.example"),
            ("https://app.example.com?key=1", "app.example.com:443", "/?key=1&domain=a.example"),
            ("http://[::1]:1/a/b?c=d", "[::1]:1", "/a/b?c=d&domain=a.example"),
        ] {
            let ask = ask_url(url).unwrap();
            assert_eq!(
                (ask.server.authority().as_str(), &*ask.target_for("a.example")),
                (authority, target)
            );
        }
        for url in [
            "",
            "/allowed",
            "127.0.0.1:9000",
            "unix:/run/app.sock",
            "h2c://app/x",
            "ftp://app/x",
            "http://",
            "http://u@app/",
            "http://app/a b",
            "http://app/#x",
        ] {
            assert!(ask_url(url).is_err(), "{url}");
        }
    }
}
