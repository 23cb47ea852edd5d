//! Several instances over one real Redis.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use super::lease::LONGEST;
use super::*;
use crate::config::{Redis as Config, Secret};
use crate::store::server::Redis;

const SECRET: &str = "a secret that all instances share";

fn instance(redis: &Redis, secret: Option<&str>) -> Vault {
    let secret = secret.map(|secret| Secret(secret.to_owned()));
    let shared = Shared::new(Config::parse(&redis.url()).unwrap(), secret.as_ref()).unwrap();
    Vault::Shared(Box::new(shared))
}

fn shared(vault: &Vault) -> &Shared {
    vault.shared().unwrap()
}

/// Makes an instance one that others wait for, which takes in at once what it sees.
fn follow(vault: &Rc<Vault>) {
    let vault = Rc::clone(vault);
    tokio::task::spawn_local(async move {
        loop {
            _ = shared(&vault).follow().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

/// The keys of the set of values, by what follows its prefix.
fn key(redis: &Redis, name: &str) -> String {
    let keys = redis.command(&["KEYS", &format!("*:{name}")]);
    keys.lines().last().unwrap().trim().to_owned()
}

/// All values as the store has them.
fn values(redis: &Redis) -> String {
    String::from_utf8_lossy(&redis.bytes(&["HGETALL", &key(redis, "values")])).into_owned()
}

async fn pulled(vault: &Vault) -> BTreeSet<String> {
    shared(vault).pull().await.unwrap();
    shared(vault).changed()
}

#[tokio::test]
async fn what_one_writes_all_read_and_nobody_without_the_secret() {
    let redis = Redis::start();
    let (one, other) = (instance(&redis, Some(SECRET)), instance(&redis, Some(SECRET)));
    let lead = one.lead("a").await.unwrap().unwrap();
    one.write(&lead, "a.pem", b"-----BEGIN PRIVATE KEY-----").await.unwrap();
    one.write(&lead, "b.pem", b"gone").await.unwrap();
    one.remove(&lead, "b.pem").await.unwrap();
    assert_eq!(pulled(&other).await.into_iter().collect::<Vec<_>>(), ["a.pem"]);
    assert_eq!(other.read("a.pem").unwrap().unwrap(), "-----BEGIN PRIVATE KEY-----");
    assert_eq!(other.read("b.pem").unwrap(), None);
    assert!(pulled(&other).await.is_empty(), "once");
    let kept = values(&redis);
    assert!(kept.contains("a.pem") && !kept.contains("PRIVATE KEY"), "{kept}");
    // Another secret, or none: another set of values, and nothing is touched.
    for stranger in
        [instance(&redis, Some("a secret of somebody else, 32 and more")), instance(&redis, None)]
    {
        assert!(pulled(&stranger).await.is_empty());
        assert_eq!(stranger.read("a.pem").unwrap(), None);
        let lead = stranger.lead("a").await.unwrap().unwrap();
        stranger.write(&lead, "a.pem", b"theirs").await.unwrap();
        shared(&one).pull().await.unwrap();
        assert_eq!(one.read("a.pem").unwrap().unwrap(), "-----BEGIN PRIVATE KEY-----");
    }
}

#[tokio::test]
async fn one_leads_at_a_time_and_whoever_was_replaced_is_refused() {
    let redis = Redis::start();
    let (one, other) = (instance(&redis, Some(SECRET)), instance(&redis, Some(SECRET)));
    let held_up = one.lead("a").await.unwrap().unwrap();
    assert!(other.lead("a").await.unwrap().is_none(), "one at a time");
    assert!(other.lead("b").await.unwrap().is_some(), "of each name");
    // As if its lease had run out while it was held up.
    assert_eq!(redis.command(&["DEL", &key(&redis, "lease:a")]), ":1");
    let lead = other.lead("a").await.unwrap().unwrap();
    other.write(&lead, "a.pem", b"new").await.unwrap();
    for outcome in
        [one.write(&held_up, "a.pem", b"stale").await, one.remove(&held_up, "a.pem").await]
    {
        let refused = match outcome {
            // What it has not heard of, it does not remove.
            Ok(()) => continue,
            Err(error) => error.to_string(),
        };
        assert!(refused.contains("another instance has taken over"), "{refused}");
    }
    one.release(held_up).await;
    assert!(one.lead("a").await.unwrap().is_none(), "it gave back nothing but its own");
    shared(&one).pull().await.unwrap();
    assert_eq!(one.read("a.pem").unwrap().unwrap(), "new");
    other.release(lead).await;
    let lead = one.lead("a").await.unwrap().unwrap();
    one.write(&lead, "a.pem", b"newer").await.unwrap();
}

#[tokio::test]
async fn whoever_ends_gives_all_its_leases_back_and_may_write_no_more_once_they_are_taken() {
    let redis = Redis::start();
    let (one, other) = (instance(&redis, Some(SECRET)), instance(&redis, Some(SECRET)));
    let leads = [one.lead("a").await.unwrap().unwrap(), one.lead("b").await.unwrap().unwrap()];
    one.resign().await;
    for (name, lead) in ["a", "b"].into_iter().zip(leads) {
        let taken = other.lead(name).await.unwrap();
        assert!(taken.is_some(), "at once");
        assert!(one.write(&lead, name, b"late").await.is_err());
    }
}

#[tokio::test]
async fn values_of_another_secret_are_said_for_as_long_as_they_are_there() {
    let redis = Redis::start();
    let others = ["a secret of somebody else, 32 and more"].map(Some);
    for secret in others.into_iter().chain([None]) {
        let stranger = instance(&redis, secret);
        shared(&stranger).pull().await.unwrap();
        let one = instance(&redis, Some(SECRET));
        assert_eq!(shared(&one).others().await.unwrap(), [""; 0], "nothing is kept there yet");
        let lead = stranger.lead("a").await.unwrap().unwrap();
        stranger.write(&lead, "a.pem", b"theirs").await.unwrap();
        let said = shared(&one).others().await.unwrap();
        let [said] = said.as_slice() else { panic!("{said:?}") };
        let what = if secret.is_some() { "sealed by another" } else { "not encrypted" };
        assert!(said.contains(what) && said.contains("GATEHOUSE_STORE_KEY"), "{said}");
        // What is said to remove them does.
        let (_, keys) = said.split_once("redis-cli DEL '").unwrap();
        let (prefix, names) = keys.split_once("'{").unwrap();
        let names = names.strip_suffix('}').unwrap().split(',');
        let keys: Vec<String> = names.map(|name| format!("{prefix}{name}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        redis.command(&[&["DEL"][..], &keys].concat());
        assert_eq!(shared(&one).others().await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn processes_with_one_directory_lead_a_name_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Vault::Directory(Store::open(directory.path()).unwrap());
    let (one, other) = (open(), open());
    let lead = one.lead("*.a.example").await.unwrap().unwrap();
    assert!(other.lead("*.a.example").await.unwrap().is_none());
    assert!(other.lead("b.example").await.unwrap().is_some());
    one.release(lead).await;
    drop(other.lead("*.a.example").await.unwrap().unwrap());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left of it");
}

#[tokio::test]
async fn whoever_waits_for_its_turn_does_not_wait_for_ever() {
    let redis = Redis::start();
    let (one, other) = (instance(&redis, Some(SECRET)), instance(&redis, Some(SECRET)));
    let lead = one.lead("a").await.unwrap().unwrap();
    assert_eq!(redis.command(&["PERSIST", &key(&redis, "lease:a")]), ":1");
    let error = other.lead_in_turn("a").await.unwrap_err().to_string();
    assert!(error.contains("another instance is at it"), "{error}");
    one.release(lead).await;
    other.lead_in_turn("a").await.unwrap();
}

#[tokio::test]
async fn what_was_altered_is_set_aside_and_never_read() {
    let redis = Redis::start();
    let one = instance(&redis, Some(SECRET));
    let lead = one.lead("a").await.unwrap().unwrap();
    one.write(&lead, "a.pem", b"a").await.unwrap();
    one.write(&lead, "b.pem", b"b").await.unwrap();
    let (values, changes) = (key(&redis, "values"), key(&redis, "changes"));
    let swap = "redis.call('HSET',KEYS[1],'a.pem',redis.call('HGET',KEYS[1],'b.pem'))";
    let swap = format!("{}redis.call('ZADD',KEYS[2],9,'a.pem')", format_args!("{swap};"));
    redis.command(&["EVAL", &swap, "2", &values, &changes]);
    let other = instance(&redis, Some(SECRET));
    shared(&other).pull().await.unwrap();
    assert_eq!(
        (other.read("a.pem").unwrap(), other.read("b.pem").unwrap().as_deref()),
        (None, Some("b"))
    );
    shared(&other).pull().await.unwrap();
    let kept = redis.bytes(&["HKEYS", &values]);
    assert!(String::from_utf8_lossy(&kept).contains("a.pem.aside"));
    // And what nobody could use is not looked at.
    let large = "x".repeat(Shared::LARGEST + 1);
    let plain = instance(&redis, None);
    let lead = plain.lead("a").await.unwrap().unwrap();
    plain.write(&lead, "large", large.as_bytes()).await.unwrap();
    let other = instance(&redis, None);
    shared(&other).pull().await.unwrap();
    assert_eq!(other.read("large").unwrap(), None);
}

#[tokio::test]
async fn more_changes_than_are_asked_for_at_a_time_are_all_seen() {
    let redis = Redis::start();
    let one = instance(&redis, Some(SECRET));
    let lead = one.lead("a").await.unwrap().unwrap();
    for index in 0..2 * Shared::CHANGES + 7 {
        one.write(&lead, &format!("{index}.pem"), b"text").await.unwrap();
    }
    let other = instance(&redis, Some(SECRET));
    assert_eq!(pulled(&other).await.len(), 2 * Shared::CHANGES + 7);
}

#[tokio::test]
async fn what_is_shared_waits_until_all_have_seen_it_and_not_for_ever() {
    let redis = Redis::start();
    let run = async {
        let (one, other) =
            (Rc::new(instance(&redis, Some(SECRET))), Rc::new(instance(&redis, Some(SECRET))));
        follow(&one);
        follow(&other);
        let lead = one.lead("a").await.unwrap().unwrap();
        while !redis.command(&["HLEN", &key(&redis, "instances")]).contains(":2") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for text in ["first", "second", "third"] {
            one.share(&lead, "a.challenges.json", text.as_bytes()).await.unwrap();
            assert_eq!(other.read("a.challenges.json").unwrap().unwrap(), text);
        }
        // One that is alive and hangs is not waited for without end.
        let hangs = ["HSET", &key(&redis, "instances"), "hangs", "999999999999999 0"];
        assert_eq!(redis.command(&hangs), ":1");
        one.share(&lead, "a.challenges.json", b"fourth").await.unwrap();
        assert_eq!(other.read("a.challenges.json").unwrap().unwrap(), "fourth");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_store_that_has_lost_everything_is_given_it_back() {
    let mut redis = Redis::start();
    let one = instance(&redis, Some(SECRET));
    let lead = one.lead("a").await.unwrap().unwrap();
    one.write(&lead, "a.pem", b"a").await.unwrap();
    one.write(&lead, "b.pem", b"b").await.unwrap();
    shared(&one).pull().await.unwrap();
    redis.kill();
    let error = shared(&one).pull().await.unwrap_err().to_string();
    assert!(error.contains("the shared store does not answer"), "{error}");
    assert_eq!(one.read("a.pem").unwrap().unwrap(), "a", "the copy is there");
    redis.restart();
    // Another instance is faster, and has another certificate.
    let fresh = instance(&redis, Some(SECRET));
    let new = fresh.lead("b").await.unwrap().unwrap();
    fresh.write(&new, "b.pem", b"newer").await.unwrap();
    while shared(&one).pull().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(one.write(&lead, "a.pem", b"stale").await.is_err(), "a lease ends with the store");
    shared(&fresh).pull().await.unwrap();
    for vault in [&one, &fresh] {
        assert_eq!(vault.read("a.pem").unwrap().as_deref(), Some("a"));
        assert_eq!(vault.read("b.pem").unwrap().as_deref(), Some("newer"));
    }
}

#[tokio::test]
async fn the_lease_of_an_instance_that_goes_on_is_renewed_and_that_of_one_that_died_ends() {
    let redis = Redis::start();
    let (one, other) = (instance(&redis, Some(SECRET)), instance(&redis, Some(SECRET)));
    let lead = one.lead("a").await.unwrap().unwrap();
    let lease = key(&redis, "lease:a");
    assert_eq!(redis.command(&["PEXPIRE", &lease, "60"]), ":1");
    shared(&one).follow().await.unwrap();
    let left: u64 = redis.command(&["PTTL", &lease])[1..].parse().unwrap();
    assert!(left > 1_000, "renewed: {left}");
    // A task that hangs does not lead for ever.
    let Shared { line, leases, .. } = shared(&one);
    assert_eq!(redis.command(&["PEXPIRE", &lease, "60000"]), ":1");
    leases.renew(line, Instant::now() + LONGEST + Duration::from_secs(60)).await.unwrap();
    leases.renew(line, Instant::now() + LONGEST + Duration::from_secs(120)).await.unwrap();
    let left: u64 = redis.command(&["PTTL", &lease])[1..].parse().unwrap();
    assert!(left > 10_000, "not renewed: {left}");
    drop(lead); // as its task does when it panics
    assert_eq!(redis.command(&["PEXPIRE", &lease, "60"]), ":1");
    let taken = other.lead_in_turn("a").await.unwrap();
    other.release(taken).await;
}
