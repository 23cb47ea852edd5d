//! `[[rate_limit]]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Method;

use crate::config::host::host;
use crate::config::model::{KeyPart, Match, Mode, Rule};
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::values::{At, List};
use crate::site::pattern::Pattern;

/// A limit that is larger limits nothing.
const LIMIT: RangeInclusive<u64> = 1..=1_000_000_000;

/// A window is at most a year.
const WINDOW: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(366 * 86_400);

/// What a configuration calls the parts of a key.
const KEY_PARTS: [(&str, KeyPart); 5] = [
    ("ip", KeyPart::Ip),
    ("global", KeyPart::Global),
    ("host", KeyPart::Host),
    ("path", KeyPart::Path),
    ("method", KeyPart::Method),
];

/// Reads all `[[rate_limit]]` sections; `hosts` are those of all sites.
pub(super) fn read(root: &mut Section<'_>, hosts: &[At<String>]) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut names: Vec<At<String>> = Vec::new();
    for mut section in root.sections("rate_limit", "[[rate_limit]]") {
        rules.extend(rule(&mut section, hosts, &mut names));
        section.finish();
    }
    rules
}

/// A rule; `None` if it is off or incomplete.
fn rule(
    section: &mut Section<'_>,
    hosts: &[At<String>],
    names: &mut Vec<At<String>>,
) -> Option<Rule> {
    let name = name(section, names);
    let limit = section.integer("limit", LIMIT);
    let window = section.duration("window", WINDOW);
    for (key, example) in [("limit", "limit = 100"), ("window", "window = \"60s\"")] {
        if section.node(key).is_none() {
            section.missing(key, example);
        }
    }
    let matches = matches(section.section("match", "`match` of [[rate_limit]]"), hosts);
    let key = key(section);
    let mode = section.parsed("mode", "mode", |text| match text {
        "enforce" => Ok(Some(Mode::Enforce)),
        "shadow" => Ok(Some(Mode::Shadow)),
        "off" => Ok(None),
        other => Err(suggestion(other, ["enforce", "shadow", "off"])),
    });
    Some(Rule {
        name: name?,
        limit: limit?.value,
        window: window?,
        matches,
        key,
        mode: mode.map_or(Some(Mode::Enforce), |at| at.value)?,
    })
}

fn name(section: &mut Section<'_>, names: &mut Vec<At<String>>) -> Option<String> {
    if section.node("name").is_none() {
        section.missing("name", "name = \"global\"");
    }
    let At { value, place } = section.text("name")?;
    section.check_name(value, &place);
    if let Some(first) = names.iter().find(|first| first.value == value) {
        let message = format!("two rules have the name `{}`", quoted(value));
        section.findings.clash(&place, message, "rename one", "first named", &first.place);
    }
    names.push(At { value: value.to_owned(), place });
    Some(value.to_owned())
}

/// The parts of the key, which is the client's address if the rule does not say.
fn key(section: &mut Section<'_>) -> Vec<KeyPart> {
    let list = section.list("key", "part", |text| {
        let part = KEY_PARTS.into_iter().find(|(name, _)| *name == text);
        let names = KEY_PARTS.iter().map(|(name, _)| *name);
        part.map(|(_, part)| part).ok_or_else(|| suggestion(text, names))
    });
    let Some(list) = list else { return vec![KeyPart::Ip] };
    section.note_empty("key", &list, "leave it out for one count per client");
    for (index, part) in list.items.iter().enumerate() {
        if list.items.iter().take(index).any(|earlier| earlier.value == part.value) {
            section.error(&part.place, "the key has this part twice", "remove it");
        }
        if part.value == KeyPart::Global && list.items.len() > 1 {
            let remedy = "remove it, or remove the other parts";
            section.error(&part.place, "`global` beside other parts says nothing", remedy);
        }
    }
    list.into_values()
}

/// The `match` table, without contradictions.
fn matches(mut section: Section<'_>, known: &[At<String>]) -> Match {
    let methods = section.list("methods", "method", method);
    let not_methods = section.list("not_methods", "method", method);
    let paths = section.list("path", "path pattern", Pattern::parse);
    let not_paths = section.list("not_path", "path pattern", Pattern::parse);
    let hosts = section.list("hosts", "host", host);
    let not_hosts = section.list("not_hosts", "host", host);
    let equal = |excluded: &String, host: &String| excluded == host;

    note_dead(&section, "methods", &methods, "not_methods", &not_methods, PartialEq::eq);
    note_dead(&section, "path", &paths, "not_path", &not_paths, Pattern::covers);
    note_dead(&section, "hosts", &hosts, "not_hosts", &not_hosts, equal);
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
    }
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
    let is_known = |host: &At<String>| known.iter().any(|known| known.value == host.value);
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
