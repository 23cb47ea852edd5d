//! Rules together: matching, keys, all-or-nothing, and many threads at once.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::Method;

use super::{Decision, Facts, Limiter, Rules};
use crate::config::{KeyPart, Match, Mode, Rule};
use crate::site::pattern::Pattern;

const SECOND: u64 = 1_000_000_000;

fn rule(name: &str, limit: u64, seconds: u64) -> Rule {
    Rule {
        name: name.to_owned(),
        limit,
        window: Duration::from_secs(seconds),
        matches: Match::default(),
        key: vec![KeyPart::Ip],
        mode: Mode::Enforce,
    }
}

fn limiter() -> Limiter {
    Limiter::new(1_000, [7; 16])
}

fn facts(client: u8, path: &str) -> Facts<'_> {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, client));
    Facts { client, method: &Method::GET, host: "localhost", path }
}

fn passes(decision: &Decision) -> bool {
    matches!(decision, Decision::Admit(_))
}

#[test]
fn the_request_after_the_limit_is_told_exactly_when_to_come_back() {
    let (limiter, rules) = (limiter(), Rules::new(&[rule("global", 100, 60)]));
    for i in 0..100 {
        let Decision::Admit(Some(quoted)) = limiter.decide(&rules, &facts(1, "/"), i * SECOND / 10)
        else {
            panic!("request {i} was rejected");
        };
        assert_eq!(quoted.policy, "\"global\";q=100;w=60");
        let left = 60 - i / 10;
        assert_eq!(quoted.rate_limit, format!("\"global\";r={};t={left}", 99 - i).as_str());
    }
    let now = 99 * SECOND / 10;
    let Decision::Reject(quoted, rule) = limiter.decide(&rules, &facts(1, "/"), now) else {
        panic!("the 101st request passed");
    };
    assert_eq!((quoted.retry_after, &*rule.name), (51, "global"));
    assert_eq!(quoted.rate_limit, "\"global\";r=0;t=51");
    assert!(!passes(&limiter.decide(&rules, &facts(1, "/"), 60 * SECOND - 1)));
    assert!(passes(&limiter.decide(&rules, &facts(1, "/"), 60 * SECOND)));
    assert!(passes(&limiter.decide(&rules, &facts(2, "/"), now)), "another client is not affected");
}

#[test]
fn a_rejection_by_one_rule_consumes_nothing_in_the_others() {
    let mut login = rule("login", 1, 60);
    login.matches.paths = vec![Pattern::parse("/login").unwrap()];
    let (limiter, rules) = (limiter(), Rules::new(&[rule("global", 3, 60), login]));
    assert!(passes(&limiter.decide(&rules, &facts(1, "/login"), 0)));
    for _ in 0..10 {
        let Decision::Reject(_, rule) = limiter.decide(&rules, &facts(1, "/login"), 1) else {
            panic!("a second login passed");
        };
        assert_eq!(&*rule.name, "login");
    }
    assert!(passes(&limiter.decide(&rules, &facts(1, "/"), 2)));
    let Decision::Admit(Some(quoted)) = limiter.decide(&rules, &facts(1, "/"), 3) else {
        panic!("the rejected logins were counted");
    };
    assert_eq!(quoted.rate_limit, "\"global\";r=0;t=60");
}

#[test]
fn both_policies_are_named_and_the_nearest_is_reported() {
    let (limiter, rules) = (limiter(), Rules::new(&[rule("a", 10, 60), rule("b", 2, 1)]));
    let Decision::Admit(Some(quoted)) = limiter.decide(&rules, &facts(1, "/"), 0) else {
        panic!("rejected");
    };
    assert_eq!(quoted.policy, "\"a\";q=10;w=60, \"b\";q=2;w=1");
    limiter.decide(&rules, &facts(1, "/"), 0);
    let Decision::Reject(quoted, rule) = limiter.decide(&rules, &facts(1, "/"), 0) else {
        panic!("admitted");
    };
    assert_eq!((&*rule.name, quoted.retry_after), ("b", 1));
}

#[test]
fn a_shadow_rule_never_rejects_and_is_never_told_of() {
    let mut shadow = rule("shadow", 1, 60);
    shadow.mode = Mode::Shadow;
    let (limiter, rules) = (limiter(), Rules::new(&[shadow]));
    for _ in 0..3 {
        assert!(matches!(limiter.decide(&rules, &facts(1, "/"), 0), Decision::Admit(None)));
    }
    assert_eq!(limiter.shadowed(), 2);
}

#[test]
fn keys_separate_what_they_name() {
    let mut by_path = rule("path", 1, 60);
    by_path.key = vec![KeyPart::Path, KeyPart::Method];
    let (limiter, rules) = (limiter(), Rules::new(&[by_path]));
    assert!(passes(&limiter.decide(&rules, &facts(1, "/a"), 0)));
    assert!(!passes(&limiter.decide(&rules, &facts(2, "/a"), 0)), "the client is not in the key");
    assert!(passes(&limiter.decide(&rules, &facts(1, "/b"), 0)));
    let post = Facts { method: &Method::POST, ..facts(1, "/a") };
    assert!(passes(&limiter.decide(&rules, &post, 0)));
}

#[test]
fn not_lists_leave_requests_alone() {
    let mut rule = rule("global", 1, 60);
    rule.matches.not_paths = vec![Pattern::parse("/health").unwrap()];
    let (limiter, rules) = (limiter(), Rules::new(&[rule]));
    for _ in 0..5 {
        assert!(matches!(limiter.decide(&rules, &facts(1, "/health"), 0), Decision::Admit(None)));
    }
}

#[test]
fn threads_on_one_key_admit_exactly_the_limit_while_the_table_is_swept() {
    let rules = Rules::new(&[rule("a", 500, 60), rule("b", 900, 60)]);
    let limiter = limiter();
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let one = |i| passes(&limiter.decide(&rules, &facts(1, "/"), i));
                    (0..1_000).filter(|&i| one(i)).count()
                })
            })
            .collect();
        // Later than every window: the sweep removes keys that nobody has counted in yet, again and
        // again.
        (0..20_000).for_each(|turn| limiter.sweep(turn, 1));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(admitted, 500);
}
