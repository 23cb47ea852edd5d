//! Chromium, without a window.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::TestProxy;

/// The browser of this machine; `cargo xtask test` installs it.
pub(crate) struct Browser(PathBuf);

impl Browser {
    pub(crate) fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
        let place = places.find(|place| place.exists());
        Self(place.unwrap_or_else(|| panic!("no chromium: `cargo xtask test` installs it")))
    }

    /// Opens `/` of a Gatehouse and returns what became of the page after its scripts.
    pub(crate) async fn open(&self, proxy: &TestProxy) -> String {
        // On a machine that is busy, the browser now and then gives up before there is a page.
        for _ in 0..5 {
            let page = self.dump(proxy).await;
            if !page.is_empty() {
                return page;
            }
        }
        panic!("the browser shows no page");
    }

    async fn dump(&self, proxy: &TestProxy) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120"]).arg(&self.0);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--ignore-certificate-errors", "--virtual-time-budget=5000", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", home.path().display()));
        command.arg(format!("https://localhost:{}/", proxy.https().port()));
        command.env("HOME", home.path()).stdin(Stdio::null()).stderr(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
