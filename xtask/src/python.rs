//! Programs from Python's package index, each in a folder of its own below the target folder,
//! where its packages can disturb nobody.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::apt::{self, Tool};
use crate::process;

const PYTHON: Tool = Tool { program: "python3", package: "python3-venv", service: None };
const ASK_BOUND: Duration = Duration::from_secs(60);
const INSTALL_BOUND: Duration = Duration::from_secs(600);

/// Where the program of a package is; installed once for each version.
pub(crate) fn program(package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let folder = crate::target()?.join(package).join(version);
    let program = folder.join("bin").join(package);
    let done = folder.join("installed");
    if done.is_file() {
        return Ok(program);
    }
    // What an interrupted run left is no use.
    let _ = std::fs::remove_dir_all(&folder);
    apt::ensure(&[PYTHON])?;
    let mut ask = process::guarded(apt::locate("python3")?);
    ask.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null());
    if process::capture("python3", &mut ask, ASK_BOUND).is_err() {
        apt::install(&[PYTHON.package])?;
    }
    println!("installing {package} {version} into {}", folder.display());
    let mut make = process::guarded(apt::locate("python3")?);
    process::capture("python3 -m venv", make.args(["-m", "venv"]).arg(&folder), INSTALL_BOUND)?;
    let mut pip = process::guarded(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    process::capture("pip", pip.arg(format!("{package}=={version}")), INSTALL_BOUND)?;
    std::fs::write(done, version)?;
    Ok(program)
}
