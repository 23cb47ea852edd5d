//! Load on one proxy: wrk, h2load and the bench's own TLS client, and the reading of their output.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::lab::Lab;
use super::scenario::{Load, Scenario, Work};
use super::usage::LOAD_CPU;
use crate::{apt, process};

pub(super) const BOUND: Duration = Duration::from_secs(300);

/// What a load generator reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Report {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Answers that were neither 2xx nor 3xx.
    pub(super) refused: u64,
    /// Requests that got no answer.
    pub(super) errors: u64,
}

impl Report {
    /// A measurement of the wrong work is worth nothing.
    pub(super) fn must_be_of(self, scenario: &Scenario) -> anyhow::Result<Self> {
        let Self { requests, refused, errors, .. } = self;
        let tolerated = requests / 1000;
        if requests == 0 || errors > tolerated {
            bail!("{errors} errors beside {requests} answers");
        }
        if scenario.limited && refused < requests - requests / 100 {
            bail!("only {refused} of {requests} answers were 429");
        }
        if !scenario.limited && refused > tolerated {
            bail!("{refused} of {requests} answers were not 2xx");
        }
        Ok(self)
    }
}

/// A command on the core of the load, with the same TLS parameters for every generator.
pub(super) fn generator(lab: &Lab, program: impl AsRef<Path>) -> Command {
    let mut command = process::pinned(LOAD_CPU, program.as_ref());
    command.env("OPENSSL_CONF", lab.scratch().join("client-openssl.cnf"));
    command
}

/// Warms the proxy up, or spends its limit, so that the measured part is all of one kind.
pub(super) fn prepare(lab: &Lab, scenario: &Scenario, port: u16) -> anyhow::Result<()> {
    let options: &[&str] = match scenario.load {
        _ if scenario.limited => &["-n60", "-c1", "-m1"],
        Load::Wrk | Load::H2load { work: Work::Get, .. } => &["-n2000", "-c16", "-m1", "--h1"],
        Load::Handshakes { .. } | Load::Idle => return handshakes(lab, port, 0.2, false).map(drop),
        Load::H2load { .. } => return Ok(()),
    };
    let mut command = generator(lab, apt::locate("h2load")?);
    process::capture("h2load", command.args(options).arg(url(port, "/")), BOUND).map(drop)
}

/// How many requests h2load needs for a run of this length, from one second of trial.
pub(super) fn calibrate(
    lab: &Lab,
    scenario: &Scenario,
    port: u16,
    seconds: f64,
) -> anyhow::Result<u64> {
    let Load::H2load { connections, streams, work, .. } = scenario.load else { return Ok(0) };
    let mut command = h2load(lab, scenario.load)?;
    command.args(["-D1", "--warm-up-time=0"]).arg(url(port, work.path()));
    let text = process::capture("h2load", &mut command, BOUND)?;
    let rate = h2load_rate(&text).with_context(|| format!("h2load said: {}", text.trim()))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of requests, far below 2^53"
    )]
    let wanted = (rate * seconds) as u64;
    Ok(wanted.max(u64::from(connections * streams * 2)))
}

/// Runs the load; `requests` is what [`calibrate`] found.
pub(super) fn run(
    lab: &Lab,
    load: Load,
    port: u16,
    seconds: f64,
    requests: u64,
) -> anyhow::Result<Report> {
    match load {
        Load::Wrk => wrk(lab, port, seconds),
        Load::H2load { work, .. } => {
            let log = lab.scratch().join("h2load.log");
            let mut command = h2load(lab, load)?;
            command.arg(format!("-n{requests}")).arg(format!("--log-file={}", log.display()));
            command.arg(url(port, work.path()));
            let text = process::capture("h2load", &mut command, BOUND)?;
            // h2load appends: what stays would be counted again.
            let lines = std::fs::read_to_string(&log).context("h2load left no log")?;
            std::fs::remove_file(&log)?;
            h2load_report(&text, &lines).with_context(|| format!("h2load said: {}", text.trim()))
        }
        Load::Handshakes { resumed } => handshakes(lab, port, seconds, resumed),
        Load::Idle => bail!("idle connections are no load"),
    }
}

fn url(port: u16, path: &str) -> String {
    format!("https://localhost:{port}{path}")
}

fn wrk(lab: &Lab, port: u16, seconds: f64) -> anyhow::Result<Report> {
    let mut command = generator(lab, apt::locate("wrk")?);
    command.args(["-t1", "-c64", "--latency", "--timeout", "10s"]);
    command.arg(format!("-d{}s", seconds.ceil())).arg(url(port, "/"));
    let text = process::capture("wrk", &mut command, BOUND)?;
    wrk_report(&text).with_context(|| format!("wrk said: {}", text.trim()))
}

fn h2load(lab: &Lab, load: Load) -> anyhow::Result<Command> {
    let Load::H2load { http1, connections, streams, work } = load else {
        bail!("this load is not h2load's")
    };
    let mut command = generator(lab, apt::locate("h2load")?);
    command.arg("-t1").arg(format!("-c{connections}")).arg(format!("-m{streams}"));
    if http1 {
        command.arg("--h1");
    }
    if work == Work::Upload {
        command.arg("-d").arg(lab.scratch().join("www/1m"));
    }
    Ok(command)
}

fn handshakes(lab: &Lab, port: u16, seconds: f64, resumed: bool) -> anyhow::Result<Report> {
    let kind = if resumed { "resumed" } else { "full" };
    let mut command = generator(lab, lab.tls_client());
    command.args(["handshakes", &port.to_string(), &seconds.to_string(), kind]);
    let text = process::capture("tls-client", &mut command, BOUND)?;
    let report = tls_client_report(&text)
        .with_context(|| format!("the TLS client said: {}", text.trim()))?;
    let count = named(&text, "resumed").unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of connections, far below 2^53")]
    let share = count / report.requests.max(1) as f64;
    if resumed && share < 0.9 {
        bail!("only {:.0} % of the connections were resumed", share * 100.0);
    }
    Ok(report)
}

fn wrk_report(text: &str) -> Option<Report> {
    let total = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = total.trim().split_once(" requests in ")?;
    let percentile = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        microseconds(line.trim())
    };
    let refused = after(text, "Non-2xx or 3xx responses: ").and_then(|n| n.trim().parse().ok());
    let errors = after(text, "Socket errors: ").map(|line| {
        line.split(", ").filter_map(|part| part.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    });
    Some(Report {
        requests: requests.parse().ok()?,
        seconds: microseconds(rest.split(',').next()?)? / 1e6,
        p50_us: percentile("50%")?,
        p99_us: percentile("99%")?,
        refused: refused.unwrap_or(0),
        errors: errors.unwrap_or(0),
    })
}

/// `finished in 4.01s, 12345.67 req/s, 4.5MB/s`
fn h2load_rate(text: &str) -> Option<f64> {
    let rate = after(text, "finished in ")?.split(", ").nth(1)?;
    rate.strip_suffix(" req/s")?.parse().ok().filter(|rate| *rate > 0.0)
}

/// The log has a line per request: its start, its status, its duration in microseconds.
fn h2load_report(text: &str, log: &str) -> Option<Report> {
    let requests = after(text, "requests: ")?;
    let done = counted(requests, " done")?;
    let mut durations: Vec<u64> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    durations.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one request")]
    let percentile = |hundredth: usize| {
        let index = durations.len().saturating_sub(1) * hundredth / 100;
        durations.get(index).map(|us| *us as f64)
    };
    Some(Report {
        requests: done,
        seconds: microseconds(after(text, "finished in ")?.split(',').next()?)? / 1e6,
        p50_us: percentile(50)?,
        p99_us: percentile(99)?,
        refused: done.saturating_sub(counted(after(text, "status codes: ")?, " 2xx")?),
        // Not those that failed: h2load counts every 4xx among them.
        errors: counted(requests, " errored")?,
    })
}

fn tls_client_report(text: &str) -> Option<Report> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the client prints whole, positive counts"
    )]
    let count = |name: &str| named(text, name).map(|value| value as u64);
    Some(Report {
        requests: count("requests")?,
        seconds: named(text, "seconds")?,
        p50_us: named(text, "p50_us")?,
        p99_us: named(text, "p99_us")?,
        refused: count("refused")?,
        errors: count("failed")?,
    })
}

/// The value of the line `name value`.
pub(super) fn named(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// What follows `label` on its line.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.split_once(label)?.1))
}

/// The number before `unit` in `10 total, 10 started, 9 done`.
fn counted(list: &str, unit: &str) -> Option<u64> {
    list.split(", ").find_map(|part| part.trim().strip_suffix(unit)?.parse().ok())
}

/// `1.25ms`, `300.00us`, `2s` or `1.50m` in microseconds.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units
        .iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests;
