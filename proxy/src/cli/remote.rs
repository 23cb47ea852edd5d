//! `gatehouse status`, `reload`, `drain`, `activate`, `limits`, `certs` and `csp`: a word with a
//! running instance, over its admin listener.

mod exchange;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde_json::Value;

use super::place::Place;
use super::{complain, csp, print};
use crate::config::{self, Admin, AdminAddress};

/// The instance cannot be reached, or does not do it.
const AT_FAULT: u8 = 1;

/// What would end a request's target, or one of its values.
const MARKS: &AsciiSet = &CONTROLS.add(b' ').add(b'&').add(b'#').add(b'+').add(b'%');

fn encode(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, MARKS)
}

/// Which running instance.
#[derive(Debug, Args)]
pub(super) struct Remote {
    #[command(flatten)]
    pub(super) place: Place,
    /// Its admin listener [default: `listen.admin` of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin: Option<AdminAddress>,
    /// Print its answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Remote {
    pub(super) fn ask(self, request: &Request) -> Result<ExitCode, String> {
        let path = match self.place.find() {
            Ok(path) => path,
            // It is only asked for the address.
            Err(_) if self.admin.is_some() => PathBuf::new(),
            Err(missing) => return Err(missing),
        };
        Ok(ask(request, &path, self.admin, self.json))
    }
}

/// What a running instance is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Status,
    Reload,
    Drain,
    Activate {
        upstream: String,
        group: String,
        force: bool,
    },
    Certificates,
    /// Of browsers.
    Reports,
    /// Of the site whose first host this is, or of all.
    Renew(Option<String>),
    Limits,
    /// A rule, and one of its keys or all.
    Reset(String, Option<String>),
    /// The id of a request that a rate limit rejected.
    Rejection(String),
    Rollover,
}

/// Asks, and prints the answer: as JSON, or as text for a person.
pub(super) fn ask(
    request: &Request,
    path: &Path,
    admin: Option<AdminAddress>,
    json: bool,
) -> ExitCode {
    // Also of a configuration that has faults, which is when a reload is refused.
    let (configured, access) = config::admin(path, &config::environment);
    let address = admin.unwrap_or(configured);
    let (status, body) = match request.exchange(&address, &access) {
        Ok(answer) => answer,
        Err(error) => {
            complain(&format!("error: {error}\n"));
            return ExitCode::from(AT_FAULT);
        }
    };
    let document: Value = serde_json::from_str(&body).unwrap_or_default();
    match (json, status) {
        (true, _) => print(body.trim_end()),
        (false, 401) => complain(&format!("error: {address} wants the `token` of [admin]\n")),
        (false, _) => say(request, &document, &body),
    }
    if (200..300).contains(&status) { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) }
}

/// Asks for a document; the error is a sentence for the operator.
pub(super) fn document(
    request: &Request,
    path: &Path,
    admin: Option<AdminAddress>,
) -> Result<Value, String> {
    let (configured, access) = config::admin(path, &config::environment);
    let address = admin.unwrap_or(configured);
    match request.exchange(&address, &access)? {
        (200, body) => serde_json::from_str(&body).map_err(|error| error.to_string()),
        (401, _) => Err(format!("{address} wants the `token` of [admin]")),
        (status, _) => Err(format!("{address} answers {status}")),
    }
}

impl Request {
    /// The answer's status and body; the error is a sentence for the operator.
    fn exchange(&self, address: &AdminAddress, access: &Admin) -> Result<(u16, String), String> {
        let (method, target) = self.target();
        exchange::exchange(address, method, &target, access).map_err(|error| {
            format!(
                "no Gatehouse answers on {address}: {error}\n\
                 Is it running? Its address is `admin` in [listen]; another: --admin ADDRESS"
            )
        })
    }

    fn target(&self) -> (&'static str, String) {
        match self {
            Self::Status => ("GET", "/api/status".to_owned()),
            Self::Reload => ("POST", "/api/reload".to_owned()),
            Self::Drain => ("POST", "/api/drain".to_owned()),
            Self::Activate { upstream, group, force } => {
                let name = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
                let (upstream, group) = (name(upstream), name(group));
                let force = if *force { "&force=true" } else { "" };
                ("POST", format!("/api/upstreams/{upstream}/activate?group={group}{force}"))
            }
            Self::Reports => ("GET", "/api/csp".to_owned()),
            Self::Certificates => ("GET", "/api/certificates".to_owned()),
            Self::Rollover => ("POST", "/api/certificates/rollover".to_owned()),
            Self::Renew(None) => ("POST", "/api/certificates/renew".to_owned()),
            Self::Renew(Some(name)) => {
                ("POST", format!("/api/certificates/renew?name={}", encode(name)))
            }
            Self::Limits => ("GET", "/api/rate-limits".to_owned()),
            Self::Reset(rule, key) => {
                let key =
                    key.as_ref().map(|key| format!("&key={}", encode(key))).unwrap_or_default();
                ("DELETE", format!("/api/rate-limits?rule={}{key}", encode(rule)))
            }
            Self::Rejection(id) => ("GET", format!("/api/rejections?id={}", encode(id))),
        }
    }
}

fn say(request: &Request, document: &Value, body: &str) {
    let ok = document.get("ok") != Some(&Value::Bool(false));
    match request {
        Request::Reload if ok => {
            let list = document.pointer("/reloaded/restart_for").and_then(Value::as_array);
            let waits: Vec<_> = list.into_iter().flatten().filter_map(Value::as_str).collect();
            print("reloaded");
            if !waits.is_empty() {
                print(&format!("at the next start: {}", waits.join(", ")));
            }
        }
        Request::Reload => {
            let text = document.get("text").and_then(Value::as_str).unwrap_or(body);
            complain(&format!(
                "{}\nnot reloaded; the old configuration is in use\n",
                text.trim_end()
            ));
        }
        Request::Drain if ok => print("draining"),
        Request::Activate { .. } if ok => {
            let text = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or_default();
            let (upstream, active, before) = (text("upstream"), text("active"), text("before"));
            print(&format!("{upstream}: new requests go to {active} (before: {before})"));
            if document.get("kept") == Some(&Value::Bool(false)) {
                complain("warning: this could not be kept in the store; a restart undoes it\n");
            }
        }
        Request::Certificates if ok => certificates(document),
        Request::Reports if ok => csp::say(document),
        Request::Renew(_) if ok => {
            let count = document.get("renewing").and_then(Value::as_u64).unwrap_or_default();
            print(&format!("renewing {count}; see: gatehouse certs list"));
        }
        Request::Rollover if ok => {
            let accounts = document.get("accounts").and_then(Value::as_array);
            let accounts = accounts.into_iter().flatten().filter_map(Value::as_str);
            let accounts: Vec<_> = accounts.collect();
            match accounts.as_slice() {
                [] => print("there is no account yet"),
                accounts => print(&format!("new account key with {}", accounts.join(", "))),
            }
        }
        Request::Limits if ok => limits(document),
        Request::Reset(..) if ok => {
            let count = document.get("reset").and_then(Value::as_u64).unwrap_or_default();
            print(&format!("forgot {count} key{}", if count == 1 { "" } else { "s" }));
            if let Some(note) = document.get("note").and_then(Value::as_str) {
                print(note);
            }
        }
        Request::Rejection(_) if ok => lines("", document),
        Request::Renew(_)
        | Request::Rollover
        | Request::Activate { .. }
        | Request::Reset(..)
        | Request::Rejection(_) => {
            let text = document.get("message").and_then(Value::as_str).unwrap_or(body);
            complain(&format!("error: {}\n", text.trim_end()));
        }
        Request::Status
        | Request::Drain
        | Request::Certificates
        | Request::Limits
        | Request::Reports => {
            lines("", document);
        }
    }
}

/// One line per certificate, and one more for what went wrong with it.
fn certificates(document: &Value) {
    let line = |[name, issuer, key, ends, renewed, state]: [&str; 6]| {
        print(&format!("{name:32} {issuer:9} {key:10} {ends:20} {renewed:20} {state}"));
    };
    line(["NAME", "ISSUER", "KEY", "ENDS", "RENEWED", "STATE"]);
    for entry in document.get("certificates").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-");
        let moment = |key: &str| text(key).chars().take(19).collect::<String>();
        let failures = entry.get("failures").and_then(Value::as_u64).unwrap_or_default();
        let issued = entry.get("issued") == Some(&Value::Bool(true));
        let (name, issuer) = (text("name"), text("issuer"));
        let state = match (issued, failures) {
            (true, 0) => "ok".to_owned(),
            (false, 0) => "waiting for the CA".to_owned(),
            (_, 1) if issuer == "files" => "refused what the file holds now".to_owned(),
            (_, failures) => format!("failed {failures}x, next at {}", moment("retry_at")),
        };
        let (ends, renewed) = (moment("not_after"), moment("renew_at"));
        line([name, issuer, text("key"), &ends, &renewed, &state]);
        if failures > 0 {
            print(&format!("    {}", text("error")));
        }
    }
}

/// One line per rule, and one more for each of its busiest keys.
fn limits(document: &Value) {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let list = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    print(&format!(
        "{:24} {:8} {:>10} {:>12} {:>12} {:>10}",
        "RULE", "MODE", "KEYS", "ADMITTED", "REJECTED", "SHADOWED"
    ));
    for rule in list(document, "rules") {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or("-");
        let [keys, admitted, rejected, shadowed] =
            ["keys", "admitted", "rejected", "shadowed"].map(|name| number(&rule, name));
        let (name, mode) = (text("name"), text("mode"));
        print(&format!(
            "{name:24} {mode:8} {keys:>10} {admitted:>12} {rejected:>12} {shadowed:>10}"
        ));
        for key in list(&rule, "busiest") {
            let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or("");
            print(&format!("    {:>8}  {}  {}", number(&key, "used"), text("id"), text("key")));
        }
    }
    if let Some(memory) = document.get("memory") {
        let [used, budget] = ["used_bytes", "budget_bytes"].map(|name| number(memory, name));
        print(&format!("{used} of {budget} bytes of memory used"));
    }
}

/// One line per leaf: `connections.open  5`.
fn lines(prefix: &str, value: &Value) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let prefix = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            lines(&prefix, value);
        }
        return;
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    print(&format!("{prefix:28} {text}"));
}
