//! `[headers.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::fault::Findings;
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::source::Place;
use crate::config::tree::{Entry, Node, Value};
use crate::config::values::At;
use crate::policy::headers::{
    DIRECTIVES, Directive, Draft, FIELDS, HeaderPolicy, Hsts, Preset, removable, settable,
};

/// Every policy, and whether somebody uses it.
pub(super) struct Policies {
    known: Vec<Known>,
    /// What a site gets that names none.
    default: Arc<HeaderPolicy>,
}

struct Known {
    name: String,
    place: Place,
    policy: Arc<HeaderPolicy>,
    used: bool,
}

impl Policies {
    /// Reads all `[headers.NAME]` sections.
    pub(super) fn read(root: &mut Section<'_>) -> Self {
        let mut known = Vec::new();
        for (name, section) in root.named_sections("headers") {
            let place = section.place.clone();
            let policy = Arc::new(policy(section));
            known.push(Known { name: name.to_owned(), place, policy, used: false });
        }
        Self { known, default: Arc::new(HeaderPolicy::preset(Preset::Helmet)) }
    }

    /// The policy of a site that names none.
    pub(super) fn default(&self) -> Arc<HeaderPolicy> {
        Arc::clone(&self.default)
    }

    /// The policy of a name.
    pub(super) fn resolve(
        &mut self,
        name: &At<&str>,
        section: &Section<'_>,
    ) -> Option<Arc<HeaderPolicy>> {
        if let Some(known) = self.known.iter_mut().find(|known| known.name == name.value) {
            known.used = true;
            return Some(Arc::clone(&known.policy));
        }
        let remedy = match self.known.is_empty() {
            true => format!("add [headers.{}] with a `preset`", quoted(name.value)),
            false => suggestion(name.value, self.known.iter().map(|known| known.name.as_str())),
        };
        let message = format!("unknown headers `{}` in {}", quoted(name.value), section.title);
        section.error(&name.place, message, remedy);
        None
    }

    /// A policy that no site names is probably misspelt somewhere.
    pub(super) fn warn_of_unused(&self, findings: &Findings) {
        for known in self.known.iter().filter(|known| !known.used) {
            let message = format!("no site uses the headers `{}`", known.name);
            findings.warning(&known.place, message, "name them in a [[site]], or remove them");
        }
    }
}

fn policy(mut section: Section<'_>) -> HeaderPolicy {
    let preset = section.parsed("preset", "preset", |text| {
        Preset::named(text).ok_or_else(|| suggestion(text, Preset::NAMES))
    });
    let mut draft = Draft::new(preset.map_or(Preset::Helmet, |at| at.value));
    csp(&mut section, &mut draft);
    hsts(&mut section, &mut draft);
    for field in &FIELDS {
        let name = HeaderName::from_static(field.name);
        if is_false(section.node(field.name)) {
            draft.drop(&name);
        } else if let Some(at) = section.parsed(field.name, "value", |text| field.parse(text)) {
            draft.set(name, at.value);
        }
    }
    set(&mut section, &mut draft);
    remove(&mut section, &mut draft);
    section.finish();
    draft.compile()
}

fn is_false(node: Option<&Node>) -> bool {
    matches!(node, Some(Node { value: Value::Boolean(false), .. }))
}

fn csp(section: &mut Section<'_>, draft: &mut Draft) {
    if is_false(section.node("csp")) {
        return draft.drop_csp();
    }
    for Entry { key, key_place, node } in section.named("csp") {
        let Some(directive) = Directive::named(key) else {
            let message = format!("unknown CSP directive `{}` in {}", quoted(key), section.title);
            let names = DIRECTIVES.iter().map(|directive| directive.name);
            section.error(key_place, message, suggestion(key, names));
            continue;
        };
        match is_false(Some(node)) {
            true => draft.drop_directive(directive),
            false => set_directive(section, draft, directive, node),
        }
    }
}

fn set_directive<'t>(
    section: &Section<'t>,
    draft: &mut Draft,
    directive: &Directive,
    node: &'t Node,
) {
    let key = directive.name;
    let check = |value: &str| directive.check_value(value).map(|()| value.to_owned());
    let Some(list) = section.list_at(key, node, "source", check) else { return };
    let values: Vec<&str> = list.items.iter().map(|item| item.value.as_str()).collect();
    match directive.check_list(&values) {
        // An item that was refused is missing in `values`; its fault is enough.
        Err(remedy) if list.empty || !values.is_empty() => {
            let message = format!("bad CSP directive `{key}` in {}", section.title);
            section.error(&list.place, message, remedy);
        }
        Err(_) | Ok(()) => draft.set_directive(directive, &values),
    }
}

fn hsts(section: &mut Section<'_>, draft: &mut Draft) {
    const LONGEST: Duration = Duration::from_secs(10 * 31_536_000);
    let Some(node) = section.node("hsts") else { return };
    if is_false(Some(node)) {
        return draft.set_hsts(None);
    }
    let mut table = section.section("hsts", &format!("`hsts` of {}", section.title));
    let default = draft.hsts().unwrap_or(Hsts {
        max_age: Duration::from_secs(31_536_000),
        include_subdomains: true,
        preload: false,
    });
    let hsts = Hsts {
        max_age: table.duration("max_age", Duration::ZERO..=LONGEST).unwrap_or(default.max_age),
        include_subdomains: table
            .boolean("include_subdomains")
            .unwrap_or(default.include_subdomains),
        preload: table.boolean("preload").unwrap_or(default.preload),
    };
    let acknowledged = table.boolean("acknowledge_preload").unwrap_or(false);
    if hsts.max_age.subsec_nanos() != 0 {
        table.error(&node.place, "`max_age` has a part of a second", "write whole seconds");
    }
    if let Some(remedy) = hsts.preload_refusal() {
        table.error(&node.place, "`preload` does not meet the lists' conditions", remedy);
    } else if hsts.preload && !acknowledged {
        table.error(
            &node.place,
            "`preload` builds https for every subdomain into browsers; leaving takes months",
            "add `acknowledge_preload = true` if every subdomain will serve https for good",
        );
    }
    table.finish();
    draft.set_hsts(Some(hsts));
}

/// `set` takes whole values of any header, as they are copied from elsewhere; those with a grammar
/// are held to it. A header cannot be said in two ways.
fn set(section: &mut Section<'_>, draft: &mut Draft) {
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
        let field = FIELDS.iter().find(|field| field.name == name.as_str());
        let value = field.map_or_else(|| header_value(text.value), |field| field.parse(text.value));
        match value {
            Ok(value) => draft.set(name, value),
            // The value may come from a file of secrets, so it is not repeated.
            Err(remedy) => {
                let message = format!("bad value for `{}` in {}", quoted(key), section.title);
                section.error(&text.place, message, remedy);
            }
        }
    }
}

fn remove(section: &mut Section<'_>, draft: &mut Draft) {
    let names = section.list("remove", "header", |text| {
        header_name(text).and_then(|name| removable(&name).map(|()| name))
    });
    for At { value: name, place } in names.map_or_else(Vec::new, |list| list.items) {
        if draft.sets(&name) {
            let message = format!("`{name}` is set and removed in {}", section.title);
            let key = own_key(&name);
            let remedy = format!("keep one of the two; `{key} = false` drops the preset's");
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

fn header_value(text: &str) -> Result<HeaderValue, String> {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    match text.trim() == text && text.bytes().all(printable) {
        true => HeaderValue::try_from(text).map_err(|error| error.to_string()),
        false => Err("write printable ASCII without spaces at the ends".to_owned()),
    }
}
