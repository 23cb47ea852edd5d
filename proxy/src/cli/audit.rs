//! `gatehouse audit URL`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Uri;

use super::{complain, print, wait_for};
use crate::audit::{self, Audit, Finding, Grade, Report};

/// The site falls short of what was asked for, or does not answer.
const AT_FAULT: u8 = 1;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The page to look at; https:// may be left out
    #[arg(value_parser = secure_url)]
    url: Uri,
    /// Trust the certificates in this PEM file, too: an authority of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where the host's plain HTTP is [default: 80, or nowhere if URL names a port]
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// The worst grade that is good enough for exit code 0
    #[arg(long, value_name = "GRADE", default_value = "A")]
    at_least: Grade,
    /// Print one JSON document on standard output instead
    #[arg(long)]
    json: bool,
}

fn secure_url(text: &str) -> Result<Uri, String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let text = if text.matches('/').count() == 2 { format!("{text}/") } else { text };
    let uri: Uri = text.parse().map_err(|_| "this is no URL".to_owned())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) if !host.is_empty() => Ok(uri),
        (Some("http"), _) => Err("audits begin with https://; plain HTTP is looked at, too".into()),
        _ => Err("this is no URL of https".to_owned()),
    }
}

/// Looks at the site, prints what was found, and says by the exit code whether it is good enough.
pub(super) fn audit(options: Options) -> ExitCode {
    let Options { url, ca, http_port, at_least, json } = options;
    let default = url.port_u16().is_none().then_some(80);
    let audit = Audit { url, ca, http_port: http_port.or(default) };
    let report = match wait_for(audit::audit(&audit)) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            complain(&format!("error: {error}\n"));
            return ExitCode::from(AT_FAULT);
        }
        Err(error) => {
            complain(&format!("error: {error}\n"));
            return ExitCode::from(super::OWN_FAILURE);
        }
    };
    match json {
        true => print(&serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => render(&report),
    }
    let unscored = report.findings.iter().any(|finding| !finding.pass && finding.score == 0);
    let good = report.grade <= at_least && !unscored;
    if good { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) }
}

fn render(report: &Report) {
    let Report { url, grade, score, findings } = report;
    print(&format!("{url}\n{grade}  ({score} by the scoring of the MDN HTTP Observatory)\n"));
    for Finding { test, score, pass, found, remedy, .. } in findings {
        let verdict = if *pass { "ok" } else { "FAULT" };
        let score = if *score == 0 { String::new() } else { format!("{score:+}") };
        print(&format!("{verdict:5}  {score:>4}  {test:30} {found}"));
        if !remedy.is_empty() {
            print(&format!("{:13}write: {remedy}", ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed_or_refused() {
        for (text, url) in [
            ("example.com", "https://example.com/"),
            ("localhost:8443/x", "https://localhost:8443/x"),
            ("https://[::1]:8443", "https://[::1]:8443/"),
        ] {
            assert_eq!(secure_url(text).unwrap().to_string(), url);
        }
        for text in ["", "http://example.com/", "ftp://example.com/", "https://"] {
            assert!(secure_url(text).is_err(), "{text}");
        }
    }
}
