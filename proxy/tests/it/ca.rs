//! What a CA can ask for, and what it can do wrong: the old certificate goes on being served, the
//! reason is visible, and recovery needs no hand.

use std::process::Command;

use serde_json::{Value, json};

use crate::acme::{certs, text, text_with};
use crate::harness::certificate::{openssl, until};
use crate::harness::{Asked, Fate, Front, Pebble, TestProxy, TestUpstream};

#[tokio::test]
async fn an_account_is_bound_to_the_one_that_the_operator_has_with_the_ca() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let more = json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": key },
    });
    let (pebble, upstream) = (Pebble::configured(3_600, &more), TestUpstream::start().await);
    let eab = format!("eab = {{ key_id = \"kid-2\", hmac_key = \"{key}\" }}");
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, &eab));
    let failed = until(&proxy, |of| of["failures"] != 0).await;
    assert!(
        failed["error"].as_str().unwrap().contains("references a key that is not known"),
        "{failed:#}"
    );
    proxy.edit("kid-2", "kid-1");
    proxy.reload().await.unwrap();
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["issued"] == true).await;
    proxy.finish().await;
}

#[tokio::test]
async fn when_a_ca_fails_repeatedly_the_next_is_asked_and_later_the_first_again() {
    let (mut first, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let second = Pebble::start(3_600);
    let acme = format!("challenges = \"http-01\"\n[[acme.fallback]]\n{}", second.keys());
    let text = text(&first, &upstream, &acme);
    let both = format!("\"{}\", \"{}\"", first.http(), second.http());
    let text = text.replace(&format!("\"{}\"", first.http()), &both);
    first.stop();
    let proxy = TestProxy::start_text(&text);
    let of_second = |of: &Value| second.keys().contains(of["directory"].as_str().unwrap());
    let obtained = until(&proxy, |of| of["issued"] == true).await;
    assert!(of_second(&obtained) && obtained["failures"] == 0, "{obtained:#}");
    assert!(openssl(proxy.https(), &second.root().await, "app.example.com", &[]).0);
    assert!(first.run());
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| !of_second(of) && of["failures"] == 0).await;
    assert!(openssl(proxy.https(), &first.root().await, "app.example.com", &[]).0);
    proxy.finish().await;
}

#[tokio::test]
async fn an_account_that_the_ca_has_forgotten_is_made_anew() {
    let (mut pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, ""));
    let first = until(&proxy, |of| of["issued"] == true).await;
    assert!(pebble.run(), "it begins with nothing");
    assert!(certs(&proxy, &["renew"]).0);
    let second = until(&proxy, |of| of["obtained_at"] != first["obtained_at"]).await;
    assert_eq!(second["failures"], 0, "{second:#}");
    assert!(openssl(proxy.https(), &pebble.root().await, "app.example.com", &[]).0);
    proxy.finish().await;
}

/// The account of the only CA, as the store has it.
fn account(proxy: &TestProxy) -> (std::path::PathBuf, String) {
    let files = std::fs::read_dir(proxy.store("")).unwrap().map(|entry| entry.unwrap().path());
    let file = { files }.find(|path| path.to_str().unwrap().ends_with(".account.json")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    (file, text)
}

#[tokio::test]
async fn the_key_of_the_account_is_replaced_and_a_crash_in_between_is_survived() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let proxy = TestProxy::start_text(&text(&pebble, &upstream, ""));
    let first = until(&proxy, |of| of["issued"] == true).await;
    let (file, before) = account(&proxy);
    // While the CA is asked when to renew, it is no time for it.
    let (mut replaced, mut said) = certs(&proxy, &["rollover"]);
    while said.contains("ask again later") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        (replaced, said) = certs(&proxy, &["rollover"]);
    }
    assert!(replaced && said.contains("new account key with https://localhost:"), "{said}");
    let (_, after) = account(&proxy);
    let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["id"].clone();
    assert!(before != after && id(&before) == id(&after));
    assert!(certs(&proxy, &["renew"]).0);
    // Nor is it while the store is changed below: that a process ended in between, it cannot see.
    let asked = |of: &Value| !of["ask_at"].is_null();
    let second = until(&proxy, |of| of["obtained_at"] != first["obtained_at"] && asked(of)).await;
    // It ended when the CA had the new key, and the store the old one.
    std::fs::write(&file, &before).unwrap();
    std::fs::write(format!("{}.replacing", file.display()), "").unwrap();
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["obtained_at"] != second["obtained_at"]).await;
    assert_ne!(id(&account(&proxy).1), id(&before), "a new account");
    proxy.finish().await;
}

#[tokio::test]
async fn an_address_gets_a_certificate() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
        let acme = format!("challenges = \"{challenge}\"");
        let text = text(&pebble, &upstream, &acme).replace("app.example.com", "127.0.0.1");
        let proxy = TestProxy::start_text(&text);
        until(&proxy, |of| of["issued"] == true).await;
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &proxy.https().to_string(), "-noservername"])
            .args(["-verify_ip", "127.0.0.1", "-verify_return_error", "-CAfile"])
            .arg(pebble.root().await)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        proxy.finish().await;
    }
}

/// A problem document of a CA.
fn problem(status: u16, kind: &str, detail: &str, more: Vec<(&'static str, String)>) -> Fate {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
    let mut fields = vec![("content-type", "application/problem+json".to_owned())];
    fields.extend(more);
    Fate::Say(status, fields, body.to_string())
}

/// Another certificate than the CA's. The answer may also be that the nonce is refused.
fn certificate(other: impl FnOnce(&str) -> String + Send + 'static) -> Fate {
    Fate::Edit(Box::new(move |_, body| {
        if body.contains("BEGIN CERTIFICATE") {
            *body = other(body);
        }
    }))
}

#[tokio::test]
async fn a_ca_that_answers_nonsense_or_throttles_changes_nothing_but_the_reason() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    let first = until(&proxy, |of| of["issued"] == true).await;
    let root = pebble.root().await;
    let other = rcgen::generate_simple_self_signed(["app.example.com".to_owned()]).unwrap();
    let other = other.cert.pem();
    type MakeFate = Box<dyn Fn() -> Fate + Send>;
    let fates: [(&str, &str, MakeFate); 8] = [
        (
            "/order-plz",
            "try again in an hour",
            Box::new(|| {
                let wait = vec![("retry-after", "3600".to_owned())];
                problem(429, "rateLimited", "try again in an hour", wait)
            }),
        ),
        (
            "/order-plz",
            "we are closed",
            Box::new(|| problem(503, "serverInternal", "we are closed", vec![])),
        ),
        ("/dir", "expected value", Box::new(|| Fate::Say(200, vec![], "<html>".to_owned()))),
        ("/dir", "invalid HTTP", Box::new(|| Fate::Bytes(b"\x15\x03\x01\x00\x02".to_vec()))),
        ("/dir", "connection closed", Box::new(|| Fate::Bytes(Vec::new()))),
        ("/dir", "length limit", Box::new(|| Fate::Say(200, vec![], " ".repeat(2 << 20)))),
        (
            "/certZ/",
            "is refused: it is not a private key",
            Box::new(|| certificate(|chain| chain[..chain.len() / 2].to_owned())),
        ),
        (
            "/certZ/",
            "is refused: its key does not belong to it",
            Box::new(move || {
                let other = other.clone();
                certificate(move |_| other)
            }),
        ),
    ];
    for (path, why, fate) in fates {
        front.decide(move |asked| match asked.path.starts_with(path) {
            true => fate(),
            false => Fate::Pass,
        });
        assert!(certs(&proxy, &["renew"]).0);
        let state =
            until(&proxy, |of| of["error"].as_str().is_some_and(|error| error.contains(why)));
        let state = state.await;
        assert_eq!((&state["not_after"], &state["issued"]), (&first["not_after"], &json!(true)));
        let at = |key: &str| state[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let waits = at("retry_at").as_second() - jiff::Timestamp::now().as_second();
        assert!(waits > 3_000 || !why.contains("hour"), "{state:#}");
        assert!(openssl(proxy.https(), &root, "app.example.com", &[]).0, "{why}");
    }
    front.decide(|_| Fate::Pass);
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["failures"] == 0).await;
    proxy.finish().await;
}

#[tokio::test]
async fn an_order_outlives_a_ca_that_has_no_time_for_it() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    let mut last = until(&proxy, |of| of["issued"] == true).await["obtained_at"].clone();
    let later = |seconds| jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let date = later(7_200).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    // How long it asks to wait, and at least and at most how many seconds are waited.
    let busy = || problem(503, "serverInternal", "we are busy", vec![]);
    let throttled =
        |wait: String| problem(429, "rateLimited", "too many", vec![("retry-after", wait)]);
    let hours = |wait: &'static str| -> Fate {
        Fate::Edit(Box::new(move |headers, body| {
            *body = body.replace("\"ready\"", "\"pending\"").replace("\"valid\"", "\"pending\"");
            headers.insert("retry-after", wait.parse().unwrap());
        }))
    };
    type MakeFate = Box<dyn Fn() -> Fate + Send>;
    let fates: [(&str, i64, i64, MakeFate); 5] = [
        ("we are busy", 5, 60, Box::new(busy)),
        ("too many", 3_500, 3_700, Box::new(move || throttled("3600".to_owned()))),
        ("too many", 7_000, 7_300, Box::new(move || throttled(date.clone()))),
        // It answers, and has not come to an end.
        ("has not come to an end", 3_500, 3_700, Box::new(move || hours("3600"))),
        // For ever, which would end no clock's time.
        (
            "has not come to an end",
            690_000,
            700_000,
            Box::new(move || hours("18446744073709551615")),
        ),
    ];
    for (why, least, most, fate) in fates {
        let orders = front.done("/order-plz");
        front.decide(move |asked| match asked.path.starts_with("/my-order/") {
            true => fate(),
            false => Fate::Pass,
        });
        assert!(certs(&proxy, &["renew"]).0);
        let failed = until(&proxy, |of| of["error"].as_str().is_some_and(|e| e.contains(why)));
        let failed = failed.await;
        let retry_at: jiff::Timestamp = failed["retry_at"].as_str().unwrap().parse().unwrap();
        assert!((later(least)..later(most)).contains(&retry_at), "{failed:#}");
        front.decide(|_| Fate::Pass);
        assert!(certs(&proxy, &["renew"]).0);
        let state = until(&proxy, |of| of["obtained_at"] != last && of["failures"] == 0).await;
        last = state["obtained_at"].clone();
        assert_eq!(front.done("/order-plz"), orders + 1, "{why}: the order was taken up again");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_ca_that_dribbles_or_sends_elsewhere_is_given_up() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    // Each certificate brings one more question, when to renew it, which is not to meet the fates.
    let is_next = |of: &Value, last: &Value| of["obtained_at"] != *last && !of["ask_at"].is_null();
    let mut last = until(&proxy, |of| is_next(of, &Value::Null)).await["obtained_at"].take();
    let here = format!("https://localhost:{}/dir", front.port());
    for (why, status, location) in
        [("EOF while parsing", 302, here.as_str()), ("EOF while parsing", 308, "//[nonsense")]
    {
        let location = location.to_owned();
        front.decide(move |asked| match asked.path == "/dir" {
            true => Fate::Say(status, vec![("location", location.clone())], String::new()),
            false => Fate::Pass,
        });
        let asked = front.asked("/dir").len();
        assert!(certs(&proxy, &["renew"]).0);
        until(&proxy, |of| of["error"].as_str().is_some_and(|e| e.contains(why))).await;
        assert_eq!(front.asked("/dir").len(), asked + 1, "nobody is followed in a circle");
        front.decide(|_| Fate::Pass);
        assert!(certs(&proxy, &["renew"]).0);
        last = until(&proxy, |of| is_next(of, &last)).await["obtained_at"].take();
    }
    front.decide(|_| Fate::Dribble);
    assert!(certs(&proxy, &["renew"]).0);
    let failed = until(&proxy, |of| of["failures"] == 1).await;
    assert!(failed["error"].as_str().unwrap().contains("no answer in time"), "{failed:#}");
    assert!(openssl(proxy.https(), &pebble.root().await, "app.example.com", &[]).0);
    proxy.finish().await;
}

#[tokio::test]
async fn a_ca_that_never_answers_is_given_up_in_time() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    front.decide(|_| Fate::Hang);
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    let failed = until(&proxy, |of| of["failures"] == 1).await;
    assert!(failed["error"].as_str().unwrap().contains("no answer in time"), "{failed:#}");
    front.decide(|_| Fate::Pass);
    until(&proxy, |of| of["issued"] == true).await;
    proxy.finish().await;
}

/// Makes a CA say when to renew: in a window that is so many seconds from now. Whether it knows
/// `replaces` is another question.
fn renewal_info(front: &Front, from: i64, to: i64, knows_replaces: bool) {
    let port = front.port();
    front.decide(move |asked: &Asked| match asked.path.as_str() {
        "/dir" => Fate::Edit(Box::new(move |_, body| {
            let mut directory: Value = serde_json::from_str(body).unwrap();
            directory["renewalInfo"] = json!(format!("https://localhost:{port}/renewal-info"));
            *body = directory.to_string();
        })),
        path if path.starts_with("/renewal-info/") => {
            let at = |seconds| {
                let now = jiff::Timestamp::now();
                (now + jiff::SignedDuration::from_secs(seconds)).to_string()
            };
            let body = json!({ "suggestedWindow": { "start": at(from), "end": at(to) } });
            // A CA should say when to ask again, and need not (RFC 9773, 4.3).
            let again = knows_replaces.then(|| ("retry-after", "60".to_owned()));
            Fate::Say(200, again.into_iter().collect(), body.to_string())
        }
        "/order-plz" if knows_replaces => {
            let replaces = asked.payload["replaces"].clone();
            Fate::Edit(Box::new(move |_, body| {
                let mut order: Value = serde_json::from_str(body).unwrap();
                if !replaces.is_null() {
                    order["replaces"] = replaces;
                }
                *body = order.to_string();
            }))
        }
        _ => Fate::Pass,
    });
}

#[tokio::test]
async fn the_ca_says_when_to_renew_and_is_told_what_is_replaced() {
    let (pebble, upstream) = (Pebble::start(86_400), TestUpstream::start().await);
    let front = Front::start(&pebble);
    renewal_info(&front, 7_200, 10_800, true);
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    let state = until(&proxy, |of| of["window"].is_array()).await;
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (start, end) = (at(&state["window"][0]), at(&state["window"][1]));
    assert!((start..=end).contains(&at(&state["renew_at"])), "{state:#}");
    assert!(front.asked("/order-plz").iter().all(|asked| asked.payload["replaces"].is_null()));
    let (mut proxy, mut not_after) = (proxy, state["not_after"].clone());
    for knows_replaces in [true, false] {
        // As it is when a certificate was revoked: the window is past.
        renewal_info(&front, -7_200, -3_600, knows_replaces);
        let before = front.asked("/order-plz").len();
        let file = proxy.store("app.example.com.certificate.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut life: Value = serde_json::from_str(&text).unwrap();
        life["obtained_at"] = json!("2026-01-01T00:00:00Z");
        life["ask_at"] = Value::Null;
        std::fs::write(&file, life.to_string()).unwrap();
        proxy = proxy.restart().await;
        let state = until(&proxy, |of| of["not_after"] != not_after && of["window"].is_array());
        let state = state.await;
        assert_eq!(state["failures"], 0, "{state:#}");
        not_after = state["not_after"].clone();
        let orders = front.asked("/order-plz").split_off(before);
        assert!(orders.iter().any(|asked| asked.payload["replaces"].is_string()), "{orders:?}");
        // It says so of the new one, too, which is no reason to order without end.
        let wait = at(&state["renew_at"]).as_second() - jiff::Timestamp::now().as_second();
        assert!(wait > 3_000, "{state:#}");
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_profile_is_asked_for_if_the_ca_has_it() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    front.decide(|asked| match asked.path.as_str() {
        "/dir" => Fate::Edit(Box::new(|_, body| {
            let mut directory: Value = serde_json::from_str(body).unwrap();
            directory["meta"]["profiles"] = json!({ "classic": "long", "shortlived": "short" });
            *body = directory.to_string();
        })),
        _ => Fate::Pass,
    });
    let acme = format!("{}profile = \"shortlife\"", front.keys());
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &acme));
    let failed = until(&proxy, |of| of["failures"] != 0).await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("no profile `shortlife`; it has: ") && error.contains("classic"));
    assert!(front.asked("/order-plz").is_empty());
    proxy.edit("\"shortlife\"", "\"shortlived\"");
    proxy.reload().await.unwrap();
    assert!(certs(&proxy, &["renew"]).0);
    until(&proxy, |of| of["issued"] == true).await;
    assert!(front.asked("/order-plz").iter().all(|a| a.payload["profile"] == "shortlived"));
    proxy.finish().await;
}
