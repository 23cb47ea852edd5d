//! Our TLS as testssl.sh sees it: every check that it has, but the simulation of clients.

use std::process::Command;

use serde_json::Value;

use crate::files::{Authority, ecdsa, text};
use crate::harness::certificate::until;
use crate::harness::{TestProxy, TestUpstream};

/// All that is asked for: protocols, ciphers, forward secrecy, preferences, the certificate, the
/// header fields, vulnerabilities.
const CHECKS: [&str; 7] = ["-p", "-s", "-f", "-P", "-S", "-h", "-U"];

/// Some of what must be among the findings, so that a run that breaks off is none.
const FOUND: [&str; 24] = [
    "SSLv2",
    "TLS1_3",
    "ALPN_HTTP2",
    "cipherlist_STRONG",
    "PFS",
    "cipher_order",
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "HSTS_time",
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
];

/// What testssl.sh says that it could not look at, and that says nothing of us.
const WARNINGS: [&str; 2] = [
    // Its own openssl knows no GOST.
    "engine_problem",
    // A resumed handshake shows no certificate, without which it takes a client that was quicker
    // than itself for one that did not connect. `both_versions_are_spoken_and_sessions_resume`.
    "sessionresumption_ticket",
];

#[tokio::test]
async fn testssl_finds_nothing_above_low() {
    let (upstream, authority) = (TestUpstream::start().await, Authority::new());
    // As public CAs sign them: with a place of revocations, for some months.
    authority.sign("a", &["localhost"], 80, &ecdsa());
    let proxy = TestProxy::start_text(&text(&upstream, &authority, &["a"], "localhost"));
    until(&proxy, |certificate| certificate["issued"] == true).await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("testssl");
    command
        // No question to a name server, nor to a person.
        .args(["--quiet", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"])
        .args(["--jsonfile", "findings.json", "--add-ca"])
        .arg(authority.root())
        .args(CHECKS)
        .arg(format!("localhost:{}", proxy.https().port()))
        .current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("testssl: {error}: `cargo xtask test`"));
    let said = String::from_utf8_lossy(&output.stdout);
    let findings = std::fs::read_to_string(folder.path().join("findings.json"));
    let findings: Vec<Value> = serde_json::from_str(&findings.expect(&said)).expect(&said);
    for name in FOUND {
        assert!(findings.iter().any(|finding| finding["id"] == name), "{name} in {said}");
    }
    for finding in &findings {
        let id = finding["id"].as_str().unwrap();
        match finding["severity"].as_str().unwrap() {
            "OK" | "INFO" | "LOW" => {}
            "WARN" if WARNINGS.contains(&id) => {}
            _ => panic!("{finding:#} in {said}"),
        }
    }
    proxy.finish().await;
}
