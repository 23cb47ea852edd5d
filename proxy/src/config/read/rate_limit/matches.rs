//! Which requests a rule counts: `match`, and `exempt` of `[rate_limits]`.

use http::{HeaderName, Method};

use crate::client::networks::{Network, Networks};
use crate::config::host::host;
use crate::config::model::{FieldMatch, Match};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::values::{At, List};
use crate::site::pattern::Pattern;

/// Reads a `match` table, without contradictions; `known` are the hosts of all sites.
pub(super) fn read(mut section: Section<'_>, known: &[At<String>]) -> Match {
    let methods = section.list("methods", "method", method);
    let not_methods = section.list("not_methods", "method", method);
    let paths = section.list("path", "path pattern", Pattern::parse);
    let not_paths = section.list("not_path", "path pattern", Pattern::parse);
    let hosts = section.list("hosts", "host", host);
    let not_hosts = section.list("not_hosts", "host", host);
    let headers = section.list("headers", "header", field);
    let not_headers = section.list("not_headers", "header", field);
    let clients = section.list("clients", "network", Network::parse);
    let not_clients = section.list("not_clients", "network", Network::parse);
    let equal = |excluded: &String, host: &String| excluded == host;

    note_dead(&section, "methods", &methods, "not_methods", &not_methods, PartialEq::eq);
    note_dead(&section, "path", &paths, "not_path", &not_paths, Pattern::covers);
    note_dead(&section, "hosts", &hosts, "not_hosts", &not_hosts, equal);
    note_dead(&section, "headers", &headers, "not_headers", &not_headers, covers);
    note_dead(&section, "clients", &clients, "not_clients", &not_clients, Network::covers);
    note_strangers(&section, hosts.as_ref(), known);
    if let Some(excluded) = &not_hosts
        && hosts.is_none()
        && !known.is_empty()
        && known.iter().all(|host| excluded.items.iter().any(|not| not.value == host.value))
    {
        let message = "the rule can never match: `not_hosts` names every host of every site";
        section.error(&excluded.place, message, "leave one out");
    }
    section.finish();
    Match {
        methods: methods.map_or_else(Vec::new, List::into_values),
        not_methods: not_methods.map_or_else(Vec::new, List::into_values),
        paths: paths.map_or_else(Vec::new, List::into_values),
        not_paths: not_paths.map_or_else(Vec::new, List::into_values),
        hosts: hosts.map_or_else(Vec::new, List::into_values),
        not_hosts: not_hosts.map_or_else(Vec::new, List::into_values),
        headers: headers.map_or_else(Vec::new, List::into_values),
        not_headers: not_headers.map_or_else(Vec::new, List::into_values),
        clients: Networks::new(clients.map_or_else(Vec::new, List::into_values)),
        not_clients: Networks::new(not_clients.map_or_else(Vec::new, List::into_values)),
    }
}

/// `x-api-key`, which must be there, or `x-client: mobile`, which must be that.
fn field(text: &str) -> Result<FieldMatch, String> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value.trim().to_owned())),
        None => (text, None),
    };
    match HeaderName::from_bytes(name.trim().as_bytes()) {
        Ok(name) => Ok(FieldMatch { name, value }),
        Err(_) => Err("write a name, or a name and a value: \"x-client: mobile\"".to_owned()),
    }
}

fn covers(excluded: &FieldMatch, field: &FieldMatch) -> bool {
    excluded.name == field.name && (excluded.value.is_none() || excluded.value == field.value)
}

/// Notes a list that lets nothing through: empty, or every item excluded again.
fn note_dead<T>(
    section: &Section<'_>,
    key: &str,
    list: &Option<List<T>>,
    not_key: &str,
    not_list: &Option<List<T>>,
    excludes: impl Fn(&T, &T) -> bool,
) {
    let Some(list) = list else { return };
    section.note_empty(key, list, "the rule can never match: leave the key out to match all");
    let Some(not_list) = not_list else { return };
    let excluded =
        |item: &At<T>| not_list.items.iter().any(|not| excludes(&not.value, &item.value));
    if !list.items.is_empty() && list.items.iter().all(excluded) {
        let message = format!("the rule can never match: `{not_key}` excludes all of `{key}`");
        let (place, other) = (&not_list.place, &list.place);
        let note = format!("`{key}` stands");
        section.findings.clash(place, message, "leave one of them out", &note, other);
    }
}

/// Notes hosts of no site: an error if the rule can never match, a warning if it can.
fn note_strangers(section: &Section<'_>, hosts: Option<&List<String>>, known: &[At<String>]) {
    let items = hosts.map_or(&[][..], |list| &list.items);
    let is_known = |host: &At<String>| {
        let wildcard = host.value.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let names = |known: &At<String>| {
            known.value == host.value || wildcard.as_ref().is_some_and(|w| *w == known.value)
        };
        known.iter().any(names)
    };
    let dead = !items.iter().any(is_known);
    for host in items.iter().filter(|host| !is_known(host)) {
        let remedy = suggestion(&host.value, known.iter().map(|host| host.value.as_str()));
        let message = format!("the host `{}` belongs to no site", host.value);
        match dead {
            true => {
                let message = format!("the rule can never match: {message}");
                section.error(&host.place, message, remedy);
            }
            false => section.findings.warning(&host.place, message, remedy),
        }
    }
}

fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(_) if text != upper => Err(format!("methods are case-sensitive: write \"{upper}\"")),
        Ok(method) => Ok(method),
        Err(_) => Err("write a method: \"GET\", \"POST\"".to_owned()),
    }
}
