//! Programs that xtask needs from the system: found, or installed with apt-get.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A program and where Debian and Ubuntu have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    /// The system service that the package starts when it is installed.
    pub(crate) service: Option<&'static str>,
}

/// Finds every tool, after installing the packages of those that are missing.
///
/// Where it cannot install (another system, or not root) the error is the command to run.
pub(crate) fn ensure(tools: &[Tool]) -> anyhow::Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if find("apt-get").is_none() {
        let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
        bail!(
            "missing: {}. Install what has these programs (on Debian: {}) and start again",
            programs.join(", "),
            packages.join(", ")
        );
    }
    install(&packages)?;
    // The package's own instance is not wanted, and ran on this machine for no one before.
    missing.iter().filter_map(|tool| tool.service).for_each(stop_service);
    match missing.iter().find(|tool| find(tool.program).is_none()) {
        Some(tool) => bail!("{} is not in the package {}", tool.program, tool.package),
        None => Ok(()),
    }
}

/// Installs packages, or says which command does.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("run this and start again:\n    {}", install_line("sudo ", packages));
    }
    println!("installing {}", packages.join(", "));
    apt_get(&["update", "--quiet"])?;
    let options = ["install", "--quiet", "--yes", "--no-install-recommends"];
    apt_get(&[options.as_slice(), packages].concat())
}

fn install_line(sudo: &str, packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!("{sudo}apt-get update && {sudo}apt-get install --yes {packages}")
}

fn apt_get(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let status = command.status().context("cannot run apt-get")?;
    if !status.success() {
        bail!("`apt-get {}` failed ({status}); run it by hand to see why", args.join(" "));
    }
    Ok(())
}

fn stop_service(service: &str) {
    let mut command = Command::new("service");
    command.args([service, "stop"]).stdin(Stdio::null());
    // In a container nothing was started, and then this fails: as good as stopped.
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Where a program is: on the path, among the administrator's, or in PostgreSQL's own folder.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .chain(newest_postgresql())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The same, for a program that [`ensure`] has seen.
pub(crate) fn locate(program: &str) -> anyhow::Result<PathBuf> {
    find(program).with_context(|| format!("{program} is not installed"))
}

/// Debian keeps the server's programs off the path: `/usr/lib/postgresql/15/bin`.
fn newest_postgresql() -> Option<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql").read_dir().ok()?.flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(number)?;
    Some(newest.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_path_is_found_and_an_unknown_one_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }

    #[test]
    fn the_install_line_can_be_pasted() {
        assert_eq!(
            install_line("sudo ", &["nginx", "wrk"]),
            "sudo apt-get update && sudo apt-get install --yes nginx wrk"
        );
    }
}
