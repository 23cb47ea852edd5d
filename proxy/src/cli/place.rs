//! Where the configuration is: named, or looked for.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

/// The variable that names the configuration.
pub(super) const VARIABLE: &str = "GATEHOUSE_CONFIG";

/// Where the configuration is looked for if nobody names it.
const PLACES: [&str; 2] = ["config/gatehouse.toml", "/etc/gatehouse/gatehouse.toml"];

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration [default: $GATEHOUSE_CONFIG, else config/gatehouse.toml, else
    /// /etc/gatehouse/gatehouse.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// The file to read; the error is a sentence for the operator.
    pub(super) fn find(self) -> Result<PathBuf, String> {
        let variable = || env::var_os(VARIABLE).filter(|path| !path.is_empty());
        if let Some(path) = self.config.or_else(|| variable().map(PathBuf::from)) {
            return Ok(path);
        }
        let found = PLACES.iter().map(Path::new).find(|path| path.exists());
        found.map(Path::to_owned).ok_or_else(|| {
            let places = PLACES.join(" and ");
            format!("no configuration: looked for {places}; name one with --config FILE")
        })
    }
}
