//! Everything below a project: created, listed, read, changed and deleted, by its owner alone.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::TestServer;

on_both_engines![
    every_resource_lives_from_creation_to_deletion,
    nobody_sees_what_another_owns,
    a_stale_change_is_refused,
    changes_at_the_same_time_lose_nothing,
    a_reference_stays_within_its_project,
    a_url_is_there_once_per_project,
    faults_are_told_where_they_are,
    a_suite_has_its_tests_in_order,
];

/// Where each resource is below a project, a new one, and a change of it.
fn resources() -> [(&'static str, Value, Value); 7] {
    let step = json!({ "action": "navigate", "url": "https://shop.example/" });
    [
        ("urls", json!({ "url": "https://a.example/?q=1" }), json!({ "analyzed": true })),
        (
            "auth-flows",
            json!({ "name": "f", "kind": "form", "loginUrl": "http://a/", "steps": [step] }),
            json!({ "kind": "oauth" }),
        ),
        (
            "page-states",
            json!({ "name": "s", "url": "https://a.example/", "state": { "a": [1, null, "é"] } }),
            json!({ "state": {} }),
        ),
        (
            "elements",
            json!({ "selector": "#buy", "elementType": "button", "confidence": 0.25 }),
            json!({ "confidence": 1, "discoveryState": "verified" }),
        ),
        (
            "browser-sessions",
            json!({ "name": "b", "expiresAt": "2026-01-31T12:00:00+01:00" }),
            json!({ "status": "closed", "expiresAt": null }),
        ),
        ("tests", json!({ "name": "t", "steps": [step] }), json!({ "timeoutSeconds": 3600 })),
        ("suites", json!({ "name": "s" }), json!({ "description": "line\nline" })),
    ]
}

pub(crate) async fn project(client: &Client) -> String {
    client.made("/api/projects", &json!({ "name": "Shop" })).await
}

async fn every_resource_lives_from_creation_to_deletion(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let project = project(&ada).await;
    for (segment, new, change) in resources() {
        let list = format!("{project}/{segment}");
        let created = ada.post(&list, &new).await;
        assert_eq!(created.status, 201, "{segment}: {}", created.body);
        let path = created.header("location");
        assert_eq!(path, format!("/api/{segment}/{}", created.text("/id")));
        assert_eq!(format!("/api/projects/{}", created.text("/projectId")), project);
        assert_eq!(ada.get(path).await.body, created.body, "what is stored is what was answered");
        assert_eq!(ada.get(&list).await.body, json!([created.body]));

        let changed = ada.patch(path, &change).await;
        assert_eq!(changed.status, 200, "{segment}: {}", changed.body);
        for (name, value) in change.as_object().unwrap() {
            let (is, wanted) = (&changed.body[name], value);
            assert!(is == wanted || is.as_f64() == wanted.as_f64(), "{segment} {name}: {is}");
        }
        assert_eq!(changed.body["version"], 2);
        assert_eq!(ada.get(path).await.body, changed.body);
        assert_eq!(ada.delete(path).await.status, 204);
        for gone in [ada.get(path).await, ada.delete(path).await, ada.patch(path, &change).await] {
            assert_eq!(gone.status, 404, "{segment}");
        }
    }
}

async fn nobody_sees_what_another_owns(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let project = project(&ada).await;
    for (segment, new, change) in resources() {
        let list = format!("{project}/{segment}");
        let path = ada.made(&list, &new).await;
        let before = ada.get(&path).await;
        for refused in [
            bob.get(&list).await,
            bob.post(&list, &new).await,
            bob.get(&path).await,
            bob.patch(&path, &change).await,
            bob.delete(&path).await,
        ] {
            assert_eq!(refused.status, 404, "{segment}");
        }
        assert_eq!(server.client.get(&path).await.status, 401);
        assert_eq!(ada.get(&path).await.body, before.body, "and nothing has changed");
        assert_eq!(ada.get(&format!("/api/{segment}/x")).await.status, 404);
    }
}

async fn a_stale_change_is_refused(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let path = project(&ada).await;
    let read = ada.get(&path).await;
    let tag = read.header("etag").to_owned();
    let known = ada.send_with((Method::GET, &path), ("if-none-match", &tag), &Value::Null).await;
    assert_eq!((known.status.as_u16(), known.header("etag")), (304, tag.as_str()));

    let rename = async |tag: &str, name: &str| {
        let body = json!({ "name": name });
        ada.send_with((Method::PATCH, &path), ("if-match", tag), &body).await
    };
    let first = rename(&tag, "First").await;
    assert_eq!(first.status, 200);
    assert_ne!(first.header("etag"), tag);
    for stale in [tag.as_str(), "\"x\"", &format!("W/{}", first.header("etag")), "", "1"] {
        assert_eq!(rename(stale, "Second").await.status, 412, "{stale}");
    }
    let delete = async |tag: &str| {
        ada.send_with((Method::DELETE, &path), ("if-match", tag), &Value::Null).await
    };
    assert_eq!(delete(&tag).await.status, 412);
    assert_eq!(ada.get(&path).await.text("/name"), "First");
    assert_eq!(rename("*", "Third").await.status, 200);
    let both = format!("\"7\", {}", ada.get(&path).await.header("etag"));
    assert_eq!(delete(&both).await.status, 204);
    assert_eq!(delete("*").await.status, 404);
}

async fn changes_at_the_same_time_lose_nothing(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let path = project(&ada).await;
    let (name, description) = (json!({ "name": "N" }), json!({ "description": "D" }));
    let (one, two) = tokio::join!(ada.patch(&path, &name), ada.patch(&path, &description));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    let now = ada.get(&path).await;
    assert_eq!((now.text("/name"), now.text("/description")), ("N".into(), "D".into()));
    assert_eq!(now.body["version"], 3);
}

async fn a_reference_stays_within_its_project(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let (here, there, bobs) = (project(&ada).await, project(&ada).await, project(&bob).await);
    let references = [
        ("elements", "sourceUrlId", "urls"),
        ("elements", "authFlowId", "auth-flows"),
        ("elements", "pageStateId", "page-states"),
        ("page-states", "authFlowId", "auth-flows"),
        ("browser-sessions", "authFlowId", "auth-flows"),
    ];
    let new = |segment| resources().into_iter().find(|(s, ..)| *s == segment).unwrap().1;
    for (segment, field, target) in references {
        let own = ada.made(&format!("{here}/{segment}"), &new(segment)).await;
        let mut ids = vec!["01890000-0000-7000-8000-000000000000".to_owned(), "x".to_owned()];
        for (client, elsewhere) in [(&ada, &there), (&bob, &bobs)] {
            let mut body = new(target);
            if target == "urls" {
                body["url"] = json!(format!("http://{}/", ids.len()));
            }
            let made = client.post(&format!("{elsewhere}/{target}"), &body).await;
            ids.push(made.text("/id"));
        }
        for id in ids {
            let mut body = new(segment);
            body[field] = json!(id);
            let created = ada.post(&format!("{here}/{segment}"), &body).await;
            let changed = ada.patch(&own, &json!({ field: id })).await;
            for refused in [created, changed] {
                let fault = format!("#/{field}");
                assert_eq!((refused.status.as_u16(), refused.faults()), (422, vec![&*fault]));
            }
        }
    }
}

async fn a_url_is_there_once_per_project(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let (one, two) = (project(&ada).await, project(&ada).await);
    let long = format!("https://a.example/{}", "x".repeat(2030));
    let body = json!({ "url": long });
    ada.made(&format!("{one}/urls"), &body).await;
    ada.made(&format!("{two}/urls"), &body).await;
    assert_eq!(ada.post(&format!("{one}/urls"), &body).await.status, 409);
    let other = ada.made(&format!("{one}/urls"), &json!({ "url": "http://b/" })).await;
    assert_eq!(ada.patch(&other, &body).await.status, 409);
}

async fn faults_are_told_where_they_are(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let project = project(&ada).await;
    for (segment, body, faults) in [
        ("urls", json!({ "url": "ftp://a/", "analyzed": 1 }), vec!["#/url", "#/analyzed"]),
        ("urls", json!({ "url": "http://ü/" }), vec!["#/url"]),
        ("page-states", json!({ "name": "a", "url": "http://a", "state": [] }), vec!["#/state"]),
        (
            "page-states",
            json!({ "name": "a", "url": "http://a", "state": { "a": ["\u{0}"] } }),
            vec!["#/state"],
        ),
        (
            "tests",
            json!({ "steps": [{ "action": "click", "selector": "" }], "timeoutSeconds": 0 }),
            vec!["#/name", "#/steps/0/selector", "#/timeoutSeconds"],
        ),
        ("suites", json!({ "name": "a", "nom": "b", "id": 1 }), vec!["#/id", "#/nom"]),
        (
            "browser-sessions",
            json!({ "name": "a", "expiresAt": "yesterday", "status": "open" }),
            vec!["#/status", "#/expiresAt"],
        ),
    ] {
        let answer = ada.post(&format!("{project}/{segment}"), &body).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (422, faults), "{body}");
    }
}

async fn a_suite_has_its_tests_in_order(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let project = project(&ada).await;
    let members = ada.made(&format!("{project}/suites"), &json!({ "name": "s" })).await + "/tests";
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let test = ada.post(&format!("{project}/tests"), &json!({ "name": name })).await;
        ids.push(test.text("/id"));
    }
    assert_eq!(ada.get(&members).await.body, json!({ "testIds": [] }));
    ids.reverse();
    let body = json!({ "testIds": ids });
    let answer = ada.put(&members, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    ids.swap(0, 2);
    let body = json!({ "testIds": ids });
    assert_eq!(ada.put(&members, &body).await.status, 200);
    assert_eq!(ada.get(&members).await.body, body);
    let stranger = "01890000-0000-7000-8000-000000000000";
    let bobs = format!("{}/tests", self::project(&bob).await);
    let bobs = bob.post(&bobs, &json!({ "name": "b" })).await.text("/id");
    for (wrong, fault) in [
        (json!([&ids[0], bobs]), "#/testIds/1"),
        (json!([&ids[0], &ids[0]]), "#/testIds/1"),
        (json!([&ids[0], stranger]), "#/testIds/1"),
        (json!("x"), "#/testIds"),
        (json!([1]), "#/testIds"),
        (json!(vec![stranger; 501]), "#/testIds"),
    ] {
        let answer = ada.put(&members, &json!({ "testIds": wrong })).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec![fault]));
    }
    assert_eq!(bob.get(&members).await.status, 404);
    assert_eq!(bob.put(&members, &body).await.status, 404);
    assert_eq!(ada.delete(&format!("/api/tests/{}", ids[1])).await.status, 204);
    assert_eq!(ada.get(&members).await.body, json!({ "testIds": [&ids[0], &ids[2]] }));
}
