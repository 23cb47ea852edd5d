//! Executions: asked for once however often the request comes, read, and called off.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::harness::TestServer;

on_both_engines![
    an_execution_is_accepted_and_called_off,
    the_same_key_is_the_same_execution,
    requests_with_one_key_at_the_same_time_make_one_execution,
    nobody_executes_what_another_owns,
    a_test_takes_its_executions_along,
    an_execution_that_is_over_is_done_once_more,
];

/// A test and a suite of a new project.
async fn things(client: &Client) -> [String; 2] {
    let project = client.made("/api/projects", &json!({ "name": "Shop" })).await;
    [
        client.made(&format!("{project}/tests"), &json!({ "name": "t" })).await,
        client.made(&format!("{project}/suites"), &json!({ "name": "s" })).await,
    ]
}

async fn start(client: &Client, thing: &str, key: &str) -> Answer {
    let path = format!("{thing}/executions");
    client.send_with((Method::POST, &path), ("idempotency-key", key), &Value::Null).await
}

async fn an_execution_is_accepted_and_called_off(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    for thing in things(&ada).await {
        let list = format!("{thing}/executions");
        let started = ada.post(&list, &json!({})).await;
        assert_eq!(started.status, 202, "{}", started.body);
        assert_eq!(started.text("/status"), "queued");
        assert!(started.body["startedAt"].is_null() && started.body["finishedAt"].is_null());
        let path = started.header("location");
        assert_eq!(ada.get(path).await.body, started.body);
        assert_eq!(ada.get(&list).await.body, json!([started.body]));
        assert_eq!(ada.patch(path, &json!({ "status": "passed" })).await.status, 405);

        let cancel = format!("{path}/cancel");
        let cancelled = ada.post(&cancel, &Value::Null).await;
        assert_eq!(
            (cancelled.status.as_u16(), cancelled.text("/status")),
            (200, "cancelled".into())
        );
        assert!(cancelled.body["finishedAt"].is_string());
        assert_eq!(ada.post(&cancel, &Value::Null).await.status, 409);
        assert_eq!(ada.get(path).await.body, cancelled.body);
        assert_eq!(ada.delete(path).await.status, 204);
    }
    let [test, _] = things(&ada).await;
    let first = ada.post(&format!("{test}/executions"), &Value::Null).await;
    let queued = ada.get(&format!("{test}/executions?status=queued&limit=1")).await;
    assert_eq!(queued.body, json!([first.body]));
    let sorted = ada.get(&format!("{test}/executions?sort=-startedAt")).await;
    assert_eq!(sorted.body, json!([first.body]), "what has not started is not lost");
}

async fn the_same_key_is_the_same_execution(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let [test, suite] = things(&ada).await;
    let first = start(&ada, &test, "key-1").await;
    let again = start(&ada, &test, "key-1").await;
    assert_eq!((again.status.as_u16(), &again.body), (202, &first.body));
    assert_eq!(again.header("location"), first.header("location"));
    let other = start(&ada, &test, "key-2").await;
    assert_ne!(other.header("location"), first.header("location"));
    assert_eq!(start(&ada, &suite, "key-1").await.status, 422, "another request, the same key");
    let [of_bob, _] = things(&bob).await;
    assert_eq!(start(&bob, &of_bob, "key-1").await.status, 202, "another user's key is another");
    for wrong in ["", " ", "a b", &"x".repeat(256)] {
        assert_eq!(start(&ada, &test, wrong).await.status, 400, "{wrong:?}");
    }
    let all = ada.get(&format!("{test}/executions")).await;
    assert_eq!(all.body.as_array().unwrap().len(), 2);
    assert_eq!(
        start(&ada, "/api/tests/01890000-0000-7000-8000-000000000000", "k").await.status,
        404
    );
    assert_eq!(start(&ada, &test, "k").await.status, 202, "a refused request leaves its key free");
}

async fn requests_with_one_key_at_the_same_time_make_one_execution(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let [test, _] = things(&ada).await;
    let (one, two, three) = tokio::join!(
        start(&ada, &test, "key"),
        start(&ada, &test, "key"),
        start(&ada, &test, "key")
    );
    for answer in [&one, &two, &three] {
        assert_eq!((answer.status.as_u16(), &answer.body), (202, &one.body));
    }
    let all = ada.get(&format!("{test}/executions")).await;
    assert_eq!(all.body.as_array().unwrap().len(), 1);
}

async fn nobody_executes_what_another_owns(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    for thing in things(&ada).await {
        let started = start(&ada, &thing, &thing).await;
        let path = started.header("location");
        for refused in [
            start(&bob, &thing, &thing).await,
            bob.get(&format!("{thing}/executions")).await,
            bob.get(path).await,
            bob.delete(path).await,
            bob.post(&format!("{path}/cancel"), &Value::Null).await,
        ] {
            assert_eq!(refused.status, 404);
        }
        assert_eq!(ada.get(path).await.body, started.body, "and nothing has changed");
    }
}

async fn a_test_takes_its_executions_along(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    for thing in things(&ada).await {
        let started = start(&ada, &thing, &thing).await;
        assert_eq!(ada.delete(&thing).await.status, 204);
        assert_eq!(ada.get(started.header("location")).await.status, 404);
        assert_eq!(start(&ada, &thing, &thing).await.status, 404, "its key names nothing any more");
    }
}

async fn an_execution_that_is_over_is_done_once_more(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    for thing in things(&ada).await {
        let steps = json!([{ "action": "screenshot" }]);
        let is_test = thing.starts_with("/api/tests/");
        if is_test {
            assert_eq!(ada.patch(&thing, &json!({ "steps": steps })).await.status, 200);
        }
        let first = start(&ada, &thing, &thing).await;
        let retry = format!("{}/retry", first.header("location"));
        assert_eq!(ada.post(&retry, &Value::Null).await.status, 409, "it is not over");
        let cancel = format!("{}/cancel", first.header("location"));
        assert_eq!(ada.post(&cancel, &Value::Null).await.status, 200);
        if is_test {
            assert_eq!(ada.patch(&thing, &json!({ "steps": [] })).await.status, 200);
        }

        let key = ("idempotency-key", retry.as_str());
        let again = ada.send_with((Method::POST, &retry), key, &Value::Null).await;
        assert_eq!((again.status.as_u16(), again.text("/status").as_str()), (202, "queued"));
        assert_ne!(again.header("location"), first.header("location"));
        if is_test {
            assert_eq!(again.body["steps"], steps, "what it did, not what the test says now");
        }
        let twice = ada.send_with((Method::POST, &retry), key, &Value::Null).await;
        assert_eq!(twice.body, again.body);
        assert_eq!(bob.post(&retry, &Value::Null).await.status, 404);
        let all = ada.get(&format!("{thing}/executions")).await;
        assert_eq!(all.body.as_array().unwrap().len(), 2);

        assert_eq!(ada.delete(again.header("location")).await.status, 204);
        let deleted = ada.send_with((Method::POST, &retry), key, &Value::Null).await;
        assert_eq!(deleted.status, 404);
        assert!(deleted.text("/detail").contains("has been deleted"), "{}", deleted.body);
    }
}
