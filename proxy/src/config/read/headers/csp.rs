//! `csp` of `[headers.NAME]`, and what other headers say against it.

use super::is_false;
use crate::config::nearest::suggestion;
use crate::config::section::{Section, quoted};
use crate::config::tree::{Entry, Node, Value};
use crate::policy::headers::{DIRECTIVES, Directive, Draft};

/// Which policy a table of directives changes.
#[derive(Clone, Copy)]
enum Target {
    /// The one that goes out.
    Policy,
    /// One that is tried out beside it.
    Trial,
}

/// A directive replaces that of the draft; `false` drops it.
pub(super) fn csp(section: &mut Section<'_>, draft: &mut Draft) {
    match is_false(section.node("csp")) {
        true => draft.drop_csp(),
        false => directives(section, draft, ("csp", Target::Policy)),
    }
    match is_false(section.node("csp_trial")) {
        true => draft.drop_trial(),
        false => directives(section, draft, ("csp_trial", Target::Trial)),
    }
}

fn directives(
    section: &mut Section<'_>,
    draft: &mut Draft,
    (table, target): (&'static str, Target),
) {
    for Entry { key, key_place, node } in section.named(table) {
        let Some(directive) = Directive::named(key) else {
            let message = format!("unknown CSP directive `{}` in {}", quoted(key), section.title);
            let names = DIRECTIVES.iter().map(|directive| directive.name);
            section.error(key_place, message, suggestion(key, names));
            continue;
        };
        let Some(values) = values(section, table, directive, node) else { continue };
        let values: Option<Vec<&str>> =
            values.as_ref().map(|values| values.iter().map(String::as_str).collect());
        match (target, values) {
            (Target::Policy, Some(values)) => draft.set_directive(directive, &values),
            (Target::Policy, None) => draft.drop_directive(directive),
            (Target::Trial, values) => draft.try_directive(directive, values.as_deref()),
        }
    }
}

/// The values of a directive, or none of it; `None` if they cannot be read.
fn values<'t>(
    section: &Section<'t>,
    table: &str,
    directive: &Directive,
    node: &'t Node,
) -> Option<Option<Vec<String>>> {
    if is_false(Some(node)) {
        return Some(None);
    }
    let key = directive.name;
    let check = |value: &str| directive.check_value(value).map(|()| value.to_owned());
    let list = section.list_at(key, node, "source", check)?;
    let values: Vec<&str> = list.items.iter().map(|item| item.value.as_str()).collect();
    for (index, remedy) in directive.doubts(&values) {
        let Some(item) = list.items.get(index) else { continue };
        let message = format!("`{}` in `{table}.{key}` of {}", quoted(&item.value), section.title);
        section.findings.warning(&item.place, message, remedy);
    }
    // An item that was refused is missing in `values`; its fault is enough.
    if let Err(remedy) = directive.check_list(&values)
        && (list.empty || !values.is_empty())
    {
        let message = format!("bad CSP directive `{key}` in {}", section.title);
        section.error(&list.place, message, remedy);
        return None;
    }
    Some(Some(list.into_values()))
}

/// `csp_report`: whether the policy is only reported, and whether reports come to Gatehouse.
pub(super) fn reports(section: &mut Section<'_>, draft: &mut Draft) {
    let written = section.node("csp_report");
    let mut table = section.section("csp_report", &format!("`csp_report` of {}", section.title));
    let (only, collect) = (table.boolean("only"), table.boolean("collect"));
    table.finish();
    let (report_only, collected) = draft.reports();
    *report_only = only.unwrap_or(*report_only);
    *collected = collect.unwrap_or(*collected);
    let (only, trial) =
        (*report_only, section.node("csp_trial").filter(|node| !is_false(Some(node))));
    if let Some(node) = written.filter(|_| only).or(trial).filter(|_| !draft.is_reported()) {
        let message = "a policy that stops nothing and tells nobody";
        section.error(&node.place, message, "add csp_report = { …, collect = true }");
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
