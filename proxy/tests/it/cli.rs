//! `gatehouse check` as a user and a script meet it: exit codes, and what goes to which stream.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

/// Fixtures lie here, and relative paths keep the output free of the machine's.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");

/// Runs the real program in the folder of the fixtures, with nothing in its environment.
fn gatehouse(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.args(arguments).current_dir(FOLDER).env_clear();
    command
}

/// Exit code, standard output and standard error.
fn outcome(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_usable_configuration_is_summed_up_and_0() {
    let output = gatehouse(&["check", "--config", "valid/hardened.toml"]);
    let (code, text, errors) = outcome(&output);
    assert_eq!((code, errors), (Some(0), ""));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "valid/hardened.toml: ok: 1 site, 1 upstream, 3 rate limits");
    assert_eq!(lines[1], "rate limits take up to 64MiB of memory:");
    assert!(lines[2].starts_with("  global: ") && lines.len() == 5, "{text}");
}

#[test]
fn a_rule_that_counts_everybody_together_has_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gatehouse.toml");
    let text = std::fs::read_to_string(format!("{FOLDER}/valid/hardened.toml")).unwrap();
    let rule = "[[rate_limit]]\nname = \"all\"\nlimit = 9\nwindow = \"1s\"\nkey = \"global\"\n";
    std::fs::write(&config, text + rule).unwrap();
    let output = gatehouse(&["check", "--config", config.to_str().unwrap()]);
    let (code, text, _) = outcome(&output);
    assert_eq!(code, Some(0), "{output:?}");
    let line = text.lines().find(|line| line.starts_with("  all: ")).unwrap();
    assert!(line.ends_with(" bytes for its one key"), "{line}");
}

#[test]
fn a_faulty_configuration_is_every_fault_and_1() {
    let output = gatehouse(&["check", "--config", "invalid/rules.toml"]);
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout), (Some(1), ""));
    let expected = include_str!("../config/invalid/rules.expected");
    assert_eq!(stderr, expected.replace("tests/config/", ""), "and without colours in a pipe");
}

#[test]
fn machines_get_one_document() {
    let json = |path| {
        let output = gatehouse(&["check", "--json", "--config", path]);
        let (code, stdout, stderr) = outcome(&output);
        assert_eq!(stderr, "");
        (code, serde_json::from_str::<serde_json::Value>(stdout).unwrap())
    };
    let (code, report) = json("valid/hardened.toml");
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    assert_eq!(report["files"][0], "valid/hardened.toml");
    assert_eq!((&report["sites"], &report["rate_limits"]), (&1.into(), &3.into()));
    let (code, report) = json("invalid/rules.toml");
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()));
    assert_eq!(report["faults"].as_array().unwrap().len(), 17);
    assert_eq!(report["faults"][0]["line"], 7);
}

#[test]
fn the_environment_names_the_configuration_and_the_option_wins() {
    let check = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.env("GATEHOUSE_CONFIG", "valid/hardened.toml").env("BACKEND_PORT", "4000");
        command.output().unwrap().status.code()
    };
    assert_eq!(check(&["check"]), Some(0));
    assert_eq!(check(&["check", "--config", "invalid/rules.toml"]), Some(1));
}

#[test]
fn variables_come_from_the_environment() {
    let arguments = ["check", "--config", "valid/hardened.toml"];
    let output = command(&arguments).env("BACKEND_PORT", "none").output().unwrap();
    let (code, _, stderr) = outcome(&output);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("bad URL `http://127.0.0.1:none`"), "{stderr}");
}

#[test]
fn what_is_found_nowhere_is_wrong_usage() {
    let output = command(&["check"]).env("GATEHOUSE_CONFIG", "").output().unwrap();
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout), (Some(2), ""));
    assert!(stderr.contains("config/gatehouse.toml"), "{stderr}");
    assert!(stderr.contains("--config FILE"), "{stderr}");
}

#[test]
fn a_missing_file_that_was_named_is_a_fault() {
    let output = gatehouse(&["check", "--config", "none.toml"]);
    let (code, _, stderr) = outcome(&output);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("none.toml"), "{stderr}");
}

#[test]
fn run_refuses_a_faulty_configuration_with_2() {
    let output = gatehouse(&["run", "--config", "invalid/rules.toml"]);
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout), (Some(2), ""));
    assert!(stderr.ends_with("17 errors\n"), "{stderr}");
}

#[test]
fn usage_teaches() {
    for wrong in [&["chek"][..], &["check", "--jsn"], &[]] {
        assert_eq!(gatehouse(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let output = gatehouse(&["--help"]);
    let (code, stdout, _) = outcome(&output);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Examples:") && stdout.contains("gatehouse check"), "{stdout}");
    let output = gatehouse(&["--version"]);
    let version = concat!("gatehouse ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(outcome(&output), (Some(0), version, ""));
}
