//! `gatehouse explain`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::{UNUSABLE, load, print};
use crate::explain::{Explanation, OfRule, Outcome, explain};

/// The request that is asked about.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// Where it comes from [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", requires = "url")]
    ip: Option<IpAddr>,
    /// One of its header fields; as often as wanted
    #[arg(long, value_name = "'N: V'", value_parser = field, requires = "url")]
    header: Vec<(HeaderName, HeaderValue)>,
    /// GET, POST, …
    #[arg(required_unless_present = "id")]
    method: Option<Method>,
    /// With scheme and host, as in `https://app.example.com/login`
    #[arg(required_unless_present = "id", value_parser = url)]
    url: Option<Uri>,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "this is no name of a header")?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "this is no value of a header")?;
    Ok((name, value))
}

fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("this is no URL: {error}"))?;
    match (url.scheme_str(), url.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err("write it with scheme and host: https://app.example.com/login".to_owned()),
    }
}

/// Answers by the configuration at `path`. The exit code says whether there is an answer, not
/// which.
pub(super) fn answer(path: &Path, question: Question, json: bool) -> ExitCode {
    let Some(config) = load(path) else { return ExitCode::from(UNUSABLE) };
    let mut request = Request::new(());
    *request.method_mut() = question.method.unwrap_or_default();
    *request.uri_mut() = question.url.unwrap_or_default();
    request.headers_mut().extend(question.header);
    let peer = question.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let explanation = explain(&config, request, peer);
    match json {
        true => print(&serde_json::to_string_pretty(&explanation).unwrap_or_default()),
        false => render(&explanation),
    }
    ExitCode::SUCCESS
}

fn render(explanation: &Explanation) {
    let line = |name: &str, text: &str| print(&format!("{name:10} {text}"));
    let unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let client = &explanation.client;
    let known_by = match (client.address == client.peer, client.peer_is_trusted) {
        (false, _) => format!("named by the trusted proxy {}", client.peer),
        (true, true) => "the peer, a trusted proxy that names no client".to_owned(),
        (true, false) => "the peer; not a trusted proxy, so nothing else is believed".to_owned(),
    };
    line("request", &format!("{} {}", explanation.method, explanation.url));
    line("client", &format!("{}: {known_by}", client.address));
    if client.counted_as != client.address.to_string() {
        line("", &format!("counted as {}", client.counted_as));
    }
    line("site", &unknown(&explanation.site));
    line("route", &unknown(&explanation.route));
    if let Some(path) = &explanation.path {
        line("path", path);
    }
    if let Some(upstream) = &explanation.upstream {
        // One that is written as a URL is its only server.
        match upstream.servers.as_slice() {
            [only] if upstream.name.ends_with(only.as_str()) => line("upstream", &upstream.name),
            servers => line("upstream", &format!("{}: {}", upstream.name, servers.join(", "))),
        }
    }
    let outcome = match &explanation.outcome {
        Outcome::Forwarded => "forwarded, unless a limit is used up".to_owned(),
        Outcome::Redirected => "redirected to https (308)".to_owned(),
        Outcome::Rejected { status, reason, because } => {
            format!("rejected with {status}, {reason}: {because}")
        }
    };
    line("outcome", &outcome);
    if explanation.exempt {
        line("limits", "none: the request is exempt");
    } else if !explanation.rules.is_empty() {
        print("limits");
        explanation.rules.iter().for_each(rule);
    }
    print("headers");
    for (name, value) in &explanation.headers {
        print(&format!("  {name}: {value}"));
    }
}

fn rule(rule: &OfRule) {
    let OfRule { name, allows, .. } = rule;
    let shadow = if rule.enforces { "" } else { ", in shadow mode" };
    let says = match (&rule.counted_by, rule.not_because) {
        (_, Some(mismatch)) => format!("does not match {mismatch}"),
        (by, None) => {
            let by = by.as_deref().unwrap_or_default();
            let cost = rule.cost.filter(|cost| *cost != 1);
            let cost = cost.map_or_else(String::new, |cost| format!(", at a cost of {cost}"));
            format!("matches{shadow}; counted by {}: {by}{cost}", rule.key.join(" and "))
        }
    };
    print(&format!("  {name:20} {allows:16} {says}"));
}
