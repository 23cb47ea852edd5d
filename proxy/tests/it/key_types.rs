//! Certificates with keys of several kinds: each client is served the one that it can verify, and
//! each has a life of its own.

use std::path::Path;

use serde_json::Value;

use crate::acme::{certs, text};
use crate::harness::certificate::{self, openssl, until_all};
use crate::harness::{Pebble, TestProxy, TestUpstream};

const NAME: &str = "app.example.com";

fn issued(all: &[Value], kinds: &[&str]) -> bool {
    let there = |of: &Value, kind: &&str| of["key"] == **kind && of["issued"] == true;
    all.len() == kinds.len() && all.iter().zip(kinds).all(|(of, kind)| there(of, kind))
}

/// Has `openssl` shake hands, and says by which kind of key the certificate was verified.
fn served(proxy: &TestProxy, root: &Path, more: &[&str]) -> &'static str {
    let (verified, said) = openssl(proxy.https(), root, NAME, more);
    assert!(verified, "{more:?}: {said}");
    let kinds = [("RSA-PSS", "rsa"), ("Peer signature type: RSA", "rsa"), ("ECDSA", "ecdsa")];
    kinds.into_iter().find(|(mark, _)| said.contains(mark)).unwrap_or_else(|| panic!("{said}")).1
}

fn serves_both(proxy: &TestProxy, root: &Path) {
    for (kind, more) in [
        ("ecdsa", &[][..]),
        ("ecdsa", &["-tls1_2"]),
        ("ecdsa", &["-sigalgs", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"]),
        ("ecdsa", &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
        ("rsa", &["-sigalgs", "rsa_pss_rsae_sha256"]),
        ("rsa", &["-tls1_2", "-sigalgs", "RSA+SHA256"]),
        ("rsa", &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]),
    ] {
        assert_eq!(served(proxy, root, more), kind, "{more:?}");
    }
}

#[tokio::test]
async fn clients_that_know_only_rsa_are_served_rsa_and_all_others_ecdsa() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let kinds = "key_types = [\"rsa-2048\", \"ecdsa-p256\"]";
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, kinds));
    let first = until_all(&proxy, |all| issued(all, &["ecdsa-p256", "rsa-2048"])).await;
    let root = pebble.root().await;
    serves_both(&proxy, &root);
    let (listed, said) = certs(&proxy, &["list"]);
    assert!(listed && said.contains("ecdsa-p256") && said.contains("rsa-2048"), "{said}");
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    let family = "gatehouse_certificate_not_after_seconds{";
    assert_eq!(metrics.matches(family).count(), 1, "one sample for one name: {metrics}");
    // Each is renewed by itself.
    let (renewed, said) = certs(&proxy, &["renew", NAME]);
    assert!(renewed && said.contains("renewing 2"), "{said}");
    let obtained = |all: &[Value], index: usize| all[index]["obtained_at"].clone();
    until_all(&proxy, |all| {
        (0..2).all(|index| obtained(all, index) != obtained(&first, index))
            && issued(all, &["ecdsa-p256", "rsa-2048"])
    })
    .await;
    // The next start has both at once, from the store.
    let proxy = proxy.restart().await;
    assert!(issued(&certificate::all(&proxy).await, &["ecdsa-p256", "rsa-2048"]));
    serves_both(&proxy, &root);
    proxy.finish().await;
}

#[tokio::test]
async fn another_kind_of_key_takes_over_only_when_its_certificate_is_there() {
    let (mut pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let kinds = "key_types = [\"ecdsa-p256\"]";
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, kinds));
    until_all(&proxy, |all| issued(all, &["ecdsa-p256"])).await;
    let root = pebble.root().await;
    pebble.stop();
    proxy.edit("[\"ecdsa-p256\"]", "[\"rsa-2048\"]");
    proxy.reload().await.unwrap();
    until_all(&proxy, |all| all[0]["key"] == "rsa-2048" && all[0]["failures"] != 0).await;
    assert_eq!(served(&proxy, &root, &[]), "ecdsa", "the old one goes on being served");
    let proxy = proxy.restart().await;
    assert_eq!(served(&proxy, &root, &[]), "ecdsa", "and after a restart");
    assert!(pebble.run());
    assert!(certs(&proxy, &["renew"]).0);
    until_all(&proxy, |all| issued(all, &["rsa-2048"])).await;
    assert_eq!(served(&proxy, &pebble.root().await, &[]), "rsa");
    proxy.finish().await;
}
