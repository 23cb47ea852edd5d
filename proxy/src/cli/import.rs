//! `gatehouse certs import`.

use std::path::Path;
use std::process::ExitCode;

use super::{UNUSABLE, complain, load, print};
use crate::acme::import;
use crate::tls::leaf::text;
use crate::vault::apart;
use crate::worker::wall_clock;

/// The certificate is at fault.
const AT_FAULT: u8 = 1;

/// Imports the chain in `file`, and its key from there or from `key`, for the configuration at
/// `path`.
pub(super) fn import(path: &Path, file: &Path, key: Option<&Path>) -> ExitCode {
    let Some(config) = load(path) else { return ExitCode::from(UNUSABLE) };
    let shared = config.tls.shared;
    let read = |path: &Path| {
        text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let imported = read(file).and_then(|chain| {
        let key = key.map_or_else(|| Ok(chain.clone()), read)?;
        let imported = apart(async move || {
            let imported = import::import(&config, &chain, &key, wall_clock()).await;
            imported.map_err(|error| error.to_string())
        });
        imported.unwrap_or_else(|error| Err(error.to_string()))
    });
    match imported {
        Ok(names) => {
            print(&format!("imported for {}", names.join(", ")));
            print(match shared {
                true => "every running Gatehouse takes it up within seconds",
                false => "a running Gatehouse takes it up with: gatehouse reload",
            });
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("error: {error}\n"));
            ExitCode::from(AT_FAULT)
        }
    }
}
