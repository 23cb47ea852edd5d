//! What a Gatehouse says of its first certificate, and what an independent client makes of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::TestProxy;

/// The first of `/api/certificates`.
pub(crate) async fn get(proxy: &TestProxy) -> Value {
    all(proxy).await.swap_remove(0)
}

/// All of `/api/certificates`.
pub(crate) async fn all(proxy: &TestProxy) -> Vec<Value> {
    let text = crate::admin::get(proxy.admin(), "/api/certificates", "").await;
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or(("", &text));
    let document: Value = serde_json::from_str(body).unwrap();
    document["certificates"].as_array().unwrap().clone()
}

/// Waits until it is as wanted.
pub(crate) async fn until(proxy: &TestProxy, wanted: impl Fn(&Value) -> bool) -> Value {
    until_all(proxy, |all| wanted(&all[0])).await.swap_remove(0)
}

/// Waits until all are as wanted.
pub(crate) async fn until_all(proxy: &TestProxy, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let waiting = async {
        loop {
            let certificates = all(proxy).await;
            if wanted(&certificates) {
                return certificates;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(60), waiting).await {
        Ok(certificates) => certificates,
        Err(_) => panic!("{:#?}", all(proxy).await),
    }
}

/// A handshake of `openssl s_client` for a name: whether the certificate verifies by `root`, and
/// what is said. `more` are further arguments.
pub(crate) fn openssl(
    address: SocketAddr,
    root: &Path,
    name: &str,
    more: &[&str],
) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", name])
        .args(["-verify_hostname", name, "-verify_return_error", "-CAfile"])
        .arg(root)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (said.contains("Verify return code: 0 (ok)") && output.status.success(), said)
}

/// Whether a handshake of `openssl s_client` for a name gets any certificate at all, verified or
/// not.
pub(crate) fn shown(address: SocketAddr, name: &str, more: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", name]).args(more);
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE")
}

/// A handshake that verifies the certificate by `root`, and a request on it.
pub(crate) async fn visit(address: SocketAddr, root: &Path, name: &str) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = super::client::tls(address, root, &[b"http/1.1"], name, b"").await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}
