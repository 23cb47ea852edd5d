//! Names that are proven by DNS records: written by a command, or by dynamic updates; wildcards.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::acme::{certs, text};
use crate::harness::certificate::{openssl, until};
use crate::harness::{Named, Pebble, SECRET, TestProxy, TestUpstream};

/// A command that tells Pebble's name server what to answer, and writes down what it was told.
fn hook(directory: &TempDir, management: u16, first: &str) -> (PathBuf, PathBuf) {
    let (file, log) = (directory.path().join("hook"), directory.path().join("log"));
    let text = format!(
        r#"#!/bin/bash
{first}
echo "$@" >> {log}
case "$2" in
  present) body="{{\"host\":\"$3.\",\"value\":\"$4\"}}"; path=/set-txt ;;
  cleanup) body="{{\"host\":\"$3.\"}}"; path=/clear-txt ;;
esac
exec 3<>/dev/tcp/127.0.0.1/{management}
printf 'POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' $path ${{#body}} "$body" >&3
grep -q "200 OK" <&3
"#,
        log = log.display()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    (file, log)
}

fn keys(hook: &Path, pebble: &Pebble) -> String {
    format!(
        "challenges = \"dns-01\"\ndns_hook = [\"{}\", \"an argument; $$(x)\"]\n\
         dns_servers = \"{}\"\ndns_timeout = \"5s\"",
        hook.display(),
        pebble.names().0
    )
}

#[tokio::test]
async fn a_command_writes_the_record_and_wildcards_are_served_for_one_label() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let directory = tempfile::tempdir().unwrap();
    let (hook, log) = hook(&directory, pebble.names().1, "");
    let text = text(&pebble, &upstream, &keys(&hook, &pebble));
    let text = text.replace("\"app.example.com\"", "\"*.app.example.com\"");
    let proxy = TestProxy::start_text(&text);
    until(&proxy, |of| of["issued"] == true).await;
    let told = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Vec<&str>> =
        told.lines().map(|line| line.rsplit(' ').take(3).collect()).collect();
    let [present, cleanup] = lines.as_slice() else { panic!("{told}") };
    assert_eq!((present[1], present[2]), ("_acme-challenge.app.example.com", "present"));
    assert_eq!(*cleanup, [present[0], present[1], "cleanup"], "{told}");
    assert!(told.starts_with("an argument; $(x) present"), "{told}");
    let root = pebble.root().await;
    for (name, served) in [
        ("a.app.example.com", true),
        ("B.app.example.com", true),
        ("app.example.com", false),
        ("a.b.app.example.com", false),
    ] {
        let (verified, said) = openssl(proxy.https(), &root, name, &[]);
        assert_eq!(verified, served, "{name}: {said}");
    }
    assert!(proxy.store("_wildcard.app.example.com.certificate.pem").exists());
    let proxy = proxy.restart().await;
    assert!(openssl(proxy.https(), &root, "a.app.example.com", &[]).0, "from the store");
    proxy.finish().await;
}

#[tokio::test]
async fn a_command_that_fails_hangs_or_writes_nothing_is_the_reason() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let directory = tempfile::tempdir().unwrap();
    let management = pebble.names().1;
    let broken = "echo 'no zone here' >&2; exit 3";
    let (file, _) = hook(&directory, management, broken);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &keys(&file, &pebble)));
    let says = async |why: &str| {
        until(&proxy, |of| of["error"].as_str().is_some_and(|e| e.contains(why))).await
    };
    let state = says("exit status: 3: no zone here").await;
    assert!(state["error"].as_str().unwrap().contains("_acme-challenge.app.example.com"));
    let child = directory.path().join("child");
    let hangs = format!("sleep 600 & echo $! > {}; echo waiting >&2; wait", child.display());
    for (first, why) in [
        (hangs.as_str(), "killed after 5 s: waiting"),
        ("[ $2 = present ] && exit 0", "after 5 s of waiting for it, it is not on the name server"),
        ("yes 'far too much' >&2 & sleep 0.2; kill $!; exit 1", "exit status: 1: far too much"),
    ] {
        hook(&directory, management, first);
        assert!(certs(&proxy, &["renew"]).0);
        says(why).await;
    }
    // What it had started is ended with it.
    let child = std::fs::read_to_string(child).unwrap();
    let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    assert!(!state.is_ok_and(|state| state.contains("(sleep) S")));
    std::fs::remove_file(&file).unwrap();
    assert!(certs(&proxy, &["renew"]).0);
    says("No such file").await;
    hook(&directory, management, "");
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["issued"] == true).await;
    proxy.finish().await;
}

#[tokio::test]
async fn a_name_server_takes_signed_updates_also_for_a_name_and_its_wildcard() {
    let (named, upstream) = (Named::start(), TestUpstream::start().await);
    let pebble = Pebble::with_names_of(named.address);
    let update = format!(
        "challenges = \"dns-01\"\ndns_servers = \"{0}\"\ndns_timeout = \"20s\"\n\
         dns_update = {{ server = \"{0}\", key = \"other\", secret = \"{SECRET}\" }}",
        named.address
    );
    let text = text(&pebble, &upstream, &update);
    let text = text.replace("\"app.example.com\"", "\"app.example.com\", \"*.app.example.com\"");
    let proxy = TestProxy::start_text(&text);
    let refused = until(&proxy, |of| of["failures"] != 0).await;
    assert!(refused["error"].as_str().unwrap().contains("the name server"), "{refused:#}");
    proxy.edit("\"other\"", "\"gatehouse\"");
    proxy.reload().await.unwrap();
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["issued"] == true).await;
    let root = pebble.root().await;
    assert!(openssl(proxy.https(), &root, "app.example.com", &[]).0);
    assert!(openssl(proxy.https(), &root, "www.app.example.com", &[]).0);
    proxy.finish().await;
}
