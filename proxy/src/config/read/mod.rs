//! From the tree to the [`Config`]: one file per section, read in the order in which they refer to
//! one another.

mod acme;
mod client;
mod client_certificates;
mod dns;
mod headers;
mod limits;
mod listen;
mod on_demand;
mod pages;
mod rate_limit;
mod server;
mod site;
mod store;
mod tls;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;

use super::expand::Environment;
use super::fault::{Faults, Findings};
use super::model::{AccessLog, Config, Log, LogFormat, ProxyProtocol};
use super::nearest::suggestion;
use super::section::Section;
use super::source::{Place, Source};
use super::tree::{Table, Value};

/// Reads the whole document. The result is usable only if `findings` has no error afterwards.
pub(super) fn configuration(
    document: &Table,
    mut files: Vec<PathBuf>,
    environment: Environment<'_>,
    findings: &Findings,
) -> Config {
    let first = files.first().map_or_else(String::new, |path| path.display().to_string());
    let nowhere = Place::new(&Source::new(first.clone(), 0, String::new()), 0..0);
    let mut root = Section::new("the file".to_owned(), nowhere, &document.entries, findings);
    let (listen, admin) = listen::read(&mut root);
    let clients = client::read(root.section("client", "[client]"));
    if listen.proxy_protocol != ProxyProtocol::Off && clients.trusted_proxies.is_empty() {
        let node = root.section("listen", "[listen]").node("proxy_protocol");
        let remedy = "name the load balancer in `trusted_proxies` of [client]";
        if let Some(node) = node {
            let message = "`proxy_protocol` in [listen] without anybody to believe";
            findings.error(&node.place, message, remedy);
        }
    }
    let store = store::read(root.section("store", "[store]"), environment);
    let (tls, own) = tls::read(root.section("tls", "[tls]"), &store);
    let acme = acme::read(root.section("acme", "[acme]"));
    let limits = limits::read(root.section("limits", "[limits]"));
    let mut upstreams = upstream::Upstreams::read(&mut root);
    let mut policies = headers::Policies::find(&mut root);
    let mut sites = site::Sites::default();
    sites.read(
        &mut root,
        &mut upstreams,
        &mut policies,
        &site::Defaults { limits: limits.route, access: Arc::new(clients.access.clone()) },
    );
    files.append(&mut sites.files);
    let wanted = "[[rate_limit]] for a rule, and [rate_limits] for what all have in common";
    let table = root.section_or("rate_limits", "[rate_limits]", wanted);
    let rate_limits = rate_limit::defaults(table, &sites.hosts);
    let verifies_tokens = !rate_limits.jwt_secrets.is_empty();
    let known =
        rate_limit::Known { hosts: &sites.hosts, limits: &limits, verifies_tokens, store: &store };
    let rules = rate_limit::read(&mut root, std::mem::take(&mut sites.rate_limits), &known);
    let log = log(root.section("log", "[log]"));
    telemetry(root.section("telemetry", "[telemetry]"));
    if root.node("site").is_none_or(|node| matches!(&node.value, Value::List(l) if l.is_empty())) {
        let remedy = "add a [[site]] with `hosts` and `upstream`";
        findings.whole_file(&first, 0, "there is no [[site]]".to_owned(), remedy);
    }
    // It was read before; asked for here, it is known.
    root.node("include");
    root.finish();
    upstreams.warn_of_unused(findings);
    policies.read_unused();
    own.check(&sites.from_files, findings);
    acme.check(&sites.wildcards, findings);
    Config {
        listen,
        admin,
        tls,
        clients,
        acme: acme.acme,
        limits,
        store,
        upstreams: upstreams.into_list(),
        sites: sites.into_list(),
        rules,
        rate_limits,
        log,
        files,
        warnings: Faults::default(),
    }
}

fn log(mut section: Section<'_>) -> Log {
    let access = section.parsed("access", "place", |text| match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        path if path.contains('/') => Ok(AccessLog::File(PathBuf::from(path))),
        _ => Err("write \"stdout\", \"off\", or a path with a `/`: \"./access.log\"".to_owned()),
    });
    let format = section.parsed("format", "format", |text| match text {
        "json" => Ok(LogFormat::Json),
        "combined" => Ok(LogFormat::Combined),
        other => Err(suggestion(other, ["json", "combined"])),
    });
    let level = section.parsed("level", "level", |text| {
        let levels = ["error", "warn", "info", "debug", "trace"];
        match levels.contains(&text) {
            true => text.parse::<tracing::Level>().map_err(|error| error.to_string()),
            false => Err(suggestion(text, levels)),
        }
    });
    section.finish();
    Log {
        access: access.map_or(AccessLog::Stdout, |at| at.value),
        format: format.map_or(LogFormat::Json, |at| at.value),
        level: level.map_or(tracing::Level::INFO, |at| at.value),
    }
}

/// Where traces go: so far nowhere, which is what an empty address means.
fn telemetry(mut section: Section<'_>) {
    section.parsed("otlp", "address", |text| match text.is_empty() {
        true => Ok(()),
        false => Err("traces are not exported yet; leave it empty".to_owned()),
    });
    section.finish();
}
