//! The servers of an upstream, in a list or in named groups; and its `sticky`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::host::server;
use crate::config::model::{Group, Groups, Secret, Server, Sticky};
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::tree::Value;
use crate::config::values::At;

/// Reads `servers`, or `groups` and `active`.
pub(super) fn read(section: &mut Section<'_>) -> (Vec<Server>, Option<Groups>) {
    let groups = section.named("groups");
    let grouped = section.node("groups").is_some();
    let servers = section.list("servers", "URL", server);
    match (&servers, grouped) {
        (Some(list), true) => {
            let message = format!("{} has `servers` and `groups`", section.title);
            section.error(&list.place, message, "write every server in a group");
        }
        (Some(list), false) => section.note_empty("servers", list, "name at least one server"),
        (None, false) => section.require("servers", "servers = [\"http://127.0.0.1:3000\"]"),
        (None, true) => {}
    }
    let (mut all, mut named) = (servers.map_or_else(Vec::new, |list| list.items), Vec::new());
    for group in groups {
        section.check_name(&group.key, &group.key_place);
        let Some(list) = section.list_at(&group.key, &group.node, "URL", server) else { continue };
        section.note_empty(&group.key, &list, "name at least one server");
        let first = all.len();
        all.extend(list.items);
        named.push(Group { name: group.key.clone(), servers: first..all.len() });
    }
    note_duplicates(section, &all);
    let active = active(section, &named);
    let groups = (!named.is_empty()).then_some(Groups { groups: named, active });
    (all.into_iter().map(|at| at.value).collect(), groups)
}

/// The place of the group that `active` names; the first, if it names none.
fn active(section: &mut Section<'_>, groups: &[Group]) -> usize {
    let Some(active) = section.text("active") else { return 0 };
    let place = groups.iter().position(|group| group.name == active.value);
    if place.is_none() {
        let name = quoted(active.value);
        let message = format!("unknown group `{name}` for `active` in {}", section.title);
        let remedy = match groups {
            [] => "name the groups in `groups`, or remove this".to_owned(),
            groups => suggestion(active.value, groups.iter().map(|group| group.name.as_str())),
        };
        section.error(&active.place, message, remedy);
    }
    place.unwrap_or(0)
}

fn note_duplicates(section: &Section<'_>, servers: &[At<Server>]) {
    for (index, later) in servers.iter().enumerate() {
        let mut before = servers.iter().take(index);
        if let Some(first) = before.find(|first| first.value == later.value) {
            let message = format!("{} names {} twice", section.title, later.value);
            let (place, other) = (&later.place, &first.place);
            section.findings.clash(place, message, "remove one", "first named", other);
        }
    }
}

/// Browsers keep no cookie for longer than 400 days (RFC 6265bis, 5.5).
const MAX_AGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(400 * 86_400);

/// Reads `sticky`; `None` if it is not there.
pub(super) fn sticky(section: &mut Section<'_>) -> Option<Sticky> {
    let is_table = |value: &Value| matches!(value, Value::Table(_));
    let sticks = section.node("sticky").is_some_and(|node| is_table(&node.value));
    let title = format!("`sticky` of {}", section.title);
    let mut section = section.section("sticky", &title);
    let cookie = section.parsed("cookie", "name", |text| {
        // A token (RFC 9110, 5.6.2), as RFC 6265 wants the name of a cookie.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match (1..=64).contains(&text.len()) && text.bytes().all(token) {
            true => Ok(text.to_owned()),
            false => Err("write 1 to 64 letters, digits, `-` or `_`".to_owned()),
        }
    });
    let max_age = section.duration("max_age", MAX_AGE);
    let secret = section.text("secret").filter(|at| !at.value.is_empty());
    if let Some(secret) = secret.as_ref().filter(|at| at.value.len() < 32) {
        let message = format!("`secret` in {} is too short", section.title);
        section.error(&secret.place, message, "write 32 characters or more, or leave it out");
    }
    section.finish();
    sticks.then(|| Sticky {
        cookie: cookie.map_or_else(|| "gatehouse".to_owned(), |at| at.value),
        max_age,
        secret: secret.map(|at| Secret(at.value.to_owned())),
    })
}
