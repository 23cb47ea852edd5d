//! `gatehouse run`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use super::{UNUSABLE, coloured, complain, environment};
use crate::{config, server};

/// A failure that is not the operator's.
const OWN_FAILURE: u8 = 70;

/// Serves the configuration at `path` until it is told to stop.
pub(super) fn run(path: &Path) -> ExitCode {
    let config = match config::load(path, &environment) {
        Ok(config) => config,
        Err(faults) => {
            complain(&faults.render(coloured()));
            return ExitCode::from(UNUSABLE);
        }
    };
    if !config.warnings.is_empty() {
        complain(&config.warnings.render(coloured()));
    }
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}\n", with_causes(&error)));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
