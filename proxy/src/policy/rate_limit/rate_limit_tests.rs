//! Rules together: matching, keys, all-or-nothing, and many threads at once.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::{Decision, Facts, Limiter, Rules};
use crate::config::{self, Config};

const SECOND: u64 = 1_000_000_000;

/// The rules of a file with one site, which `text` may go on with.
pub(super) fn rules(limiter: &Limiter, text: &str) -> Rules {
    Rules::new(&config(text), limiter, None)
}

fn config(text: &str) -> Config {
    let site =
        "[[site]]\nhosts = [\"localhost\", \"b.example\"]\nupstream = \"http://127.0.0.1:1\"";
    let text = format!("{site}\n{text}");
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None);
    config.unwrap_or_else(|faults| panic!("{faults}"))
}

/// A rule of one line.
pub(super) fn rule(name: &str, rest: &str) -> String {
    format!("[[rate_limit]]\nname = \"{name}\"\n{}\n", rest.replace("; ", "\n"))
}

pub(super) fn limiter() -> Limiter {
    Limiter::new(1 << 20, [7; 16])
}

/// A request as rules see it.
pub(super) struct Ask {
    client: u8,
    method: Method,
    path: &'static str,
    fields: HeaderMap,
}

fn get(client: u8, path: &'static str) -> Ask {
    Ask { client, method: Method::GET, path, fields: HeaderMap::new() }
}

impl Ask {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.fields.append(HeaderName::from_static(name), value);
        self
    }

    fn post(mut self) -> Self {
        self.method = Method::POST;
        self
    }

    fn of(&self, limiter: &Limiter, rules: &Rules, now: u64) -> Decision {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.client));
        let facts = Facts {
            ip,
            client: ip,
            method: &self.method,
            host: "localhost",
            path: self.path,
            fields: &self.fields,
            site: 0,
            route: None,
        };
        limiter.decide(rules, &facts, now)
    }

    fn passes(&self, limiter: &Limiter, rules: &Rules, now: u64) -> bool {
        self.of(limiter, rules, now).admits()
    }
}

/// A field that a decision tells the client.
fn told(decision: &Decision, rules: &Rules, name: &str) -> String {
    let fields = decision.fields(rules);
    let value = fields.iter().find(|(known, _)| known == name);
    value.map_or_else(String::new, |(_, value)| value.to_str().unwrap().to_owned())
}

/// The rule that rejected, and the seconds to wait.
fn refusal(decision: &Decision, rules: &Rules) -> (String, u64) {
    let refusal = decision.refusal(rules).expect("it passed");
    (refusal.rule.name.to_string(), refusal.retry_after)
}

#[test]
fn the_request_after_the_limit_is_told_exactly_when_to_come_back() {
    let limiter = limiter();
    let rules = rules(&limiter, &rule("global", "limit = 100; window = \"60s\""));
    for i in 0..100 {
        let decision = get(1, "/").of(&limiter, &rules, i * SECOND / 10);
        assert!(decision.admits(), "request {i} was rejected");
        assert_eq!(told(&decision, &rules, "ratelimit-policy"), "\"global\";q=100;w=60");
        let left = format!("\"global\";r={};t={}", 99 - i, 60 - i / 10);
        assert_eq!(told(&decision, &rules, "ratelimit"), left);
    }
    let now = 99 * SECOND / 10;
    let decision = get(1, "/").of(&limiter, &rules, now);
    assert_eq!(refusal(&decision, &rules), ("global".to_owned(), 51));
    assert_eq!(told(&decision, &rules, "ratelimit"), "\"global\";r=0;t=51");
    assert!(!get(1, "/").passes(&limiter, &rules, 60 * SECOND - 1));
    assert!(get(1, "/").passes(&limiter, &rules, 60 * SECOND));
    assert!(get(2, "/").passes(&limiter, &rules, now), "another client is not affected");
}

#[test]
fn a_rejection_by_one_rule_consumes_nothing_in_the_others() {
    let limiter = limiter();
    let text = rule("global", "limit = 3; window = \"60s\"")
        + &rule("login", "limit = 1; window = \"60s\"; match.path = \"/login\"");
    let rules = rules(&limiter, &text);
    assert!(get(1, "/login").passes(&limiter, &rules, 0));
    for _ in 0..10 {
        let decision = get(1, "/login").of(&limiter, &rules, 1);
        assert_eq!(refusal(&decision, &rules).0, "login");
    }
    assert!(get(1, "/").passes(&limiter, &rules, 2));
    let decision = get(1, "/").of(&limiter, &rules, 3);
    assert!(decision.admits(), "the rejected logins were counted");
    assert_eq!(told(&decision, &rules, "ratelimit"), "\"global\";r=0;t=60");
}

#[test]
fn both_policies_are_named_and_the_nearest_is_reported() {
    let limiter = limiter();
    let text = rule("a", "limit = 10; window = \"60s\"") + &rule("b", "limit = 2; window = \"1s\"");
    let rules = rules(&limiter, &text);
    let decision = get(1, "/").of(&limiter, &rules, 0);
    assert_eq!(told(&decision, &rules, "ratelimit-policy"), "\"a\";q=10;w=60, \"b\";q=2;w=1");
    assert_eq!(told(&decision, &rules, "ratelimit"), "\"b\";r=1;t=1");
    assert!(get(1, "/").passes(&limiter, &rules, 0));
    assert_eq!(refusal(&get(1, "/").of(&limiter, &rules, 0), &rules), ("b".to_owned(), 1));
}

#[test]
fn the_fields_can_be_told_in_other_words() {
    for (syntax, expected) in [
        ("draft-11", vec!["ratelimit: \"a\";r=9;t=60", "ratelimit-policy: \"a\";q=10;w=60"]),
        ("next", vec!["ratelimit: \"a\";a=9;w=60", "ratelimit-policy: \"a\";q=10;w=60"]),
        (
            "legacy",
            vec!["x-ratelimit-limit: 10", "x-ratelimit-remaining: 9", "x-ratelimit-reset: 60"],
        ),
        ("off", vec![]),
    ] {
        let limiter = limiter();
        let text = rule("a", "limit = 10; window = \"60s\"");
        let rules = rules(&limiter, &format!("{text}[rate_limits]\nfields = \"{syntax}\""));
        let decision = get(1, "/").of(&limiter, &rules, 0);
        let fields = decision.fields(&rules);
        let fields =
            fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        assert_eq!(fields.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_shadow_rule_never_rejects_and_is_never_told_of() {
    let limiter = limiter();
    let text = rule("a", "limit = 9; window = \"60s\"")
        + &rule("shadow", "limit = 1; window = \"60s\"; mode = \"shadow\"");
    let rules = rules(&limiter, &text);
    for i in 0..3 {
        let decision = get(1, "/").of(&limiter, &rules, 0);
        assert!(decision.admits());
        assert_eq!(told(&decision, &rules, "ratelimit-policy"), "\"a\";q=9;w=60");
        assert_eq!(decision.shadowed(&rules).count(), usize::from(i > 0));
    }
    assert_eq!(limiter.shadowed(), 2);
}

#[test]
fn keys_separate_what_they_name() {
    for (key, same, other) in [
        ("\"ip\"", get(1, "/b"), get(2, "/a")),
        ("\"global\"", get(2, "/b"), get(1, "/x")),
        ("\"path\"", get(2, "/a"), get(1, "/b")),
        ("[\"path\", \"method\"]", get(2, "/a"), get(1, "/a").post()),
        (
            "\"header:x-api-key\"",
            get(2, "/b").with("x-api-key", "a"),
            get(1, "/a").with("x-api-key", "b"),
        ),
        (
            "\"cookie:id\"",
            get(2, "/b").with("cookie", "x=1; id=a"),
            get(1, "/a").with("cookie", "id=b"),
        ),
        (
            "\"jwt:sub\"",
            get(2, "/b").with("authorization", "bearer a"),
            get(1, "/a").with("authorization", "Bearer b"),
        ),
    ] {
        let limiter = limiter();
        let rules =
            rules(&limiter, &rule("a", &format!("limit = 1; window = \"60s\"; key = {key}")));
        let first = get(1, "/a")
            .with("x-api-key", "a")
            .with("cookie", "id=a")
            .with("authorization", "Bearer a");
        assert!(first.passes(&limiter, &rules, 0));
        assert!(!same.passes(&limiter, &rules, 0), "{key}");
        assert_eq!(other.passes(&limiter, &rules, 0), key != "\"global\"", "{key}");
    }
}

#[test]
fn who_leaves_the_key_out_or_sends_it_twice_counts_by_its_address() {
    let limiter = limiter();
    let text = rule("a", "limit = 1; window = \"60s\"; key = \"header:x-api-key\"");
    let rules = rules(&limiter, &text);
    assert!(get(1, "/").passes(&limiter, &rules, 0));
    assert!(get(2, "/").passes(&limiter, &rules, 0));
    assert!(!get(1, "/").passes(&limiter, &rules, 0));
    let twice = get(1, "/").with("x-api-key", "a").with("x-api-key", "b");
    assert!(!twice.passes(&limiter, &rules, 0));
}

#[test]
fn who_sends_nothing_as_the_key_counts_by_its_address() {
    let empty = serde_json::json!({ "sub": "" });
    let secret = jsonwebtoken::EncodingKey::from_secret(b"a secret of enough bytes");
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &empty, &secret).unwrap();
    let secrets = "[rate_limits]\njwt_secret = \"a secret of enough bytes\"";
    for (key, name, value, more) in [
        ("header:x-api-key", "x-api-key", "", ""),
        ("cookie:id", "cookie", "a=1; id=; b=2", ""),
        ("jwt:sub", "authorization", "Bearer ", ""),
        ("jwt:sub", "authorization", &*format!("Bearer {token}"), secrets),
    ] {
        let limiter = limiter();
        let text = rule("a", &format!("limit = 1; window = \"60s\"; key = \"{key}\""));
        let rules = rules(&limiter, &format!("{text}{more}"));
        let passes = |client| get(client, "/").with(name, value).passes(&limiter, &rules, 0);
        assert!(passes(1) && passes(2) && !passes(1), "{key}");
        assert!(!get(2, "/").passes(&limiter, &rules, 0), "{key}: as if it had left it out");
    }
}

#[test]
fn a_claim_is_believed_of_a_token_that_is_signed() {
    let secrets =
        "[rate_limits]\njwt_secret = [\"a secret of enough bytes\", \"another that is as long\"]";
    let token = |secret: &str, claims: &serde_json::Value| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap();
        format!("Bearer {token}")
    };
    let (first, second) = ("a secret of enough bytes", "another that is as long");
    let limiter = limiter();
    let text = rule("a", "limit = 1; window = \"60s\"; key = \"jwt:sub\"");
    let rules = rules(&limiter, &format!("{text}{secrets}"));
    let passes = |client, token: &str| {
        get(client, "/").with("authorization", token).passes(&limiter, &rules, 0)
    };
    let claims = serde_json::json!({ "sub": "u1", "exp": 1 });
    assert!(passes(1, &token(first, &claims)));
    let later = serde_json::json!({ "sub": "u1", "exp": 2, "n": 1 });
    assert!(!passes(2, &token(second, &later)), "the same user by another token and address");
    assert!(passes(1, &token(first, &serde_json::json!({ "sub": "u2" }))));
    let forged = token("none of the two secrets", &serde_json::json!({ "sub": "u3" }));
    assert!(passes(3, &forged), "counts by its address");
    assert!(!passes(3, &token(first, &serde_json::json!({ "other": "u4" }))), "no such claim");
    assert!(!passes(3, "Bearer nonsense"));
}

#[test]
fn a_rule_counts_what_its_lists_say() {
    for (matches, counted, left_alone) in [
        ("methods = [\"POST\"]", get(1, "/").post(), get(1, "/")),
        ("not_path = \"/health\"", get(1, "/"), get(1, "/health")),
        ("not_hosts = \"b.example\", path = \"/x\"", get(1, "/x"), get(1, "/")),
        ("hosts = \"localhost\", methods = [\"GET\"]", get(1, "/"), get(1, "/").post()),
        ("headers = \"x-a\"", get(1, "/").with("x-a", "1"), get(1, "/").with("x-b", "1")),
        ("headers = \"x-a: 1\"", get(1, "/").with("x-a", "1"), get(1, "/").with("x-a", "2")),
        ("not_headers = \"x-a: 1\"", get(1, "/"), get(1, "/").with("x-a", "1")),
        ("clients = \"192.0.2.0/30\"", get(3, "/"), get(4, "/")),
        ("not_clients = [\"192.0.2.4\"]", get(3, "/"), get(4, "/")),
    ] {
        let limiter = limiter();
        let text =
            format!("limit = 1; window = \"60s\"; key = \"global\"; match = {{ {matches} }}");
        let rules = rules(&limiter, &rule("a", &text));
        assert!(counted.passes(&limiter, &rules, 0));
        assert!(!counted.passes(&limiter, &rules, 0), "{matches}");
        let decision = left_alone.of(&limiter, &rules, 0);
        assert!(decision.admits() && decision.fields(&rules).is_empty(), "{matches}");
    }
}

#[test]
fn exempt_requests_are_counted_by_no_rule() {
    let limiter = limiter();
    let text = rule("a", "limit = 1; window = \"60s\"")
        + "[rate_limits]\nexempt = [{ clients = \"192.0.2.9\" }, { path = \"/health\" }]";
    let rules = rules(&limiter, &text);
    for _ in 0..3 {
        assert!(get(9, "/").passes(&limiter, &rules, 0));
        assert!(get(1, "/health").passes(&limiter, &rules, 0));
    }
    assert_eq!(limiter.keys(), 0);
}

#[test]
fn costs_add_up_and_are_told() {
    let limiter = limiter();
    let text = "limit = 10; window = \"60s\"; cost = [{ path = \"/search\", cost = 6 }]";
    let rules = rules(&limiter, &rule("a", text));
    let decision = get(1, "/search").of(&limiter, &rules, 0);
    assert_eq!(told(&decision, &rules, "ratelimit"), "\"a\";r=4;t=60");
    let decision = get(1, "/search").of(&limiter, &rules, SECOND);
    assert_eq!(refusal(&decision, &rules), ("a".to_owned(), 59));
    for _ in 0..4 {
        assert!(get(1, "/").passes(&limiter, &rules, SECOND));
    }
    assert!(!get(1, "/").passes(&limiter, &rules, SECOND));
    assert!(get(1, "/search").passes(&limiter, &rules, 60 * SECOND));
}

#[test]
fn only_answers_that_count_take_quota_however_many_are_under_way() {
    let limiter = limiter();
    let text = "limit = 2; window = \"60s\"; count = { status = [401, \"5xx\"] }";
    let rules = rules(&limiter, &rule("a", text));
    let answer = |mut decision: Decision, status: u16, now| {
        decision.lease.answered(StatusCode::from_u16(status).unwrap(), None, now);
    };
    for status in [200, 403, 404] {
        answer(get(1, "/").of(&limiter, &rules, 0), status, 0);
    }
    let (one, two) = (get(1, "/").of(&limiter, &rules, 0), get(1, "/").of(&limiter, &rules, 0));
    assert_eq!(told(&two, &rules, "ratelimit"), "\"a\";r=0;t=60");
    let third = get(1, "/").of(&limiter, &rules, 0);
    assert_eq!(refusal(&third, &rules), ("a".to_owned(), 1), "two may fail yet");
    answer(one, 401, SECOND);
    drop(two); // the client has gone
    answer(get(1, "/").of(&limiter, &rules, 2 * SECOND), 503, 3 * SECOND);
    let decision = get(1, "/").of(&limiter, &rules, 3 * SECOND);
    assert_eq!(refusal(&decision, &rules), ("a".to_owned(), 58), "from the first answer on");
    assert!(get(1, "/").passes(&limiter, &rules, 61 * SECOND));
}

#[test]
fn requests_may_run_ahead_of_their_answers_as_far_as_the_rule_says() {
    let limiter = limiter();
    let text = "limit = 2; window = \"60s\"; count = { status = 404, ahead = 3 }";
    let rules = rules(&limiter, &rule("a", text));
    let mut open: Vec<_> = (0..5).map(|_| get(1, "/").of(&limiter, &rules, 0)).collect();
    assert!(open.iter().all(Decision::admits));
    assert!(!get(1, "/").passes(&limiter, &rules, 0));
    for decision in &mut open {
        decision.lease.answered(StatusCode::NOT_FOUND, None, 0);
    }
    assert!(!get(1, "/").passes(&limiter, &rules, 60 * SECOND - 1), "five have counted");
    assert!(get(1, "/").passes(&limiter, &rules, 60 * SECOND));
}

#[test]
fn who_goes_on_after_rejections_is_banned_and_each_time_for_longer() {
    let limiter = limiter();
    let text = "limit = 1; window = \"10s\"; ban = { after = 3, for = \"60s\", up_to = \"200s\" }";
    let rules = rules(&limiter, &rule("a", text));
    let ask = |seconds: u64| get(1, "/").of(&limiter, &rules, seconds * SECOND);
    let wait = |seconds| refusal(&ask(seconds), &rules).1;
    assert!(ask(0).admits());
    assert_eq!((wait(1), wait(2), wait(3)), (9, 8, 60), "the third rejection bans");
    assert_eq!((wait(12), wait(62)), (51, 1), "which does not grow longer");
    assert!(ask(63).admits());
    assert_eq!((wait(64), wait(65), wait(66)), (9, 8, 120));
    assert!(ask(186).admits());
    assert_eq!((wait(187), wait(188), wait(189)), (9, 8, 200), "up to the longest");
    assert!(ask(389).admits());
    assert_eq!(wait(390), 9);
    // Rejections that are a window apart are forgotten, and so is a ban, after its own length.
    assert!(ask(600).admits());
    assert_eq!((wait(601), wait(602), wait(603)), (9, 8, 60));
    assert!(get(2, "/").passes(&limiter, &rules, 603 * SECOND));
}

#[test]
fn so_many_may_be_in_flight_and_no_more() {
    let limiter = limiter();
    let rules = rules(&limiter, &rule("a", "in_flight = 2"));
    let one = get(1, "/").of(&limiter, &rules, 0);
    assert_eq!(told(&one, &rules, "ratelimit-policy"), "\"a\";q=2;qu=\"concurrent-requests\"");
    assert_eq!(told(&one, &rules, "ratelimit"), "\"a\";r=1");
    let mut two = get(1, "/").of(&limiter, &rules, 0);
    assert!(two.admits());
    assert_eq!(refusal(&get(1, "/").of(&limiter, &rules, 0), &rules), ("a".to_owned(), 1));
    assert!(get(2, "/").passes(&limiter, &rules, 0));
    two.lease.answered(StatusCode::OK, None, 0);
    assert!(!get(1, "/").passes(&limiter, &rules, 0), "its body is still under way");
    drop(two);
    assert!(get(1, "/").passes(&limiter, &rules, 0));
}

#[test]
fn a_reload_sweeps_away_the_keys_of_rules_that_are_no_more() {
    let limiter = limiter();
    let kept = rule("kept", "limit = 9; window = \"1h\"; key = \"path\"");
    let other = |limit| rule("o", &format!("limit = {limit}; window = \"1h\"; key = \"host\""));
    let count = rule("count", "limit = 1; window = \"1h\"; count = { status = 200 }");
    let text = format!("{kept}{}{count}", other(5));
    let rules = rules(&limiter, &text);
    let left_by_a_round = || {
        (0..Limiter::turns()).for_each(|turn| limiter.sweep(turn, 1));
        limiter.keys()
    };
    let mut open = get(1, "/").of(&limiter, &rules, 0);
    limiter.adopt(&config(&text));
    assert_eq!(left_by_a_round(), 3, "all are as they were");
    limiter.adopt(&config(&(kept + &other(6))));
    assert_eq!([left_by_a_round(), left_by_a_round()], [2, 2], "one waits for its answer");
    open.lease.answered(StatusCode::OK, None, 1);
    assert_eq!(left_by_a_round(), 1, "else it would stay for an hour");
    left_by_a_round();
    drop(get(1, "/").of(&limiter, &rules, 1));
    assert_eq!(left_by_a_round(), 2, "when all have gone, nobody is looked for any more");
}

#[test]
fn threads_on_one_key_admit_exactly_the_limit_while_the_table_is_swept() {
    let limiter = limiter();
    let text = rule("a", "limit = 500; window = \"60s\"")
        + &rule("b", "limit = 900; window = \"10s\"; key = \"global\"");
    let rules = rules(&limiter, &text);
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let one = |i| get(1, "/").passes(&limiter, &rules, i);
                    (0..1_000).filter(|&i| one(i)).count()
                })
            })
            .collect();
        // Later than every window: the sweep removes keys that nobody has counted in yet, again and
        // again.
        (0..60_000).for_each(|turn| limiter.sweep(turn, 1));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(admitted, 500);
}

#[test]
fn a_decision_allocates_nothing_once_its_keys_are_there() {
    let limiter = limiter();
    let text = rule("a", "limit = 100; window = \"60s\"")
        + &rule("b", "limit = 20; window = \"10s\"; key = [\"ip\", \"path\", \"header:x-a\"]")
        + &rule("c", "limit = 5000; window = \"1s\"; key = \"global\"; mode = \"shadow\"");
    let rules = rules(&limiter, &text);
    let ask = get(1, "/").with("x-a", "b");
    for second in 0..120 {
        ask.passes(&limiter, &rules, second * SECOND);
    }
    let counted = allocation_counter::measure(|| {
        for second in 120..10_000 {
            assert!(ask.passes(&limiter, &rules, second * SECOND));
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

proptest! {
    /// Whatever the rules and the traffic: who waits as it is told is admitted, and who comes a
    /// second earlier is not.
    #[test]
    fn retry_after_is_exact(
        bounds in prop::collection::vec((1_u64..30, 1_u64..100, 1_u64..4), 1..4),
        gaps in prop::collection::vec(0_u64..3_000, 1..300),
    ) {
        let limiter = limiter();
        let text: String = bounds
            .iter()
            .enumerate()
            .map(|(index, (limit, tenths, cost))| {
                // Each counts by another field that is always the same, so that none is idle.
                let window = tenths * 100;
                let (limit, key) = (limit.max(cost), format!("\"header:x-{index}\""));
                let text = format!("limit = {limit}; window = \"{window}ms\"; cost = {cost}");
                rule(&format!("r{index}"), &format!("{text}; key = {key}"))
            })
            .collect();
        let rules = rules(&limiter, &text);
        let ask = get(1, "/").with("x-0", "a").with("x-1", "a").with("x-2", "a");
        let mut now = 0;
        for gap in gaps {
            now += gap * 1_000_003;
            let decision = ask.of(&limiter, &rules, now);
            if decision.admits() {
                continue;
            }
            let (_, seconds) = refusal(&decision, &rules);
            let early = now + (seconds - 1) * SECOND;
            prop_assert!(!ask.passes(&limiter, &rules, early), "{seconds} s at {now}");
            now += seconds * SECOND;
            prop_assert!(ask.passes(&limiter, &rules, now), "{seconds} s until {now}");
        }
    }
}
