//! `gatehouse run`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use super::{OWN_FAILURE, UNUSABLE, coloured, complain, load};
use crate::application::Application;
use crate::server;

/// Serves the configuration at `path` until it is told to stop, beside the application.
pub(super) fn run(path: &Path, application: Option<Application>) -> ExitCode {
    let Some(config) = load(path) else { return ExitCode::from(UNUSABLE) };
    if !config.warnings.is_empty() {
        complain(&config.warnings.render(coloured()));
    }
    match server::run(config, application) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}\n", with_causes(&error)));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// An error and its causes in one line, leaving out a cause that stands in it already.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
