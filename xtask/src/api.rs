//! The step `api` of `cargo xtask test`: schemathesis makes requests from the OpenAPI document of a
//! running application, right ones and wrong ones, and holds every answer against the document.
//!
//! No answer may be a 5xx, have a status or a body that the document does not have, accept what is
//! wrong or refuse what is right. The requests are the same in every run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::apt::{self, Tool};
use crate::process::{self, Running};
use crate::{cargo, http, port, python};

/// The version whose findings are known to be none.
const VERSION: &str = "4.32.5";
const TOOLS: [Tool; 1] = [Tool { program: "curl", package: "curl", service: None }];
/// Seconds for requests that are made at random, after those that follow from the document alone.
const FUZZ_SECONDS: &str = "60";
const BOUND: Duration = Duration::from_secs(10 * 60);
const START_BOUND: Duration = Duration::from_secs(60);

/// Runs it; what it finds stands on the terminal.
pub(crate) fn check(everything: &[&str]) -> anyhow::Result<()> {
    apt::ensure(&TOOLS)?;
    let schemathesis = python::program("schemathesis", VERSION)?;
    // The program as the tests have it: nothing to do after the step `test`.
    let mut build = cargo();
    build.arg("test").args(everything).args(["--test", "it", "--no-run"]);
    if !Running::spawn("cargo", &mut build)?.wait(BOUND * 6)?.success() {
        bail!("the application cannot be built; why stands above");
    }
    let scratch = tempfile::Builder::new().prefix("gatehouse-api-").tempdir()?;
    let [port] = port::free()?;
    let _application = start(&crate::target()?.join("debug/nomation"), scratch.path(), port)?;
    let token = token(port)?;

    let mut command = process::guarded(schemathesis);
    let settings = crate::root().join("backend/tests/schemathesis.toml");
    // It leaves folders where it stands.
    command.current_dir(scratch.path()).arg("--config-file").arg(settings).arg("run");
    command.arg(format!("http://127.0.0.1:{port}/api/openapi.json"));
    command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.args(["--workers", "1", "--max-examples", "6", "--max-time", FUZZ_SECONDS]);
    command.args(["--generation-deterministic", "--no-color"]);
    let status = Running::spawn("schemathesis", &mut command)?.wait(BOUND)?;
    if !status.success() {
        bail!("schemathesis: {status}; what it found stands above");
    }
    Ok(())
}

/// The application on a SQLite file of its own. It performs nothing: what is asked for stays
/// queued.
fn start(program: &Path, scratch: &Path, port: u16) -> anyhow::Result<Running> {
    let mut command = process::guarded(program);
    command.arg("serve").current_dir(scratch).env_clear();
    command.env("BIND", format!("127.0.0.1:{port}")).env("WORKER", "apart");
    command.env("DATABASE_URL", "sqlite://application.db").env("RUST_LOG", "warn");
    let log = scratch.join("application.log");
    let mut running = Running::spawn_logged("the application", &mut command, log)?;
    running.wait_until(START_BOUND, || http::ready(port, "/health/ready"))?;
    Ok(running)
}

/// Registers somebody, as whom the requests are made.
fn token(port: u16) -> anyhow::Result<String> {
    let mut curl = process::guarded(apt::locate("curl")?);
    curl.args(["--silent", "--fail", "--header", "content-type: application/json", "--data"]);
    curl.arg(r#"{"email": "ada@example.com", "password": "correct horse"}"#);
    curl.arg(format!("http://127.0.0.1:{port}/api/auth/register"));
    let answer = process::capture("curl", &mut curl, START_BOUND)?;
    token_in(&answer).with_context(|| format!("no token in {answer}"))
}

fn token_in(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("\"accessToken\":\"")?;
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_the_answer() {
        let answer = r#"{"accessToken":"a.b.c","user":{}}"#;
        assert_eq!(token_in(answer).as_deref(), Some("a.b.c"));
        assert_eq!(token_in("{}"), None);
    }
}
