//! The fixtures of `proxy/tests/config`, and properties of the reader.

use std::path::{Path, PathBuf};

use super::{Config, Faults, load};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder)
}

fn load_fixture(path: &Path) -> Result<Config, Faults> {
    load(path, &|_| None)
}

#[test]
fn valid_fixtures_load() {
    for entry in fixtures("valid").read_dir().unwrap() {
        let path = entry.unwrap().path();
        match load_fixture(&path) {
            Ok(config) => assert!(config.warnings.is_empty(), "{}", config.warnings),
            Err(faults) => panic!("{faults}"),
        }
    }
}
