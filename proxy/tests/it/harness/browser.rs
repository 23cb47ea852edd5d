//! Chromium, without a window.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer as _, X509Certificate};

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

    /// Opens a path of a Gatehouse and stays there. The browser takes its certificate for a good
    /// one, without which it would not report anything, and reports at once.
    pub(crate) async fn stay(&self, proxy: &TestProxy, path: &str) -> Open {
        let home = tempfile::tempdir().unwrap();
        let mut command = self.command(&home);
        let hash = BASE64.encode(&key_hash(proxy).await);
        command.arg(format!("--ignore-certificate-errors-spki-list={hash}"));
        command.args(["--short-reporting-delay", "--remote-debugging-port=0"]);
        command.arg(format!("https://localhost:{}{path}", proxy.https().port()));
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Open { child, _home: home }
    }

    /// Bounded in time, whatever becomes of the test.
    fn command(&self, home: &TempDir) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120"]).arg(&self.0);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", home.path().display()));
        command.env("HOME", home.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    async fn dump(&self, proxy: &TestProxy) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut command = self.command(&home);
        command.args(["--ignore-certificate-errors", "--virtual-time-budget=5000", "--dump-dom"]);
        command.arg(format!("https://localhost:{}/", proxy.https().port()));
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A browser that is open.
pub(crate) struct Open {
    child: Child,
    _home: TempDir,
}

impl Drop for Open {
    fn drop(&mut self) {
        // `timeout` hands it on.
        _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        _ = self.child.wait();
    }
}

/// The hash of a Gatehouse's public key (RFC 7469, 2.4).
async fn key_hash(proxy: &TestProxy) -> Vec<u8> {
    let stream = proxy.tls(b"http/1.1").await;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    digest(&SHA256, leaf.tbs_certificate.subject_pki.raw).as_ref().to_vec()
}
