//! `set` and `remove` of `[headers.NAME]`: any header, by its name.

use http::HeaderName;

use crate::config::section::{Section, quoted};
use crate::config::tree::Entry;
use crate::config::values::At;
use crate::policy::headers::{Draft, FIELDS, removable, settable};

/// `set` takes whole values of any header, as they are copied from elsewhere; those with a grammar
/// are held to it. A header cannot be said in two ways.
pub(super) fn set(section: &mut Section<'_>, draft: &mut Draft) {
    let keys = ["csp", "hsts"].into_iter().chain(FIELDS.iter().map(|field| field.name));
    let said: Vec<&str> = keys.filter(|key| section.node(key).is_some()).collect();
    let mut seen: Vec<HeaderName> = Vec::new();
    for Entry { key, key_place, node } in section.named("set") {
        let name = match header_name(key).and_then(|name| settable(&name).map(|()| name)) {
            Ok(name) => name,
            Err(remedy) => {
                let message = format!("cannot set `{}` in {}", quoted(key), section.title);
                section.error(key_place, message, remedy);
                continue;
            }
        };
        if seen.contains(&name) {
            let message = format!("`{name}` is set twice in {}", section.title);
            section.error(key_place, message, "case makes no difference: keep one");
        }
        seen.push(name.clone());
        let own = own_key(&name);
        if said.contains(&own) {
            let message = format!("`{name}` is set twice in {}", section.title);
            section.error(key_place, message, format!("keep either `{own}` or this"));
        }
        let Some(text) = section.text_at(key, node) else { continue };
        if own == "hsts" && text.value.to_ascii_lowercase().contains("preload") {
            let message = "`preload` builds https for every subdomain into browsers";
            let remedy = "write hsts = { …, preload = true, acknowledge_preload = true } instead";
            section.error(&text.place, message, remedy);
        }
        // The value may come from a file of secrets, so it is not repeated.
        if let Err(remedy) = draft.set(name, text.value) {
            let message = format!("bad value for `{}` in {}", quoted(key), section.title);
            section.error(&text.place, message, remedy);
        }
    }
}

pub(super) fn remove(section: &mut Section<'_>, draft: &mut Draft) {
    let names = section.list("remove", "header", |text| {
        header_name(text).and_then(|name| removable(&name).map(|()| name))
    });
    let own: Vec<&str> = section.named("set").iter().map(|entry| entry.key.as_str()).collect();
    for At { value: name, place } in names.map_or_else(Vec::new, |list| list.items) {
        let key = own_key(&name);
        let has_key = matches!(key, "csp" | "hsts") || FIELDS.iter().any(|f| f.name == key);
        let is_own = own.iter().any(|own| own.eq_ignore_ascii_case(name.as_str()));
        if draft.sets(&name) && (has_key || is_own) {
            let message = format!("`{name}` is set and removed in {}", section.title);
            let remedy = match has_key {
                true => format!("keep one of the two; `{key} = false` drops the preset's"),
                false => "keep one of the two".to_owned(),
            };
            section.error(&place, message, remedy);
        } else {
            draft.remove(name);
        }
    }
}

/// The key that a header has in a section, beside `set`.
fn own_key(name: &HeaderName) -> &str {
    match name.as_str() {
        "content-security-policy" => "csp",
        "strict-transport-security" => "hsts",
        other => other,
    }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "write a header's name: letters, digits and hyphens".to_owned())
}
