//! `[headers.NAME]`.

mod csp;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::config::fault::Findings;
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::tree::{Node, Value};
use crate::config::values::{At, List};
use crate::policy::headers::{Cookies, Draft, FIELDS, HeaderPolicy, Hsts, Merge, Preset, SameSite};

/// Every policy, and whether somebody uses it.
pub(super) struct Policies<'t> {
    known: Vec<Known<'t>>,
    findings: &'t Findings,
}

struct Known<'t> {
    name: &'t str,
    section: Section<'t>,
    used: bool,
}

/// What a site or a route does with its responses' headers.
#[derive(Clone)]
pub(super) struct Headers {
    draft: Draft,
    pub(super) policy: Arc<HeaderPolicy>,
}

impl Headers {
    fn new(draft: Draft, section: Option<&str>) -> Self {
        let mut policy = draft.clone().compile();
        policy.section = section.map(Arc::from);
        Self { policy: Arc::new(policy), draft }
    }

    /// What a site gets that names none.
    pub(super) fn default() -> Self {
        Self::new(Draft::new(Preset::Helmet), None)
    }

    /// Doubts that a site can be preloaded that only has hosts below an apex: lists take the apex,
    /// by what it sends itself. Names that nobody can register are left alone.
    pub(super) fn doubt_preload(&self, section: &mut Section<'_>, hosts: &[String]) {
        fn apex_of(host: &str) -> Option<&str> {
            psl::domain_str(host).filter(|apex| apex.contains('.'))
        }
        let is_below = |host: &String| apex_of(host).is_some_and(|apex| apex != *host);
        let preload = self.draft.hsts().is_some_and(|hsts| hsts.preload);
        let first = hosts.first().and_then(|host| apex_of(host));
        let (true, Some(apex), Some(node)) = (preload, first, section.node("headers")) else {
            return;
        };
        if hosts.iter().all(is_below) {
            let message =
                format!("`preload` is for an apex, and no host of {} is one", section.title);
            let remedy = format!(
                "lists take {apex}, if that itself sends the header: serve it, too, or drop preload"
            );
            section.findings.warning(&node.place, message, remedy);
        }
    }
}

impl<'t> Policies<'t> {
    /// Finds all `[headers.NAME]` sections.
    pub(super) fn find(root: &mut Section<'t>) -> Self {
        let sections = root.named_sections("headers").into_iter();
        let known = sections.map(|(name, section)| Known { name, section, used: false });
        Self { known: known.collect(), findings: root.findings }
    }

    /// The policy of a name. Without a `preset` of its own, it is `base` and what it changes.
    pub(super) fn resolve(
        &mut self,
        name: &At<&str>,
        section: &Section<'_>,
        base: &Headers,
    ) -> Option<Headers> {
        if let Some(known) = self.known.iter_mut().find(|known| known.name == name.value) {
            known.used = true;
            return Some(Headers::new(draft(known.section.again(), &base.draft), Some(known.name)));
        }
        let remedy = match self.known.is_empty() {
            true => format!("add [headers.{}] with a `preset`", quoted(name.value)),
            false => suggestion(name.value, self.known.iter().map(|known| known.name)),
        };
        let message = format!("unknown headers `{}` in {}", quoted(name.value), section.title);
        section.error(&name.place, message, remedy);
        None
    }

    /// A policy that no site names is probably misspelt somewhere. It is read all the same.
    pub(super) fn read_unused(self) {
        for known in self.known.into_iter().filter(|known| !known.used) {
            let message = format!("no site uses the headers `{}`", known.name);
            let remedy = "name them in a [[site]], or remove them";
            self.findings.warning(&known.section.place, message, remedy);
            draft(known.section, &Draft::new(Preset::Helmet));
        }
    }
}

fn draft(mut section: Section<'_>, base: &Draft) -> Draft {
    let preset = section.parsed("preset", "preset", |text| {
        Preset::named(text).ok_or_else(|| suggestion(text, Preset::NAMES))
    });
    let mut draft = preset.map_or_else(|| base.clone(), |at| Draft::new(at.value));
    let merge = section.parsed("merge", "way to merge", |text| {
        Merge::named(text).ok_or_else(|| suggestion(text, Merge::NAMES))
    });
    if let Some(merge) = merge {
        draft.merge(merge.value);
    }
    csp::csp(&mut section, &mut draft);
    csp::reports(&mut section, &mut draft);
    hsts(&mut section, &mut draft);
    for field in &FIELDS {
        let name = HeaderName::from_static(field.name);
        if is_false(section.node(field.name)) {
            draft.drop(&name);
        } else if let Some(at) = section.parsed(field.name, "value", |text| field.parse(text)) {
            draft.put(name, at.value);
        }
    }
    whole::set(&mut section, &mut draft);
    whole::remove(&mut section, &mut draft);
    let strip = section.parsed("strip", "list", |text| match text {
        "owasp" => Ok(true),
        "none" => Ok(false),
        _ => Err("write \"owasp\" or \"none\"".to_owned()),
    });
    if let Some(strip) = strip {
        draft.strip(strip.value);
    }
    cookies(&mut section, &mut draft);
    csp::contradictions(&mut section, &draft);
    section.finish();
    draft
}

/// `cookies` is a table, of which every key has a default, or false.
fn cookies(section: &mut Section<'_>, draft: &mut Draft) {
    match section.node("cookies") {
        None => return,
        node if is_false(node) => return draft.cookies(None),
        Some(_) => {}
    }
    let mut table = section.section("cookies", &format!("`cookies` of {}", section.title));
    let same_site = table.parsed("same_site", "value", |text| match text {
        "lax" => Ok(Some(SameSite::Lax)),
        "strict" => Ok(Some(SameSite::Strict)),
        "off" => Ok(None),
        other => Err(suggestion(other, ["lax", "strict", "off"])),
    });
    let exempt = table.list("exempt", "cookie name", |text| match text {
        "" => Err("name a cookie".to_owned()),
        name if name.bytes().any(|b| !b.is_ascii_graphic() || b"=;,\"".contains(&b)) => {
            Err("a name has no spaces and none of `=;,\"`".to_owned())
        }
        name => Ok(name.to_owned()),
    });
    draft.cookies(Some(Cookies {
        secure: table.boolean("secure").unwrap_or(true),
        http_only: table.boolean("http_only").unwrap_or(true),
        same_site: same_site.map_or(Some(SameSite::Lax), |at| at.value),
        exempt: exempt.map_or_else(Vec::new, List::into_values),
    }));
    table.finish();
}

fn is_false(node: Option<&Node>) -> bool {
    matches!(node, Some(Node { value: Value::Boolean(false), .. }))
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
        ramp: false,
    });
    let hsts = Hsts {
        max_age: table.duration("max_age", Duration::ZERO..=LONGEST).unwrap_or(default.max_age),
        include_subdomains: table
            .boolean("include_subdomains")
            .unwrap_or(default.include_subdomains),
        preload: table.boolean("preload").unwrap_or(default.preload),
        ramp: table.boolean("ramp").unwrap_or(default.ramp),
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
            "add `acknowledge_preload = true` if the host is the apex (example.com) and every \
             subdomain will serve https for good",
        );
    }
    table.finish();
    draft.set_hsts(Some(hsts));
}
