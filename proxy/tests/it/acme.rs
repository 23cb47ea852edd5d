//! Certificates from a real CA, by each kind of proof; and what is done when there is none.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::certificate::{self, openssl, until};
use crate::harness::{self, Fate, Front, Pebble, TestProxy, TestUpstream, client};

/// The contract's smallest configuration, with addresses that a test can use and this CA.
pub(crate) fn text(pebble: &Pebble, upstream: &TestUpstream, acme: &str) -> String {
    text_with(pebble, upstream, &format!("{}{acme}", pebble.keys()))
}

/// The same, with all keys of `[acme]` but the address.
pub(crate) fn text_with(pebble: &Pebble, upstream: &TestUpstream, acme: &str) -> String {
    let minimal = include_str!("../config/valid/minimal.toml");
    assert!(minimal.contains("[acme]\n") && minimal.contains("http://127.0.0.1:3000"));
    let keys = format!("[acme]\n{acme}\n");
    let text = minimal
        .replace("[acme]\n", &keys)
        .replace("http://127.0.0.1:3000", &format!("http://{}", upstream.address));
    let listen = format!(
        "[listen]\nhttp = [\"{}\"]\nhttps = [\"{}\"]\nadmin = \"127.0.0.1:0\"\nworkers = 2\n\
         drain_timeout = \"5s\"\n[tls]\nstore = \"DIRECTORY/certs\"\n\
         [log]\naccess = \"DIRECTORY/access.log\"\n",
        pebble.http(),
        pebble.https()
    );
    format!("{listen}\n{text}")
}

/// What `gatehouse certs` says of a running instance.
pub(crate) fn certs(proxy: &TestProxy, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.arg("certs").args(arguments).args(["--admin", &proxy.admin().to_string()]);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn obtains(acme: &str) {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, acme));
    let obtained = until(&proxy, |certificate| certificate["issued"] == true).await;
    assert_eq!(obtained["failures"], 0, "{obtained:#}");
    let root = pebble.root().await;
    let (verified, said) = openssl(proxy.https(), &root, "app.example.com", &[]);
    assert!(verified, "{said}");
    assert!(!openssl(proxy.https(), &root, "other.example.com", &[]).0);
    // The next start has it at once, from the store.
    let held = std::fs::read(proxy.store("app.example.com.certificate.pem")).unwrap();
    let proxy = proxy.restart().await;
    assert_eq!(certificate::get(&proxy).await["issued"], true);
    assert!(openssl(proxy.https(), &root, "app.example.com", &[]).0);
    assert_eq!(held, std::fs::read(proxy.store("app.example.com.certificate.pem")).unwrap());
    assert!(!proxy.store("app.example.com.order.json").exists(), "the order is over");
    proxy.finish().await;
}

#[tokio::test]
async fn a_certificate_is_obtained_by_http_01() {
    obtains("challenges = [\"http-01\"]").await;
}

#[tokio::test]
async fn a_certificate_is_obtained_by_tls_alpn_01() {
    obtains("challenges = [\"tls-alpn-01\"]").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_and_nothing_is_dropped() {
    // Two thirds of 15 seconds: it is renewed a few times.
    let (pebble, upstream) = (Pebble::start(15), TestUpstream::start().await);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, ""));
    let first = until(&proxy, |certificate| certificate["issued"] == true).await;
    let root = pebble.root().await;
    let (mut handshakes, mut renewals, mut last) = (0, 0, first["obtained_at"].clone());
    while renewals < 2 {
        let (verified, said) = openssl(proxy.https(), &root, "app.example.com", &[]);
        assert!(verified, "after {handshakes} handshakes: {said}");
        handshakes += 1;
        let state = certificate::get(&proxy).await;
        assert_eq!(state["failures"], 0, "{state:#}");
        renewals += u32::from(std::mem::replace(&mut last, state["obtained_at"].clone()) != last);
    }
    assert!(handshakes > 5);
    proxy.finish().await;
}

#[tokio::test]
async fn a_ca_that_is_down_is_said_so_and_the_site_is_served_until_it_is_back() {
    let (mut pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    pebble.stop();
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, ""));
    let failed = until(&proxy, |certificate| certificate["failures"] != 0).await;
    assert!(failed["error"].as_str().unwrap().contains("refused"), "{failed:#}");
    assert_eq!((&failed["issued"], failed["retry_at"].is_string()), (&Value::Bool(false), true));
    let (listed, said) = certs(&proxy, &["list"]);
    assert!(listed && said.contains("failed 1x") && said.contains("refused"), "{said}");
    let (renewed, said) = certs(&proxy, &["renew", "other.example.com"]);
    assert!(!renewed && said.contains("no site has this name"), "{said}");
    let (renewed, said) = certs(&proxy, &["renew", "app.example.com"]);
    assert!(renewed && said.contains("renewing 1"), "{said}");
    until(&proxy, |certificate| certificate["failures"] == 2).await;
    let (verified, said) = openssl(proxy.https(), &proxy.root(), "app.example.com", &[]);
    assert!(verified, "the development CA stands in: {said}");
    proxy.finish().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_proven_fails_in_the_words_of_the_ca_and_may_be_refused_meanwhile() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let acme = "challenges = [\"http-01\"]\nuntil_issued = \"refuse\"";
    let text = text(&pebble, &upstream, acme);
    // Nothing listens where the CA looks.
    let text = text.replace(&format!("\"{}\"", pebble.http()), "\"127.0.0.1:0\"");
    let proxy = TestProxy::start_text(&text);
    let failed = until(&proxy, |certificate| certificate["failures"] != 0).await;
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.starts_with("app.example.com: ") && error.contains("urn:ietf:params:acme"),
        "{error}"
    );
    let (verified, said) = openssl(proxy.https(), &proxy.root(), "app.example.com", &[]);
    assert!(!verified && said.contains("no peer certificate available"), "{said}");
    // It is counted by name, as long as the configuration has it.
    let sample = |metrics: String| {
        let mut lines = metrics.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("gatehouse_certificate_failures_total{"))
    };
    let counted = sample(crate::admin::get(proxy.admin(), "/metrics", "").await).unwrap();
    let of_name = "gatehouse_certificate_failures_total{name=\"app.example.com\"} ";
    assert!(counted.strip_prefix(of_name).unwrap().parse::<u64>().unwrap() > 0);
    proxy.edit("\"app.example.com\"", "\"localhost\"]\nissuer = \"internal\"\n# [");
    let gone = async {
        proxy.reload().await.unwrap();
        while sample(crate::admin::get(proxy.admin(), "/metrics", "").await).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            proxy.reload().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    proxy.finish().await;
}

#[tokio::test]
async fn what_is_asked_under_the_path_of_challenges_is_not_forwarded() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "redirect_http = false");
    let mut client = proxy.client_plain().await;
    let long = "x".repeat(4_000);
    for token in [
        "",
        "unknown",
        "unknown/",
        "../../gatehouse.toml",
        "..%2f..%2fgatehouse.toml",
        "%00",
        "a%0d%0ab",
        "a?b=c",
        &long,
    ] {
        let reply = client.get(&format!("/.well-known/acme-challenge/{token}")).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (404, 0), "{token}");
    }
    assert_eq!(client.get("/").await.status, 200);
    proxy.finish().await;
}

/// The status and the body of a request for a path, in plain text or over TLS.
async fn ask(proxy: &TestProxy, root: Option<&Path>, host: &str, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    match root {
        None => {
            let mut stream = TcpStream::connect(proxy.http()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        }
        Some(root) => {
            let protocol = b"http/1.1";
            let stream = client::tls(proxy.https(), root, &[protocol], host, b"").await;
            let mut stream = stream.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        }
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_pending_proof_is_shown_for_its_host_and_its_token_over_plain_http_and_no_longer() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let offered: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let seen = Arc::clone(&offered);
    front.decide(move |asked| match asked.path.get(..7) {
        Some("/chalZ/") => Fate::Hang,
        Some("/authZ/") => {
            let seen = Arc::clone(&seen);
            Fate::Edit(Box::new(move |_, body| {
                let offer: Value = serde_json::from_str(body).unwrap();
                let challenges = offer["challenges"].as_array().into_iter().flatten();
                if let Some(of) = { challenges }.find(|challenge| challenge["type"] == "http-01") {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let host = text(&offer["identifier"]["value"]);
                    seen.lock().unwrap().insert(host, text(&of["token"]));
                }
            }))
        }
        _ => Fate::Pass,
    });
    let acme = format!("{}challenges = \"http-01\"", front.keys());
    let text = text_with(&pebble, &upstream, &acme).replace(
        "hosts    = [\"app.example.com\"]",
        "hosts    = [\"app.example.com\", \"other.example.com\"]",
    );
    let proxy = TestProxy::start_text(&text);
    harness::until(|| !front.asked("/chalZ/").is_empty()).await;
    let pending = offered.lock().unwrap().clone();
    assert_eq!(pending.len(), 2);
    for (host, token) in &pending {
        let path = format!("/.well-known/acme-challenge/{token}");
        let (status, proof) = ask(&proxy, None, host, &path).await;
        assert_eq!(status, "200");
        assert!(proof.starts_with(&format!("{token}.")), "{proof}");
        let other = ["app.example.com", "other.example.com"].into_iter().find(|name| name != host);
        let upper = host.to_ascii_uppercase();
        let encoded =
            format!("/.well-known/acme-challenge/%{:02x}{}", token.as_bytes()[0], &token[1..]);
        for (host, path, expected) in [
            (other.unwrap(), path.as_str(), "404"),
            (host.as_str(), &path[..path.len() - 1], "404"),
            (host.as_str(), &format!("{path}x"), "404"),
            (host.as_str(), &format!("{path}/"), "404"),
            (host.as_str(), &encoded, "404"),
            (upper.as_str(), path.as_str(), "200"),
            (host.as_str(), &format!("/x/..{path}"), "308"),
        ] {
            let (status, body) = ask(&proxy, None, host, path).await;
            assert_eq!(status, expected, "{host} {path}");
            assert!(status == "200" || !body.contains(&proof), "{host} {path}");
        }
        // Over TLS it is a path like any other, and the application's.
        let (_, body) = ask(&proxy, Some(&proxy.root()), host, &path).await;
        assert!(!body.contains(&proof), "{body}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_pending_handshake_is_shown_to_whoever_speaks_nothing_else_and_for_its_name() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    front.decide(|asked| match asked.path.starts_with("/chalZ/") {
        true => Fate::Hang,
        false => Fate::Pass,
    });
    let acme = format!("{}challenges = \"tls-alpn-01\"\nuntil_issued = \"refuse\"", front.keys());
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &acme));
    harness::until(|| !front.asked("/chalZ/").is_empty()).await;
    let shown = |name: &str, alpn: &str| certificate::shown(proxy.https(), name, &["-alpn", alpn]);
    assert!(shown("app.example.com", "acme-tls/1") && shown("APP.example.com", "acme-tls/1"));
    for (name, alpn) in [
        ("app.example.com", "acme-tls/1,h2"),
        ("app.example.com", "h2,acme-tls/1"),
        ("app.example.com", "acme-tls/2"),
        ("other.example.com", "acme-tls/1"),
        ("127.0.0.1", "acme-tls/1"),
    ] {
        assert!(!shown(name, alpn), "{name} {alpn}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn names_that_are_none_get_no_certificate_and_harm_nobody() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, "");
    let long = format!("{}localhost", "a.".repeat(123));
    for name in ["*", "-", "a..b", &long, "xn--", "l\u{f6}calhost", "x.localhost", "localhost.x"] {
        assert!(!certificate::shown(proxy.https(), name, &[]), "{name}");
    }
    // An address is no name (RFC 6066, 3): who sends one is served as who sends none.
    for name in ["127.0.0.1", "192.0.2.1", "localhost."] {
        assert!(certificate::shown(proxy.https(), name, &[]), "{name}");
    }
    assert!(certificate::shown(proxy.https(), "LOCALHOST", &[]));
    proxy.finish().await;
}

#[tokio::test]
async fn files_that_are_no_certificates_are_set_aside_and_new_ones_obtained() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let text = text(&pebble, &upstream, "");
    let proxy = TestProxy::start_text(&text);
    until(&proxy, |certificate| certificate["issued"] == true).await;
    let file = proxy.store("app.example.com.certificate.pem");
    let whole = std::fs::read_to_string(&file).unwrap();
    // Half of it, as after a crash of something else.
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let proxy = proxy.restart().await;
    assert!(proxy.store("app.example.com.certificate.pem.aside").exists());
    until(&proxy, |certificate| certificate["issued"] == true).await;
    assert_ne!(whole, std::fs::read_to_string(&file).unwrap());
    proxy.finish().await;
}
