//! The project's own commands: `cargo xtask dev`, `test`, `bench`, `compose-test`,
//! `package-test`.
//!
//! This file owns the command line and the exit codes. Written for Linux, like the proxy.
//!
//! # Why
//!
//! The arguments are read by hand: `cargo xtask` is the first thing a newcomer compiles, so it
//! has to be there within seconds.

mod api;
mod apt;
mod bench;
mod compose_test;
mod dev;
mod http;
mod interrupt;
mod package_test;
mod port;
mod process;
mod python;
mod services;
mod terminal;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use interrupt::Interrupted;
use process::Running;

const HELP: &str = "\
The project's own commands.

  cargo xtask dev [--release]
        Build Gatehouse and Nomation and run them: https://localhost:8443, http 8080, admin
        127.0.0.1:9180, Nomation on 127.0.0.1:3002 with SQLite. Ctrl-C stops both.
        Environment: HTTP_PORT, HTTPS_PORT, ADMIN_PORT, BACKEND_PORT, CERTS_DIR.

  cargo xtask test [--only STEP]... [-- FILTER...]
        Every check and every test, with a PostgreSQL and a Redis of its own. Steps: tidy, format,
        clippy, doc, test, api (schemathesis over the OpenAPI document). All of them run, also
        after a failure. What stands after `--` goes to the test binaries, and only the step
        `test` runs.

  cargo xtask bench proxy [--reps 3] [--secs 4] [--scenarios A,B] [--proxies A,B] [--json FILE]
        Measure Gatehouse beside Debian's nginx and HAProxy on one pinned core.
        `cargo xtask bench --help` lists the scenarios.

  cargo xtask bench db [--rows 1000,100000,1000000] [--engines sqlite,postgres]
        Time the application's queries on both databases, with and without their indexes.

  cargo xtask compose-test [--tag TAG]
        Build the images, bring the stack of docker-compose.yml up by the commands of DEPLOYMENT.md,
        and look at it from all sides. Needs root where Docker has to be installed or started.
        --tag takes images that are there already.

  cargo xtask package-test
        Build the Debian packages, and install, run, restart, upgrade and purge them on a machine of
        their own: a container with Debian 12 and systemd. Needs root as compose-test does.

  cargo xtask --help
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["guard", rest @ ..] = args.as_slice() {
        return process::guard(rest);
    }
    match interrupt::install().and_then(|()| command(&args)) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("xtask: interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(args: &[&str]) -> anyhow::Result<ExitCode> {
    match args {
        [] => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
        ["help" | "-h" | "--help", ..]
        | ["dev" | "test" | "compose-test" | "package-test", "-h" | "--help"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ["bench", "-h" | "--help", ..] | ["bench", "proxy", "-h" | "--help"] => {
            print!("{}", bench::help());
            Ok(ExitCode::SUCCESS)
        }
        ["dev"] => dev::run(Profile::Debug),
        ["dev", "--release"] => dev::run(Profile::Release),
        ["dev", unknown, ..] => Ok(wrong_usage(&format!("no such option of `dev`: {unknown}"))),
        ["test", options @ ..] => match test::Options::parse(options) {
            Ok(options) => test::run(&options),
            Err(fault) => Ok(wrong_usage(&fault.to_string())),
        },
        ["compose-test", options @ ..] => match compose_test::Options::parse(options) {
            Ok(options) => compose_test::run(&options),
            Err(fault) => Ok(wrong_usage(&fault.to_string())),
        },
        ["package-test"] => package_test::run(),
        ["package-test", unknown, ..] => {
            Ok(wrong_usage(&format!("no such option of `package-test`: {unknown}")))
        }
        ["bench", "proxy", options @ ..] => match bench::Options::parse(options) {
            Ok(options) => bench::run(&options),
            Err(fault) => Ok(wrong_usage(&fault.to_string())),
        },
        ["bench", "db", "-h" | "--help"] => {
            print!("{}", bench::db::HELP);
            Ok(ExitCode::SUCCESS)
        }
        ["bench", "db", options @ ..] => match bench::db::Options::parse(options) {
            Ok(options) => bench::db::run(&options),
            Err(fault) => Ok(wrong_usage(&fault.to_string())),
        },
        ["bench", ..] => {
            Ok(wrong_usage("`bench` takes one subject: `cargo xtask bench proxy`, or `bench db`"))
        }
        [unknown, ..] => Ok(wrong_usage(&format!("no such command or option: {unknown}"))),
    }
}

fn wrong_usage(fault: &str) -> ExitCode {
    eprintln!("xtask: {fault}\n\n`cargo xtask --help` shows what there is.");
    ExitCode::from(2)
}

/// The root of the workspace.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A `cargo` command in the root of the workspace, by the cargo that started xtask.
fn cargo() -> std::process::Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = process::guarded(cargo);
    command.current_dir(root());
    command
}

/// Where cargo builds. It put xtask into `TARGET/debug`: the one sure way to learn where TARGET is.
fn target() -> anyhow::Result<PathBuf> {
    let xtask = std::env::current_exe()?;
    Ok(xtask.ancestors().nth(2).unwrap_or(&xtask).to_owned())
}

/// How a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Debug,
    Release,
}

/// Builds packages of the workspace and gives the folder that their programs are in.
fn build(profile: Profile, args: &[&str]) -> anyhow::Result<PathBuf> {
    let target = target()?;
    let (options, folder) = match profile {
        Profile::Debug => ([].as_slice(), "debug"),
        Profile::Release => (["--release"].as_slice(), "release"),
    };
    let mut command = cargo();
    command.arg("build").args(options).args(args);
    let status = Running::spawn("cargo", &mut command)?.wait(Duration::from_secs(3600))?;
    if !status.success() {
        bail!("`cargo build` failed ({status}); why stands above");
    }
    Ok(target.join(folder))
}
