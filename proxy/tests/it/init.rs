//! `gatehouse init`: what it writes works, and it overwrites nothing unasked.

use std::path::Path;
use std::process::{Command, Output};

fn init(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.arg("init").args(arguments).current_dir(directory).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_it_writes_is_found_and_has_no_fault() {
    for (host, said) in [("app.example.com", "[acme]"), ("localhost", "issuer   = \"internal\"")] {
        let directory = tempfile::tempdir().unwrap();
        let flags = ["--host", host, "--upstream", "http://127.0.0.1:3000", "--limit", "30"];
        let output = init(directory.path(), &flags);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("config/gatehouse.toml is written"));
        let written = std::fs::read_to_string(directory.path().join("config/gatehouse.toml"));
        assert!(written.unwrap().contains(said));
        let mut check = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        let check = check.arg("check").current_dir(directory.path()).env_clear().output().unwrap();
        let line = "config/gatehouse.toml: ok: 1 site, 1 upstream, 1 rate limit\n";
        assert!(text(&check.stdout).starts_with(line), "{}", text(&check.stdout));
        assert_eq!(text(&check.stderr), "");
    }
}

#[test]
fn a_file_that_exists_is_left_alone_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("site.toml");
    std::fs::write(&file, "mine").unwrap();
    let flags = ["--config", "site.toml", "--host", "a.test", "--upstream", "http://127.0.0.1:1"];
    let output = init(directory.path(), &flags);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "error: site.toml exists; --force replaces it\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let output = init(directory.path(), &[&flags[..], &["--force"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(&file).unwrap().contains("a.test"));
}

#[test]
fn wrong_or_missing_answers_write_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = ["--upstream", "ftp://127.0.0.1:3000"];
    for (flags, said) in [
        (&["--host", "a.test"][..], "say --host NAME and --upstream URL"),
        (&[&["--host", "a.test"][..], &upstream].concat(), "ftp://"),
        (&["--host", "a b\"", "--upstream", "http://127.0.0.1:3000"], "b\""),
    ] {
        let output = init(directory.path(), flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{flags:?}");
    }
}

#[test]
fn standard_output_gets_the_configuration_alone() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--config", "-", "--host", "a.test", "--upstream", "http://127.0.0.1:3000"];
    let output = init(directory.path(), &flags);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(text(&output.stdout).starts_with("# Gatehouse."));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
