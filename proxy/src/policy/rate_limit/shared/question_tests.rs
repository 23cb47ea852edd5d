//! What is counted, held and remembered here before the store has answered, and after.

use http::StatusCode;

use super::super::tests::{limiter, rule, rules};
use super::super::{Decision, Limiter, Rules};
use super::oracle_tests::{Ask, Store};
use super::script::{self, Sum};

const SECOND: u64 = 1_000_000_000;

/// One client's requests.
struct Client {
    store: Store,
    limiter: Limiter,
    rules: Rules,
}

impl Client {
    fn new(text: &str) -> Self {
        let limiter = limiter();
        let rules = rules(&limiter, text);
        Self { store: Store::shared(), limiter, rules }
    }

    fn ask(&self, seconds: u64) -> Decision {
        let ask = Ask { client: 1, path: "/", now: seconds * SECOND };
        self.store.decide(&self.limiter, &self.rules, ask)
    }

    /// The decision without the store's answer.
    fn ask_in_vain(&self, seconds: u64) -> Decision {
        let ask = Ask { client: 1, path: "/", now: seconds * SECOND };
        self.store.decide_or(&self.limiter, &self.rules, ask, true)
    }

    /// The application's answer to a request, of which it counts 401.
    fn answer(&self, mut decision: Decision, status: u16, seconds: u64) {
        let Store::Shared { runtime, link, .. } = &self.store else { return };
        let (rule, now) = (self.rules.get(0).unwrap(), seconds * SECOND);
        let key = decision.lease.0.first().unwrap().shared.unwrap();
        decision.lease.answered(StatusCode::from_u16(status).unwrap(), None, now);
        if status == 401 {
            // As `charge` does, but by the test's clock.
            let sum = Sum::new(rule, key, 0, 1).unwrap();
            runtime.block_on(script::decide_at(link, &[sum], now / 1_000)).unwrap();
        }
    }

    /// What a rule has admitted, and what it has rejected or would have.
    fn tally(&self, rule: &str) -> (u64, u64) {
        let sum = |count| self.limiter.tallies.sum(Some(rule), count);
        (sum(|tally| &tally.admitted), sum(|tally| &tally.rejected) + sum(|tally| &tally.shadowed))
    }
}

#[test]
fn a_shadow_rule_holds_nothing_of_what_it_would_reject() {
    let count = "window = \"60s\"; count = { status = [401] }";
    let client = Client::new(
        &(rule("real", &format!("limit = 9; {count}"))
            + &rule("shadow", &format!("limit = 2; {count}; mode = \"shadow\""))),
    );
    let mut open: Vec<_> = (0..5).map(|_| client.ask(0)).collect();
    let held: Vec<_> = open.iter().map(|decision| decision.lease.0.len()).collect();
    assert_eq!(held, [2, 2, 1, 1, 1], "by the one that would reject nothing is held");
    assert_eq!((client.tally("real"), client.tally("shadow")), ((5, 0), (2, 3)));
    // It is done with the first two, so that there is room for two.
    open.clear();
    let held = [1, 1, 1].map(|seconds| client.ask(seconds).lease.0.len());
    assert_eq!(held, [2, 2, 2]);
}

#[test]
fn what_the_store_rejects_or_leaves_open_is_tallied_once() {
    let client = Client::new(
        &(rule("flight", "in_flight = 3")
            + &rule("none", "in_flight = 1; mode = \"shadow\"")
            + &rule("window", "limit = 1; window = \"60s\"")),
    );
    let first = client.ask(0);
    assert_eq!([1, 1].map(|second| client.ask(second).admits()), [false, false]);
    assert_eq!(client.tally("flight"), (1, 0), "the store rejected the others");
    assert_eq!((client.tally("none"), client.tally("window")), ((1, 2), (1, 2)));
    drop(first);
    let decision = client.ask_in_vain(120);
    assert!(decision.admits() && decision.lease.0.len() == 2);
    assert!(client.ask_in_vain(120).shadowed(&client.rules).count() == 1);
    assert_eq!(client.tally("flight"), (2, 0));
    assert_eq!((client.tally("none"), client.tally("window")), ((2, 3), (2, 3)));
}

#[test]
fn a_key_that_waits_for_answers_may_ask_again_at_once() {
    let text = "limit = 1; window = \"60s\"; count = { status = [401] }";
    let client = Client::new(&rule("a", text));
    let first = client.ask(0);
    assert!(!client.ask(0).admits(), "the first may count yet");
    client.answer(first, 200, 0);
    let second = client.ask(0);
    assert!(second.admits(), "the first does not count");
    client.answer(second, 401, 0);
    assert!(!client.ask(59).admits() && client.ask(60).admits());
}

#[test]
fn answers_that_do_not_count_let_a_key_pass_before_the_store_foresaw_it() {
    let text = "limit = 2; window = \"60s\"; count = { status = [401], ahead = 3 }";
    let mut client = Client::new(&rule("a", text));
    let open: Vec<_> = (0..4).map(|_| client.ask(0)).collect();
    let here = std::mem::replace(&mut client.limiter, limiter());
    for seconds in [0, 30] {
        client.answer(client.ask(seconds), 401, seconds);
    }
    let elsewhere = std::mem::replace(&mut client.limiter, here);
    assert!(!client.ask(40).admits(), "another instance has used it up");
    for decision in open {
        client.answer(decision, 200, 41);
    }
    assert!(client.ask(60).admits(), "one has left the window, and nothing is under way");
    drop(elsewhere);
}
