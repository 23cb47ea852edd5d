//! Node.js, with the packages that Gatehouse is held against: `proxy/tests/npm`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PACKAGES: [(&str, &str); 4] = [
    ("package.json", include_str!("../../npm/package.json")),
    ("package-lock.json", include_str!("../../npm/package-lock.json")),
    ("helmet.mjs", include_str!("../../npm/helmet.mjs")),
    ("observatory.mjs", include_str!("../../npm/observatory.mjs")),
];

/// Runs a script of `proxy/tests/npm` and reads the JSON that it prints. `ca` is trusted, too.
pub(crate) async fn node(script: &'static str, argument: String, ca: Option<PathBuf>) -> Value {
    let run = move || {
        let folder = installed();
        let mut command = Command::new("node");
        command.arg(folder.join(script)).arg(argument);
        command.envs(ca.map(|ca| ("NODE_EXTRA_CA_CERTS", ca)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The folder of the packages, which are fetched once for each build directory.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm");
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let is_current = |(name, text): &(&str, &str)| {
        fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text)
    };
    let complete = folder.join("complete");
    if !complete.exists() || !PACKAGES.iter().all(is_current) {
        _ = fs::remove_file(&complete);
        for (name, text) in PACKAGES {
            fs::write(folder.join(name), text).unwrap();
        }
        let mut command = Command::new("npm");
        // Scripts of packages would fetch more than the lock file holds fast.
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("npm: {error}: `cargo xtask test` installs it"));
        assert!(output.status.success(), "npm ci: {output:?}");
        fs::write(complete, "").unwrap();
    }
    folder
}
