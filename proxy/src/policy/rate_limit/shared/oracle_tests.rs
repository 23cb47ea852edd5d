//! Both stores against an oracle that remembers every admitted request, with one set of cases.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use super::super::tests::{limiter, rules};
use super::super::{Decision, Facts, Limiter, Rules};
use super::{Answer, Verdict, script};
use crate::config::Redis as Config;
use crate::store::server::Redis;
use crate::store::{Link, Silence, Standing};

/// Where requests are counted.
pub(super) enum Store {
    Local,
    Shared { runtime: LocalRuntime, link: Rc<Link>, redis: Redis },
}

/// A request: whose, for which path, and when, in nanoseconds of the test's own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) client: u8,
    pub(super) path: &'static str,
    pub(super) now: u64,
}

impl Store {
    pub(super) fn shared() -> Self {
        let redis = Redis::start();
        let options = LocalOptions::default();
        let runtime = Builder::new_current_thread().enable_all().build_local(options).unwrap();
        let config = Config::parse(&redis.url()).unwrap();
        let link = Link::new(config, Duration::from_secs(10), Arc::<Standing>::default());
        runtime.block_on(async {
            link.start().await;
            while !link.is_up() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self::Shared { runtime, link, redis }
    }

    /// Forgets everything.
    fn clear(&self) {
        if let Self::Shared { redis, .. } = self {
            assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
        }
    }

    pub(super) fn decide(&self, limiter: &Limiter, rules: &Rules, ask: Ask) -> Decision {
        self.decide_or(limiter, rules, ask, false)
    }

    /// The same; the answer may be `lost`.
    pub(super) fn decide_or(
        &self,
        limiter: &Limiter,
        rules: &Rules,
        ask: Ask,
        lost: bool,
    ) -> Decision {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, ask.client));
        let fields = HeaderMap::new();
        let facts = Facts {
            ip,
            client: ip,
            method: &Method::GET,
            host: "localhost",
            path: ask.path,
            fields: &fields,
            site: 0,
            route: None,
        };
        let Self::Shared { runtime, link, .. } = self else {
            return limiter.decide(rules, &facts, ask.now);
        };
        let decision = match limiter.consult(rules, &facts, link, ask.now) {
            Verdict::Decided(decision) => decision,
            Verdict::Ask(question) => {
                let asked = script::decide_at(link, &question.sums, ask.now / 1_000);
                let answer: Result<Answer, _> = runtime.block_on(asked);
                assert!(answer.is_ok(), "the store does not answer");
                let answer = if lost { Err(Silence) } else { answer };
                limiter.conclude(rules, &facts, question, answer, link, ask.now)
            }
        };
        decision.expect("nothing is denied")
    }
}

/// One count of the oracle: a rule, and whose requests.
type Count = (&'static str, Option<u8>);

/// What was admitted, by count, ascending.
#[derive(Default)]
struct Oracle(HashMap<Count, Vec<u64>>);

impl Oracle {
    /// Requests in the window that ends with `now`, which is open at its start.
    fn within(&self, count: &Count, now: u64, window: u64) -> u64 {
        let times = self.0.get(count).map_or(&[][..], Vec::as_slice);
        times.iter().rev().take_while(|&&time| now - time < window).count() as u64
    }
}

const SECOND: u64 = 1_000_000_000;

/// Requests of three clients for two paths, by the seconds between them.
fn asks(most: usize, gap: u64) -> impl Strategy<Value = Vec<Ask>> {
    let one = (0..gap, 0_u8..3, prop::sample::select(vec!["/", "/login"]));
    prop::collection::vec(one, 1..most).prop_map(|all| {
        let mut now = 0;
        all.into_iter()
            .map(|(gap, client, path)| {
                now += gap * SECOND;
                Ask { client, path, now }
            })
            .collect()
    })
}

/// Up to a limit of 1,000 all rules together decide exactly as the oracle does.
fn is_exact(store: &Store, cases: u32) {
    let cases = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let strategy = (1_u64..9, 1_u64..20, 20_u64..200, 20_u64..200, asks(200, 20));
    let outcome = TestRunner::new(cases).run(&strategy, |(login, all, short, long, asks)| {
        store.clear();
        let limiter = limiter();
        let text = format!(
            "[[rate_limit]]\nname = \"login\"\nlimit = {login}\nwindow = \"{short}s\"\n\
             match.path = \"/login\"\n[[rate_limit]]\nname = \"all\"\nlimit = {all}\n\
             window = \"{long}s\"\nkey = \"global\"\nmatch.not_path = \"/none\"\n"
        );
        let (rules, mut oracle) = (rules(&limiter, &text), Oracle::default());
        for ask in asks {
            let mut counts = vec![(("all", None), all, long * SECOND)];
            if ask.path == "/login" {
                counts.push((("login", Some(ask.client)), login, short * SECOND));
            }
            let has_room = |(count, limit, window): &(Count, u64, u64)| {
                oracle.within(count, ask.now, *window) < *limit
            };
            let expected = counts.iter().all(has_room);
            let decision = store.decide(&limiter, &rules, ask);
            prop_assert_eq!(decision.admits(), expected, "{:?}", ask);
            for (count, ..) in counts.into_iter().filter(|_| expected) {
                oracle.0.entry(count).or_default().push(ask.now);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Above, at most 1 % more than the limit passes, and nobody within the limit is rejected.
fn is_within_one_percent(store: &Store, cases: u32) {
    let cases = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let gaps = prop::collection::vec(0_u64..4, 1_500..3_000);
    let strategy = (1_001_u64..1_800, 500_u64..3_000, gaps);
    let outcome = TestRunner::new(cases).run(&strategy, |(limit, window, gaps)| {
        store.clear();
        let limiter = limiter();
        let text =
            format!("[[rate_limit]]\nname = \"all\"\nlimit = {limit}\nwindow = \"{window}s\"\n");
        let (rules, mut oracle, mut now) = (rules(&limiter, &text), Oracle::default(), 0);
        let count = ("all", Some(1));
        for gap in gaps {
            now += gap * SECOND;
            let before = oracle.within(&count, now, window * SECOND);
            if store.decide(&limiter, &rules, Ask { client: 1, path: "/", now }).admits() {
                oracle.0.entry(count).or_default().push(now);
                prop_assert!((before + 1) * 100 <= limit * 101, "{} of {limit}", before + 1);
            } else {
                prop_assert!(before >= limit, "rejected at {before} of {limit}");
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_local_store_is_exact() {
    is_exact(&Store::Local, 256);
}

#[test]
fn the_shared_store_is_exact() {
    is_exact(&Store::shared(), 64);
}

#[test]
fn the_local_store_is_within_one_percent_of_large_limits() {
    is_within_one_percent(&Store::Local, 24);
}

#[test]
fn the_shared_store_is_within_one_percent_of_large_limits() {
    is_within_one_percent(&Store::shared(), 6);
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let store = Store::shared();
    let limiter = limiter();
    let rules = rules(
        &limiter,
        "[[rate_limit]]\nname = \"two\"\nlimit = 2\nwindow = \"60s\"\nmatch.path = \"/\"\n\
         [[rate_limit]]\nname = \"many\"\nlimit = 5000\nwindow = \"60s\"\n",
    );
    let passes = |now| {
        // Of a limiter that remembers nothing, so that the store is asked.
        let limiter = super::super::tests::limiter();
        let ask = Ask { client: 1, path: "/", now: now * SECOND };
        store.decide(&limiter, &rules, ask).admits()
    };
    assert!(passes(10_000) && passes(10_000) && !passes(10_000));
    // An hour back: as if no time had passed since the last request.
    assert!(!passes(6_400) && !passes(6_459));
    let Store::Shared { redis, .. } = &store else { return };
    let script = "local least = 60000 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                  least = math.min(least, redis.call('PTTL', key)) end return least > 0";
    let counts = format!("{{gatehouse}}:{}", "?".repeat(32));
    assert_eq!(redis.command(&["EVAL", script, "0", &counts]), ":1", "every key expires");
    assert!(passes(6_460));
}
