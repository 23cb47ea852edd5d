//! `cargo xtask compose-test`: the stack of docker-compose.yml, built and brought up as
//! DEPLOYMENT.md says, then looked at from all sides.
//!
//! First the guide's own commands, one after another ([`guide`]); then what no guide says but
//! everybody relies on ([`walk`], [`boundaries`], [`images`], [`upgrade`], [`vault`],
//! [`monitoring`]): what a restart costs, who reaches whom, what is secret. All of it in a copy of
//! the work tree, under a project name and ports of its own, and removed at the end.

mod boundaries;
mod engine;
mod guide;
mod images;
mod kubernetes;
mod monitoring;
mod shell;
pub(crate) mod stand_ins;
pub(crate) mod traffic;
mod upgrade;
mod vault;
mod walk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;

use crate::interrupt::Interrupted;
use crate::terminal::{Style, paint};
pub(crate) use engine::Engine;
pub(crate) use shell::{NOT, SHORT, Shell};

/// What the command line asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Images that are there already, so that none is built.
    tag: Option<String>,
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> anyhow::Result<Self> {
        match args {
            [] => Ok(Self::default()),
            ["--tag", tag] => Ok(Self { tag: Some((*tag).to_owned()) }),
            ["--tag"] => bail!("`--tag` takes the tag of images that are there"),
            [unknown, ..] => bail!("no such option of `compose-test`: {unknown}"),
        }
    }
}

/// What was looked at, and how much of it was as it should be.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Tally {
    /// Runs one check; a failure is told and counted, and the next check runs all the same.
    pub(crate) fn check(
        &mut self,
        name: &str,
        check: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        let outcome = check();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("{} {name} ({seconds:.1} s)", paint(Style::Green, "ok    "));
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                self.failed += 1;
                println!("{} {name} ({seconds:.1} s)\n{error:#}", paint(Style::Red, "FAILED"));
            }
        }
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let engine = Engine::start()?;
    let scratch = tempfile::Builder::new().prefix("gatehouse-compose-").tempdir()?;
    copy_work_tree(scratch.path())?;
    let shell = Shell::new(scratch.path(), &engine, options.tag.as_deref())?;
    stand_ins::provide(&shell, options.tag.is_none())?;
    let mut tally = Tally::default();
    let walked = guide::follow(&shell, options, &mut tally)
        .and_then(|()| walk::look_around(&shell, options, &mut tally));
    // Also after Ctrl-C: a stack that is left behind keeps its ports.
    shell.clean();
    walked?;
    println!("compose-test: {} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What git knows of the work tree, or would if it were added: no secrets, no build output.
pub(crate) fn copy_work_tree(to: &Path) -> anyhow::Result<()> {
    let script = "git ls-files --cached --others --exclude-standard -z \
                  | tar --create --null --files-from - | tar --extract --directory \"$1\"";
    let mut command = crate::process::guarded("bash");
    command.args(["-euo", "pipefail", "-c", script, "bash"]).arg(to).current_dir(crate::root());
    crate::process::capture("tar", &mut command, SHORT).map(drop)
}
