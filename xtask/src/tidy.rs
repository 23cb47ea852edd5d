//! The style test: the few mechanical rules that neither rustfmt nor clippy knows.
//!
//! Every fault is listed at once, as `file:line: what, what to do`. `cargo test` runs it too.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const MAX_COLUMNS: usize = 100;
const MAX_LINES: usize = 300;
const MAX_INLINE_TEST_LINES: usize = 100;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "misc", "manager", "types"];

/// Text that must not stand in code, and what to do instead. Split, so that it is not found here.
const BANNED: [(&str, &str); 6] = [
    (concat!("#[al", "low("), "write #[expect(lint, reason = \"..\")] instead"),
    (concat!("#![al", "low("), "write #![expect(lint, reason = \"..\")] instead"),
    (concat!("#[ign", "ore"), "let the test run, or delete it"),
    (concat!("to", "do!("), "do it, or leave it out"),
    (concat!("unimplem", "ented!("), "do it, or leave it out"),
    (concat!("db", "g!("), "delete it, or use tracing"),
];

/// The application behind the proxy, which the proxy must not know.
const APPLICATION: &str = "nomation";

/// Checks every file of the workspace.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for file in files(root, &["target", "data", "certs"])? {
        let path = file.strip_prefix(root).unwrap_or(&file);
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {path:?}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        faults.extend(faults_of(path, &text));
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} faults of style\n{}", faults.len(), faults.join("\n"));
}

/// All files that belong to the project; what is built, generated or hidden does not. Only the
/// root has `data` and `certs` that are generated.
fn files(folder: &Path, skipped: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = folder.read_dir().with_context(|| format!("cannot list {folder:?}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || skipped.contains(&name.as_ref()) {
            continue;
        }
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(&entry.path(), &["target"])?),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

/// The faults of one file; `path` is relative to the root of the workspace.
fn faults_of(path: &Path, text: &str) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut faults = Vec::new();
    if path.extension().is_some_and(|extension| extension == "rs") {
        faults.extend(code(path, text));
    }
    if name == "Cargo.toml" && path.components().count() > 1 {
        faults.extend(dependencies(text));
    }
    // The example with every key is kept word by word, and names both programs.
    if path.starts_with("proxy") && name != "full.toml" {
        let named = numbered(text).filter(|(_, line)| line.to_lowercase().contains(APPLICATION));
        let fault = "the proxy names the application, say `the application`";
        faults.extend(named.map(|(number, _)| (number, fault.to_owned())));
    }
    faults.sort();
    faults.into_iter().map(|(line, fault)| format!("{}:{line}: {fault}", path.display())).collect()
}

type Fault = (usize, String);

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn code(path: &Path, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push((1, "no `//!` at the top, say what this file owns".to_owned()));
    }
    if let Some(name) = path.iter().filter_map(|part| empty_name(&part.to_string_lossy())).next() {
        faults.push((1, format!("`{name}` says nothing, name the file for the one thing it does")));
    }
    for (number, line) in numbered(text) {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS {
            faults.push((number, format!("{columns} columns, break the line at {MAX_COLUMNS}")));
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (banned, remedy) in BANNED {
            if has_word(line, banned) {
                faults.push((number, format!("`{}`, {remedy}", banned.trim_end_matches('('))));
            }
        }
    }
    faults.extend(unreasoned(text));
    faults.extend(lengths(path, text));
    faults
}

fn empty_name(part: &str) -> Option<&'static str> {
    let stem = part.strip_suffix(".rs").unwrap_or(part);
    EMPTY_NAMES.into_iter().find(|name| *name == stem)
}

/// `word` in `line`, not as the end of a longer identifier.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"')
    })
}

/// Attributes that expect a lint and do not say why.
fn unreasoned(text: &str) -> Vec<Fault> {
    let attributes = ["#[expect(", "#![expect("];
    let starts = numbered(text)
        .filter(|(_, line)| attributes.iter().any(|start| line.trim_start().starts_with(start)));
    let has_reason = |number: usize| {
        let mut lines = text.lines().skip(number - 1);
        // An attribute of several lines ends with a line of its own.
        let end = lines.clone().position(|line| line.trim_end().ends_with(")]")).unwrap_or(0);
        lines.by_ref().take(end + 1).any(|line| line.contains("reason = "))
    };
    starts
        .filter(|(number, _)| !has_reason(*number))
        .map(|(number, _)| (number, "no reason, write #[expect(lint, reason = \"..\")]".to_owned()))
        .collect()
}

/// Tests do not count towards a file's length; beside the code they have a limit of their own.
fn lengths(path: &Path, text: &str) -> Vec<Fault> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if stem == "tests" || stem.ends_with("_tests") || path.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let total = text.lines().count();
    let code = inline_tests(text).unwrap_or(total);
    let mut faults = Vec::new();
    if code > MAX_LINES {
        let what = format!("{code} lines without tests, split the file (at most {MAX_LINES})");
        faults.push((code, what));
    }
    if total - code > MAX_INLINE_TEST_LINES {
        let lines = total - code;
        faults.push((code + 1, format!("{lines} lines of tests, move them to a `tests.rs`")));
    }
    faults
}

/// How many lines stand before a trailing `#[cfg(test)] mod tests { .. }`.
fn inline_tests(text: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |pair: &[&str]| {
        matches!(pair, [first, second]
            if *first == "#[cfg(test)]" && second.starts_with("mod ") && second.ends_with('{'))
    };
    let start = lines.windows(2).rposition(is_start)?;
    let after = lines.get(start..)?;
    // Trailing: its closing brace, the first one without indentation, is the end of the file.
    let end = after.iter().position(|line| *line == "}")?;
    after.iter().skip(end + 1).all(|line| line.trim().is_empty()).then_some(start)
}

/// Dependencies of a member without a comment that justifies them.
fn dependencies(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut inside = false;
    let mut previous = "";
    for (number, line) in numbered(text) {
        let names_one = if line.starts_with('[') {
            let header = line.split(']').next().unwrap_or(line);
            inside = header.ends_with("dependencies");
            header.contains("dependencies.")
        } else {
            inside && line.starts_with(|c: char| c.is_alphanumeric() || c == '"')
        };
        if names_one && !line.contains('#') && !previous.starts_with('#') {
            let what = "no justification, add `# why this library` to the line";
            faults.push((number, what.to_owned()));
        }
        previous = line;
    }
    faults
}
