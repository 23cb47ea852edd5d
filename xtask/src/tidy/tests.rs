//! The style test itself, and the rules it is made of.

use std::path::Path;

use super::*;

#[test]
fn the_workspace_is_tidy() {
    if let Err(faults) = check(&crate::root()) {
        panic!("{faults:#}");
    }
}

/// The faults of a file, without its path.
fn faults(path: &str, text: &str) -> Vec<String> {
    let prefix = format!("{path}:");
    let faults = faults_of(Path::new(path), text);
    faults.iter().map(|fault| fault.strip_prefix(&prefix).unwrap().to_owned()).collect()
}

#[test]
fn a_clean_file_has_no_fault() {
    assert!(faults("proxy/src/window.rs", "//! The window.\nfn slide() {}\n").is_empty());
}

#[test]
fn a_file_says_what_it_owns() {
    assert_eq!(
        faults("proxy/src/window.rs", "fn slide() {}\n"),
        ["1: no `//!` at the top, say what this file owns"]
    );
}

#[test]
fn a_long_line_is_found_by_characters_not_bytes() {
    let text = format!("//! {}\n//! {}\n", "µ".repeat(96), "µ".repeat(97));
    assert_eq!(faults("a.rs", &text), ["2: 101 columns, break the line at 100"]);
}

#[test]
fn names_that_say_nothing_are_refused() {
    for path in ["proxy/src/utils.rs", "backend/src/common/clock.rs", "xtask/src/types.rs"] {
        assert_eq!(faults(path, "//! Things.\n").len(), 1, "{path}");
    }
    assert!(faults("proxy/src/manager_of_none.rs", "//! Fine.\n").is_empty());
}

#[test]
fn banned_text_is_found_in_code_and_not_in_comments() {
    for (banned, _) in BANNED {
        let code = format!("//! A file.\nfn f() {{ {banned} }}\n");
        assert_eq!(faults("a.rs", &code).len(), 1, "{banned}");
        let comment = format!("//! A file.\n    // never {banned}\n");
        assert!(faults("a.rs", &comment).is_empty(), "{banned}");
    }
    assert!(faults("a.rs", "//! A file.\nfn f() { my_dbg!(1) }\n").is_empty());
}

#[test]
fn an_expectation_has_a_reason_on_any_of_its_lines() {
    let one = "//! A file.\n#[expect(dead_code, reason = \"later\")]\nfn f() {}\n";
    let many = "//! A file.\n#[expect(\n    dead_code,\n    reason = \"later\"\n)]\nfn f() {}\n";
    let none = "//! A file.\n#[expect(dead_code)]\nfn f() {} // reason = x\n";
    assert!(faults("a.rs", one).is_empty());
    assert!(faults("a.rs", many).is_empty());
    assert_eq!(faults("a.rs", none), ["2: no reason, write #[expect(lint, reason = \"..\")]"]);
}

/// A file of `code` lines before a trailing block of `tests` lines.
fn file(code: usize, tests: usize) -> String {
    let code = "// line\n".repeat(code - 1);
    let tests = "    // line\n".repeat(tests.saturating_sub(3));
    format!("//! A file.\n{code}#[cfg(test)]\nmod tests {{\n{tests}}}\n")
}

#[test]
fn a_long_file_is_found_without_its_tests() {
    assert!(faults("a.rs", &file(300, 100)).is_empty());
    assert_eq!(
        faults("a.rs", &file(301, 100)),
        ["301: 301 lines without tests, split the file (at most 300)"]
    );
    assert_eq!(
        faults("a.rs", &file(10, 101)),
        ["11: 101 lines of tests, move them to a `tests.rs`"]
    );
}

#[test]
fn only_a_trailing_test_module_is_left_out_of_the_count() {
    let text = format!("{}{}", file(10, 20), "// code again\n".repeat(280));
    assert_eq!(faults("a.rs", &text).len(), 1);
}

#[test]
fn files_of_tests_may_be_long() {
    let text = format!("//! Tests.\n{}", "// line\n".repeat(400));
    assert!(faults("proxy/src/window/tests.rs", &text).is_empty());
    assert!(faults("proxy/tests/it/main.rs", &text).is_empty());
    assert_eq!(faults("proxy/src/window.rs", &text).len(), 1);
}

#[test]
fn every_dependency_of_a_member_is_justified() {
    let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nbytes.workspace = true # chunks\n\
                    # the wire\nhyper.workspace = true\nserde = { version = \"1\" }\n\n\
                    [dev-dependencies.tempfile]\nversion = \"3\"\n\n[lints]\nworkspace = true\n";
    let what = "no justification, add `# why this library` to the line";
    assert_eq!(faults("a/Cargo.toml", manifest), [format!("8: {what}"), format!("10: {what}")]);
    assert!(faults("Cargo.toml", manifest).is_empty());
}

#[test]
fn the_proxy_does_not_know_the_application() {
    let text = "//! Forwards to Nomation.\n";
    assert_eq!(faults("proxy/src/a.rs", text).len(), 1);
    assert_eq!(faults("proxy/README.md", text).len(), 1);
    assert!(faults("xtask/src/a.rs", text).is_empty());
}
