//! `gatehouse check`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{coloured, complain, print};
use crate::config::{self, Config, Faults, format_size};
use crate::policy::rate_limit::Footprint;

/// The configuration has faults.
const FAULTY: u8 = 1;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether Gatehouse would run with it.
    ok: bool,
    /// Every error and warning.
    faults: &'a Faults,
    /// What the configuration holds, if it is usable.
    #[serde(flatten)]
    summary: Option<Summary<'a>>,
}

/// What a usable configuration holds.
#[derive(Serialize)]
struct Summary<'a> {
    files: &'a [PathBuf],
    sites: usize,
    upstreams: usize,
    rate_limits: usize,
    rate_limit_memory: Memory<'a>,
}

/// What the keys of rate limits may take, and what one of each rule does.
#[derive(Serialize)]
struct Memory<'a> {
    bytes: u64,
    keys: Vec<(&'a str, Footprint)>,
}

/// Reads the configuration at `path` and says what is wrong with it.
pub(super) fn check(path: &Path, json: bool) -> ExitCode {
    let outcome = config::load(path, &config::environment);
    let (faults, summary) = match &outcome {
        Ok(config) => (&config.warnings, Some(Summary::new(config))),
        Err(faults) => (faults, None),
    };
    let ok = summary.is_some();
    if json {
        print(&Report { ok, faults, summary }.render());
    } else {
        if !faults.is_empty() {
            complain(&faults.render(coloured()));
        }
        if let Some(summary) = summary {
            print(&summary.render());
        }
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::from(FAULTY) }
}

impl Report<'_> {
    fn render(&self) -> String {
        // Strings, numbers and lists: nothing in it can fail to serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl<'a> Summary<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            files: &config.files,
            sites: config.sites.len(),
            upstreams: config.upstreams.len(),
            rate_limits: config.rules.len(),
            rate_limit_memory: Memory {
                bytes: config.rate_limits.memory,
                keys: config.rules.iter().map(|r| (r.name.as_str(), Footprint::of(r))).collect(),
            },
        }
    }

    /// `config/gatehouse.toml: ok: 1 site, 1 upstream, 3 rate limits`.
    fn render(&self) -> String {
        let files = self.files.iter().map(|file| file.display().to_string());
        let files = files.collect::<Vec<_>>().join(", ");
        let count = |number: usize, noun: &str| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{number} {noun}{plural}")
        };
        let (sites, upstreams) = (count(self.sites, "site"), count(self.upstreams, "upstream"));
        let rate_limits = count(self.rate_limits, "rate limit");
        format!(
            "{files}: ok: {sites}, {upstreams}, {rate_limits}{}",
            self.rate_limit_memory.render()
        )
    }
}

impl Memory<'_> {
    /// One line for all, and one for each rule: how many of its keys there can be at the least.
    fn render(&self) -> String {
        if self.keys.is_empty() {
            return String::new();
        }
        let mut text = format!("\nrate limits take up to {} of memory:", format_size(self.bytes));
        for (name, Footprint { least, most, keys }) in &self.keys {
            if *keys == Some(1) {
                _ = write!(text, "\n  {name}: {least} to {most} bytes for its one key");
                continue;
            }
            let [fewest, most_keys] = [most, least].map(|bytes| self.bytes / *bytes as u64);
            _ = write!(
                text,
                "\n  {name}: {least} to {most} bytes a key, so {fewest} to {most_keys} keys"
            );
        }
        text
    }
}
