//! `cargo xtask bench db`: the application's queries on both engines, with and without its indexes.
//!
//! The queries, and the tables of figures, are the application's own bench; this starts a
//! PostgreSQL for it and hands over what was asked for.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process::Running;
use crate::{cargo, services};

/// A million rows are seeded twice, and read without indexes.
const BOUND: Duration = Duration::from_secs(2 * 60 * 60);
const ENGINES: [&str; 2] = ["sqlite", "postgres"];

pub(crate) const HELP: &str = "\
cargo xtask bench db [--rows 1000,100000,1000000] [--engines sqlite,postgres]

Seeds a database of each size on each engine, times the API's queries as the server runs them (p50,
p99), says how much they read, takes the 19 indexes away, and times them again. A million rows take
about ten minutes and 2 GB in the temporary directory. PostgreSQL runs with its standard settings,
but does not wait for the disk.
";

/// What the command line asked for, checked.
#[derive(Debug)]
pub(crate) struct Options(Vec<String>);

impl Options {
    pub(crate) fn parse(args: &[&str]) -> anyhow::Result<Self> {
        for pair in args.chunks(2) {
            match pair {
                ["--rows", sizes] => {
                    for size in sizes.split(',') {
                        let rows: u32 =
                            size.parse().context("--rows takes numbers: 1000,100000")?;
                        if !(100..=10_000_000).contains(&rows) {
                            bail!("--rows are from 100 to 10000000");
                        }
                    }
                }
                ["--engines", engines] => {
                    if let Some(other) = engines.split(',').find(|name| !ENGINES.contains(name)) {
                        bail!("{other} is none of {}", ENGINES.join(", "));
                    }
                }
                ["--rows" | "--engines"] => bail!("{} takes a value", pair.concat()),
                unknown => bail!("no such option of `bench db`: {}", unknown.concat()),
            }
        }
        Ok(Self(args.iter().map(|&arg| arg.to_owned()).collect()))
    }
}

pub(crate) fn run(Options(args): &Options) -> anyhow::Result<ExitCode> {
    services::ensure_installed()?;
    let postgres = services::start_postgres_alone()?;
    let mut command = cargo();
    command.args(["bench", "--package", "nomation", "--bench", "db", "--"]).args(args);
    command.envs(postgres.environment.iter().map(|(name, value)| (name, value)));
    let status = Running::spawn("cargo", &mut command)?.wait(BOUND)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(Options::parse(&["--rows", "1000,100000", "--engines", "sqlite"]).is_ok());
        for wrong in [
            &["--rows", "many"][..],
            &["--rows", "1"],
            &["--engines", "mysql"],
            &["--rows"],
            &["x"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
