//! `cargo xtask test`: every check and every test, with one summary line at the end.
//!
//! Each step runs even when an earlier one failed, so that all faults are seen at once.

use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::interrupt::Interrupted;
use crate::process::Running;
use crate::terminal::{Style, paint};
use crate::{api, cargo, services, tidy};

/// Longer than any step may take: a hanging test must end the run, not the patience of CI.
const STEP_BOUND: Duration = Duration::from_secs(50 * 60);

/// The parts of xtask that a plain build leaves out are checked and tested too.
const EVERYTHING: [&str; 4] = ["--workspace", "--locked", "--features", "xtask/tls-client"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Tidy,
    Format,
    Clippy,
    Doc,
    Test,
    Api,
}

impl Step {
    /// In the order in which they run: the quick ones first.
    const ALL: [Self; 6] =
        [Self::Tidy, Self::Format, Self::Clippy, Self::Doc, Self::Test, Self::Api];

    fn name(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Format => "format",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Test => "test",
            Self::Api => "api",
        }
    }
}

/// What the command line asked for.
#[derive(Debug)]
pub(crate) struct Options {
    steps: Vec<Step>,
    filter: Vec<String>,
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> anyhow::Result<Self> {
        let mut steps = Vec::new();
        let mut filter = Vec::new();
        let mut rest = args;
        loop {
            rest = match rest {
                [] => break,
                ["--", after @ ..] => {
                    filter.extend(after.iter().map(|&arg| arg.to_owned()));
                    break;
                }
                ["--only", name, after @ ..] => {
                    steps.push(step(name)?);
                    after
                }
                ["--only"] => bail!("`--only` takes the name of a step: {}", step_names()),
                [unknown, ..] => bail!("no such option of `test`: {unknown}"),
            }
        }
        if steps.is_empty() {
            steps = if filter.is_empty() { Step::ALL.to_vec() } else { vec![Step::Test] };
        }
        Ok(Self { steps, filter })
    }
}

fn step(name: &str) -> anyhow::Result<Step> {
    match Step::ALL.into_iter().find(|step| step.name() == name) {
        Some(step) => Ok(step),
        None => bail!("no such step: {name}. There are {}", step_names()),
    }
}

fn step_names() -> String {
    Step::ALL.map(Step::name).join(", ")
}

/// What passed and failed; a step that is not made of tests counts only when it fails.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "test: {} passed, {} failed", self.passed, self.failed)
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.steps.contains(&Step::Test) {
        // Before the minutes of compiling: what cannot be installed is for the user to install.
        services::ensure_installed()?;
    }
    let mut total = Tally::default();
    for &step in &options.steps {
        println!("{}", paint(Style::Bold, &format!("== {}", step.name())));
        let start = Instant::now();
        let outcome = perform(step, &options.filter);
        let seconds = start.elapsed().as_secs_f64();
        total += match outcome {
            Ok(tally) if tally.failed == 0 => {
                println!("{} {} {seconds:.1} s", step.name(), paint(Style::Green, "ok"));
                tally
            }
            Ok(tally) => {
                println!("{} {} {seconds:.1} s", step.name(), paint(Style::Red, "FAILED"));
                tally
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                println!(
                    "{} {} {seconds:.1} s: {error:#}",
                    step.name(),
                    paint(Style::Red, "FAILED")
                );
                Tally { passed: 0, failed: 1 }
            }
        };
    }
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn perform(step: Step, filter: &[String]) -> anyhow::Result<Tally> {
    match step {
        Step::Tidy => tidy::check(&crate::root())?,
        Step::Format => run_cargo(cargo().args(["fmt", "--all", "--check"]))?,
        Step::Clippy => run_cargo(cargo().arg("clippy").args(EVERYTHING).args([
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))?,
        Step::Doc => run_cargo(
            cargo()
                .arg("doc")
                .args(EVERYTHING)
                .args(["--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )?,
        Step::Test => return run_tests(filter),
        Step::Api => {
            api::check(&EVERYTHING)?;
            return Ok(Tally { passed: 1, failed: 0 });
        }
    }
    Ok(Tally::default())
}

fn run_cargo(command: &mut std::process::Command) -> anyhow::Result<()> {
    let status = Running::spawn("cargo", command)?.wait(STEP_BOUND)?;
    if !status.success() {
        bail!("{status}; what is wrong stands above");
    }
    Ok(())
}

fn run_tests(filter: &[String]) -> anyhow::Result<Tally> {
    let services = services::start().map_err(|error| match error.is::<Interrupted>() {
        true => error,
        false => error.context("no test ran, because the servers they need did not start"),
    })?;
    let mut command = cargo();
    command.arg("test").args(EVERYTHING).args(["--no-fail-fast", "--"]).args(filter);
    for (name, value) in &services.environment {
        println!("{name}={value}");
        command.env(name, value);
    }
    let mut running = Running::spawn("cargo", command.stdout(Stdio::piped()))?;
    let tally = Arc::new(Mutex::new(Tally::default()));
    let shared = Arc::clone(&tally);
    running.each_line(move |line| {
        println!("{line}");
        if let Some(result) = result_line(line) {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) += result;
        }
    });
    let status = running.wait(STEP_BOUND)?;
    // Whatever a test left running still holds the pipe.
    running.stop();
    let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
    if !status.success() && tally.failed == 0 {
        println!("cargo test: {status}");
        return Ok(Tally { failed: 1, ..tally });
    }
    Ok(tally)
}

/// Reads `test result: ok. 5 passed; 0 failed; 0 ignored; ...`.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| -> Option<u64> {
        counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_other_lines_are_not() {
        let good = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; \
                    finished in 0.01s";
        let bad = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result_line(good), Some(Tally { passed: 5, failed: 0 }));
        assert_eq!(result_line(bad), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(result_line("test window::slides ... ok"), None);
        assert_eq!(result_line("running 5 tests"), None);
    }

    #[test]
    fn the_summary_is_one_plain_line() {
        assert_eq!(Tally { passed: 212, failed: 0 }.to_string(), "test: 212 passed, 0 failed");
    }

    #[test]
    fn a_filter_alone_runs_the_tests_alone() {
        assert_eq!(Options::parse(&[]).unwrap().steps, Step::ALL);
        let filtered = Options::parse(&["--", "login", "--nocapture"]).unwrap();
        assert_eq!((filtered.steps, filtered.filter.len()), (vec![Step::Test], 2));
        let both = Options::parse(&["--only", "doc", "--only", "tidy"]).unwrap();
        assert_eq!(both.steps, [Step::Doc, Step::Tidy]);
    }

    #[test]
    fn a_wrong_option_names_what_there_is() {
        let fault = Options::parse(&["--only", "lint"]).unwrap_err().to_string();
        assert!(fault.contains("tidy, format, clippy, doc, test, api"), "{fault}");
        assert!(Options::parse(&["--fast"]).is_err());
    }
}
