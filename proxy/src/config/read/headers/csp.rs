//! `csp` of `[headers.NAME]`, and what other headers say against it.

use super::is_false;
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::tree::{Entry, Node, Value};
use crate::policy::headers::{DIRECTIVES, Directive, Draft};

/// A directive replaces that of the draft; `false` drops it.
pub(super) fn csp(section: &mut Section<'_>, draft: &mut Draft) {
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
    for (index, remedy) in directive.doubts(&values) {
        let Some(item) = list.items.get(index) else { continue };
        let message = format!("`{}` in `csp.{key}` of {}", quoted(&item.value), section.title);
        section.findings.warning(&item.place, message, remedy);
    }
}

/// What two headers say that cannot both be meant.
pub(super) fn contradictions(section: &mut Section<'_>, draft: &Draft) {
    let framed = matches!(
        section.node("csp").map(|node| &node.value),
        Some(Value::Table(table)) if table.entry("frame-ancestors").is_some()
    );
    let ancestors = draft.directive("frame-ancestors").unwrap_or_default();
    let agrees = match draft.field("x-frame-options") {
        Some("DENY") => ancestors == "'none'",
        Some("SAMEORIGIN") => ancestors == "'self'",
        _ => true,
    };
    if let (true, Some(node), false) = (framed, section.node("x-frame-options"), agrees) {
        let message = "`x-frame-options` says another thing than `csp.frame-ancestors`";
        let remedy = "browsers go by the second: let both say the same, or drop the first";
        section.findings.warning(&node.place, message, remedy);
    }
    let Some(group) = draft.directive("report-to") else { return };
    let endpoints = draft.field("reporting-endpoints").unwrap_or_default();
    let is_known = endpoints
        .split(',')
        .any(|member| member.trim().split_once('=').is_some_and(|(name, _)| name == group));
    if let (Some(node), false) = (section.node("csp"), is_known) {
        let message = format!("`csp.report-to` names `{}`, which is nowhere", quoted(group));
        let remedy = "add reporting-endpoints = 'NAME=\"https://…\"' with this name";
        section.findings.warning(&node.place, message, remedy);
    }
}
