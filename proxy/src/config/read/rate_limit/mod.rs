//! `[rate_limits]` and `[[rate_limit]]`, which may also stand in a site or a route.

mod bound;
mod idle;
mod matches;

use std::ops::RangeInclusive;

use http::HeaderName;

use crate::client::networks::Networks;
use crate::config::model::{
    FieldSyntax, KeyPart, Limits, Match, Mode, RateLimits, Rule, Scope, Store,
};
use crate::config::nearest::suggestion;
use crate::config::read::store;
use crate::config::section::{Section, quoted};
use crate::config::values::At;

/// The tables of a site or a route, and which it is.
pub(super) type Scoped<'t> = (Scope, Section<'t>);

/// Bytes of live keys. Less would not hold the keys of one busy second.
const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// The shortest secret of a token: half of what HS256 asks for (RFC 7518, 3.2), for those that are
/// given.
const SHORTEST_SECRET: usize = 16;

/// What a configuration calls the parts of a key that have no name of their own.
const KEY_PARTS: [(&str, KeyPart); 5] = [
    ("ip", KeyPart::Ip),
    ("global", KeyPart::Global),
    ("host", KeyPart::Host),
    ("path", KeyPart::Path),
    ("method", KeyPart::Method),
];

/// Reads `[rate_limits]`.
pub(super) fn defaults(mut section: Section<'_>, hosts: &[At<String>]) -> RateLimits {
    let memory = section.size("memory", MEMORY).unwrap_or(64 << 20);
    let fields = section.parsed("fields", "syntax", |text| match text {
        "draft-11" => Ok(FieldSyntax::Draft11),
        "next" => Ok(FieldSyntax::Next),
        "legacy" => Ok(FieldSyntax::Legacy),
        "off" => Ok(FieldSyntax::Off),
        other => Err(suggestion(other, ["draft-11", "next", "legacy", "off"])),
    });
    let jwt_secrets = secrets(&mut section);
    let exempt = exempt(&mut section, hosts);
    section.finish();
    let fields = fields.map_or(FieldSyntax::Draft11, |at| at.value);
    RateLimits { memory, fields, exempt, jwt_secrets }
}

/// The requests that no rule counts, which may not be all.
fn exempt(section: &mut Section<'_>, hosts: &[At<String>]) -> Vec<Match> {
    let remedy = "name the requests that no rule counts";
    let tables = section.sections("exempt", "`exempt` of [rate_limits]").into_iter();
    let exempt = tables.map(|table| {
        if table.is_empty() {
            table.error(&table.place, "this exempts every request", remedy);
        }
        matches::read(table, hosts)
    });
    let exempt: Vec<_> = exempt.collect();
    let by_client = exempt.iter().filter(|matches| matches.is_by_client_alone());
    if Networks::hold_all(by_client.map(|matches| &matches.clients))
        && let Some(node) = section.node("exempt")
    {
        let message = "this exempts every client: no rule can ever reject";
        section.error(&node.place, message, remedy);
    }
    exempt
}

/// One secret or a list of them, never quoted.
fn secrets(section: &mut Section<'_>) -> Vec<String> {
    let list = section.list("jwt_secret", "secret", |text| Ok(text.to_owned()));
    let Some(list) = list else { return Vec::new() };
    for short in list.items.iter().filter(|at| (1..SHORTEST_SECRET).contains(&at.value.len())) {
        let remedy = format!("write {SHORTEST_SECRET} bytes or more");
        section.error(&short.place, "the secret is too short", remedy);
    }
    list.into_values().into_iter().filter(|secret| !secret.is_empty()).collect()
}

/// What rules are checked against.
pub(super) struct Known<'a> {
    /// Those of all sites.
    pub(super) hosts: &'a [At<String>],
    pub(super) limits: &'a Limits,
    pub(super) verifies_tokens: bool,
    pub(super) store: &'a Store,
}

/// Reads all `[[rate_limit]]` sections, also those of sites and routes.
pub(super) fn read<'t>(
    root: &mut Section<'t>,
    scoped: Vec<Scoped<'t>>,
    known: &Known<'_>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut names: Vec<At<String>> = Vec::new();
    let everywhere = root.sections("rate_limit", "[[rate_limit]]");
    let everywhere = everywhere.into_iter().map(|section| (Scope::All, section));
    for (scope, mut section) in everywhere.chain(scoped) {
        let place = section.place.clone();
        let rule = rule(&mut section, scope, known, &mut names);
        rules.extend(rule.map(|value| At { value, place }));
        section.finish();
    }
    if !root.findings.has_errors() {
        idle::note(&rules, root);
    }
    rules.into_iter().map(|rule| rule.value).collect()
}

/// A rule; `None` if it is off or incomplete.
fn rule(
    section: &mut Section<'_>,
    scope: Scope,
    known: &Known<'_>,
    names: &mut Vec<At<String>>,
) -> Option<Rule> {
    section.require("name", "name = \"global\"");
    let name = name(section, names);
    let bound = bound::read(section, known);
    let matches = section.section("match", &format!("`match` of {}", section.title));
    let matches = matches::read(matches, known.hosts);
    let key = key(section, known.verifies_tokens);
    let mode = section.parsed("mode", "mode", |text| match text {
        "enforce" => Ok(Some(Mode::Enforce)),
        "shadow" => Ok(Some(Mode::Shadow)),
        "off" => Ok(None),
        other => Err(suggestion(other, ["enforce", "shadow", "off"])),
    });
    let on_failure = store::of_rule(section, known.store);
    let mode = mode.map_or(Some(Mode::Enforce), |at| at.value)?;
    Some(Rule { name: name?, scope, bound: bound?, matches, key, mode, on_failure })
}

fn name(section: &mut Section<'_>, names: &mut Vec<At<String>>) -> Option<String> {
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
fn key(section: &mut Section<'_>, verifies_tokens: bool) -> Vec<KeyPart> {
    let Some(list) = section.list("key", "part", key_part) else { return vec![KeyPart::Ip] };
    section.note_empty("key", &list, "leave it out for one count per client");
    for (index, part) in list.items.iter().enumerate() {
        if list.items.iter().take(index).any(|earlier| earlier.value == part.value) {
            section.error(&part.place, "the key has this part twice", "remove it");
        }
        if part.value == KeyPart::Global && list.items.len() > 1 {
            let remedy = "remove it, or remove the other parts";
            section.error(&part.place, "`global` beside other parts says nothing", remedy);
        }
        if matches!(part.value, KeyPart::Jwt(_)) && !verifies_tokens {
            let message = "without a key no claim can be believed: each token is counted by itself";
            let remedy = "set `jwt_secret` in [rate_limits]";
            section.findings.warning(&part.place, message.to_owned(), remedy.to_owned());
        }
    }
    list.into_values()
}

fn key_part(text: &str) -> Result<KeyPart, String> {
    let names = KEY_PARTS.iter().map(|(name, _)| *name);
    let names = names.chain(["header:NAME", "cookie:NAME", "jwt:CLAIM"]);
    let Some((kind, name)) = text.split_once(':') else {
        let part = KEY_PARTS.into_iter().find(|(name, _)| *name == text);
        return part.map(|(_, part)| part).ok_or_else(|| suggestion(text, names));
    };
    let name = name.trim();
    match kind {
        "header" => HeaderName::from_bytes(name.as_bytes())
            .map(KeyPart::Header)
            .map_err(|_| "write the name of a header: \"header:x-api-key\"".to_owned()),
        // The names of cookies are tokens as those of headers are (RFC 6265, 4.1.1).
        "cookie" if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
            Ok(KeyPart::Cookie(name.to_owned()))
        }
        "cookie" => Err("write the name of a cookie: \"cookie:session\"".to_owned()),
        "jwt" if !name.is_empty() => Ok(KeyPart::Jwt(name.to_owned())),
        "jwt" => Err("write the name of a claim: \"jwt:sub\"".to_owned()),
        other => Err(suggestion(other, names)),
    }
}
