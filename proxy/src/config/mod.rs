//! The configuration: read once, checked whole, then used.
//!
//! A file is read in steps. The TOML parser keeps the span of every value; the tree adds the file
//! and expands variables; `include` joins files; a typed reader walks the tree section by section
//! and notes **every** fault. What has no error becomes a [`Config`]. Nothing binds a port before
//! that, and a reload that fails changes nothing.
//!
//! # Why
//!
//! The reader is written by hand rather than derived with serde: serde stops at the first fault,
//! and an operator with four mistakes would need five attempts. The price is one line per key,
//! which also holds the key's range and default.

mod expand;
mod fault;
mod host;
mod include;
mod model;
pub(crate) mod nearest;
mod quantity;
mod read;
mod section;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod values;

use std::path::Path;

pub use expand::Environment;
pub use fault::{Fault, Faults, Related, Severity, Spot};
pub use model::*;
pub(crate) use quantity::{format_duration, format_size};

use fault::Findings;
use include::Loader;
use tree::Table;

/// The environment of this process. A value that is not UTF-8 is not set.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the file at `path` and everything it includes.
///
/// # Errors
///
/// Every fault of every file, and the warnings beside them.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Config, Faults> {
    finish(environment, |loader| loader.file(path))
}

/// Where the admin listener of the file at `path` is, and its token: also if other parts of the
/// file have faults.
#[must_use]
pub fn admin(path: &Path, environment: Environment<'_>) -> (AdminAddress, Admin) {
    let findings = Findings::default();
    let mut loader = Loader::new(environment, &findings);
    let document = loader.file(path);
    let Config { listen, admin, .. } =
        read::configuration(&document, Vec::new(), environment, &findings);
    (listen.admin, admin)
}

/// Reads `text` as if it were the content of the file at `path`, to which includes are relative.
///
/// # Errors
///
/// As [`load`].
pub fn load_text(path: &Path, text: &str, environment: Environment<'_>) -> Result<Config, Faults> {
    finish(environment, |loader| loader.text(path, text.to_owned(), 0))
}

fn finish(
    environment: Environment<'_>,
    read: impl FnOnce(&mut Loader<'_>) -> Table,
) -> Result<Config, Faults> {
    let findings = Findings::default();
    let mut loader = Loader::new(environment, &findings);
    let document = read(&mut loader);
    let Loader { files, complete, .. } = loader;
    // What follows from half a configuration would only hide why it is half.
    if !complete {
        return Err(findings.into_faults());
    }
    let config = read::configuration(&document, files, environment, &findings);
    match findings.has_errors() {
        true => Err(findings.into_faults()),
        false => Ok(Config { warnings: findings.into_faults(), ..config }),
    }
}
