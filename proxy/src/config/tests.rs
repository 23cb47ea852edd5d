//! The fixtures of `proxy/tests/config`, and properties of the reader.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, Faults, load};

/// The fixtures of a folder. Tests run in the folder of the crate, and short paths keep the
/// expected renderings free of the machine's.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/config").join(folder);
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|name| name == "toml")).collect();
    paths.sort();
    paths
}

fn load_fixture(path: &Path) -> Result<Config, Faults> {
    load(path, &|name| match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

#[test]
fn valid_fixtures_load_without_a_warning() {
    for path in fixtures("valid") {
        match load_fixture(&path) {
            Ok(config) => assert!(config.warnings.is_empty(), "{}", config.warnings),
            Err(faults) => panic!("{faults}"),
        }
    }
}

/// Every invalid fixture renders as the `.expected` file beside it says. `BLESS=1` in the
/// environment writes those files; read the difference before it is committed.
#[test]
fn invalid_fixtures_render_as_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut mismatches = String::new();
    for path in fixtures("invalid") {
        let rendered = match load_fixture(&path) {
            Ok(_) => "no fault\n".to_owned(),
            Err(faults) => faults.render(false),
        };
        let expected_path = path.with_extension("expected");
        if bless {
            fs::write(&expected_path, &rendered).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if rendered != expected {
            let name = path.display();
            let _ = writeln!(mismatches, "{name}, expected:\n{expected}\ngot:\n{rendered}");
        }
    }
    assert!(mismatches.is_empty(), "{mismatches}");
}
