//! `gatehouse csp`: what a Content-Security-Policy stops, what would let it through, and the hashes
//! of what is inline.

mod hash;
mod reports;
mod suggest;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use http::Uri;

pub(super) use self::reports::say;
use super::remote::{self, Request};
use super::{Remote, UNUSABLE, complain, load, print, wait_for};
use crate::audit;
use crate::config::AdminAddress;

/// The thing asked about is at fault.
const AT_FAULT: u8 = 1;

#[derive(Debug, Subcommand)]
pub(super) enum Csp {
    /// List what browsers have reported, the most frequent first
    ///
    /// Of policies with csp_report = { collect = true }. Anybody can send a report: look at the
    /// pages and numbers before you believe one.
    Reports(Remote),
    /// Show the smallest change of the policies that would end the reports
    ///
    /// As a difference to review; nothing is changed. Sources that would make a policy worthless
    /// are refused, with what to do instead.
    Suggest(Remote),
    /// Print the sources that allow the inline scripts and styles of some pages, by their hashes
    Hash {
        /// A file of HTML, a folder of them, or the URL of a page
        #[arg(value_name = "DIR|URL")]
        target: String,
        /// Who may sign the certificate of an https:// URL, in PEM [default: the system's CAs]
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// Does what the command line says.
pub(super) fn run(command: Csp) -> Result<ExitCode, String> {
    match command {
        Csp::Reports(remote) => remote.ask(&Request::Reports),
        Csp::Suggest(remote) => {
            let Remote { place, admin, json } = remote;
            Ok(suggest(&place.find()?, admin, json))
        }
        Csp::Hash { target, ca, json } => {
            let hashes = match target.starts_with("https://") || target.starts_with("http://") {
                true => page(&target, ca.as_deref()),
                false => hash::files(Path::new(&target)),
            };
            match hashes {
                Ok(hashes) => print(hashes.render(json).trim_end()),
                Err(error) => {
                    complain(&format!("error: {error}\n"));
                    return Ok(ExitCode::from(AT_FAULT));
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The hashes in the page at a URL; redirects are told, not followed.
fn page(url: &str, ca: Option<&Path>) -> Result<hash::Hashes, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let page = wait_for(audit::page(&uri, ca))?.map_err(|error| error.to_string())?;
    let mut hashes = hash::Hashes::default();
    hashes.add(&page).map_err(|what| format!("{url} {what}"))?;
    Ok(hashes)
}

/// `gatehouse csp suggest`, for the configuration at `path`.
fn suggest(path: &Path, admin: Option<AdminAddress>, json: bool) -> ExitCode {
    let Some(config) = load(path) else { return ExitCode::from(UNUSABLE) };
    let document = match remote::document(&Request::Reports, path, admin) {
        Ok(document) => document,
        Err(error) => {
            complain(&format!("error: {error}\n"));
            return ExitCode::from(AT_FAULT);
        }
    };
    let suggestions = suggest::Suggestions::new(&config, &reports::read(&document));
    print(suggestions.render(json).trim_end());
    ExitCode::SUCCESS
}
