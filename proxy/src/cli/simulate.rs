//! `gatehouse simulate LOGFILE...`.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Place, UNUSABLE, complain, load, print};
use crate::simulate::{self, Progress, Report};

/// A log cannot be read, or holds nothing that is one.
const AT_FAULT: u8 = 1;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Access logs, in any order; `-` is standard input
    #[arg(required = true, value_name = "LOGFILE")]
    logs: Vec<PathBuf>,
    /// Print one JSON document on standard output instead
    #[arg(long)]
    json: bool,
    /// Write a page with plots, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Replays the logs and prints what the rules would have done.
pub(super) fn simulate(options: Options) -> Result<ExitCode, String> {
    let Options { place, logs, json, html } = options;
    let path = place.find()?;
    let Some(config) = load(&path) else { return Ok(ExitCode::from(UNUSABLE)) };
    let mut display = Display::new();
    let outcome = simulate::simulate(&config, &logs, |progress| display.show(progress));
    display.clear();
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            complain(&format!("error: cannot read {error}\n"));
            return Ok(ExitCode::from(AT_FAULT));
        }
    };
    if let Some(file) = html {
        write(&file, &simulate::html(&report))?;
    }
    match json {
        true => print(&serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => render(&report),
    }
    Ok(if report.is_of_nothing() { ExitCode::from(AT_FAULT) } else { ExitCode::SUCCESS })
}

fn write(file: &Path, page: &str) -> Result<(), String> {
    fs::write(file, page).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn render(report: &Report) {
    if let (Some(from), Some(to)) = (report.from, report.to) {
        print(&format!("{from:.0} to {to:.0}"));
    }
    let share = percent(report.rejected, report.requests);
    print(&format!("{} requests, {} would be rejected{share}", report.requests, report.rejected));
    for (count, what) in [
        (report.unreadable, "lines are in no known format"),
        (report.no_site, "requests are for hosts of no site"),
        (report.undecided, "requests never reached the rules"),
        (report.evicted, "keys were given up: `memory` of [rate_limits] is too small"),
    ] {
        if count > 0 {
            print(&format!("{count} {what}"));
        }
    }
    for example in &report.examples {
        print(&format!("    {example}"));
    }
    for warning in report.warnings() {
        print(&format!("warning: {warning}"));
    }
    for rule in &report.rules {
        print(&format!("\n{}: {}, mode {}", rule.name, rule.allows(), rule.mode));
        if let Some(note) = &rule.note {
            print(&format!("  note: {note}"));
        }
        let share = percent(rule.rejected, rule.requests);
        let (rejected, keys) = (rule.rejected, rule.keys_rejected);
        print(&format!("  {} requests of {} keys", rule.requests, rule.keys));
        print(&format!("  {rejected} would be rejected{share}, of {keys} keys"));
        let rates = &rule.rates;
        print(&format!(
            "  most of a key in a window: {} for half of the keys, {} for 90 %, {} for 99 %, {} at \
             most",
            rates.p50, rates.p90, rates.p99, rates.most
        ));
        if let Some(limits) = &rule.limits {
            print(&format!(
                "  limits that reject: nobody {}, at most 0.1 % {}, at most 1 % {}",
                limits.nobody, limits.one_in_1000, limits.one_in_100
            ));
        }
        for busy in &rule.busiest {
            let (peak, requests) = (busy.peak, busy.requests);
            print(&format!(
                "  {:40} {peak:>8} in a window {requests:>10} requests {:>10} rejected",
                busy.key, busy.rejected
            ));
        }
    }
}

/// ` (1.25 %)`, where there is a share.
#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn percent(part: u64, of: u64) -> String {
    if of == 0 { String::new() } else { format!(" ({:.2} %)", part as f64 * 100.0 / of as f64) }
}

/// How far it is, on a terminal.
struct Display {
    shown: Option<Instant>,
    terminal: bool,
    began: Instant,
}

impl Display {
    /// How often it is drawn.
    const PAUSE: Duration = Duration::from_millis(200);

    fn new() -> Self {
        Self { shown: None, terminal: io::stderr().is_terminal(), began: Instant::now() }
    }

    fn show(&mut self, progress: Progress) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < Self::PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let Progress { lines, bytes, total } = progress;
        let share = total.filter(|total| *total > 0);
        let share = share.map_or(String::new(), |total| format!("{:>3} %  ", bytes * 100 / total));
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = lines.saturating_mul(1_000) / millis;
        complain(&format!("\r{share}{lines} lines, {rate} a second "));
    }

    fn clear(&self) {
        if self.shown.is_some() {
            complain("\r\u{1b}[2K");
        }
    }
}
