//! Pages that are written to harm whoever tests them: the execution ends with a reason, and the
//! worker lives on.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};

use crate::harness::{Engine, TestDatabase, TestServer};
use crate::tables::Tables;

/// What each page does, the steps after it was opened, how that ends, and what is told.
const PAGES: [(&str, &str, &str, &str); 5] = [
    (
        "<script>setInterval(() => alert('a\\0b\\x1b[31m\\x9fz'), 1)</script>",
        r##"[{ "action": "waitFor", "selector": "#never", "timeoutMs": 200 }]"##,
        "failed",
        "step 2: after 200ms: ",
    ),
    (
        "<title>\\0</title><p id=p></p><script>p.textContent = 'a\\0b'</script>",
        r##"[{ "action": "assertText", "selector": "#p", "text": "zz" }]"##,
        "failed",
        "#p shows",
    ),
    (
        "<p id=p></p><script>p.textContent = 'a\\ud800b'</script>",
        r##"[{ "action": "assertText", "selector": "#p", "text": "zz" }]"##,
        "failed",
        "step 2",
    ),
    ("<script>for (;;) alert('again')</script>", "[]", "passed", ""),
    ("<script>window.close()</script><p>x</p>", r#"[{ "action": "screenshot" }]"#, "passed", ""),
];

/// Serves the pages at `/0`, `/1`, …, and gives their origin.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let mut router = Router::new();
    for (place, (page, ..)) in PAGES.iter().enumerate() {
        let page = format!("<!doctype html><meta charset=utf-8>{page}");
        router = router.route(&format!("/{place}"), get(async move || Html(page)));
    }
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

async fn each_ends_with_a_reason(engine: Engine) {
    let origin = serve().await;
    let database = TestDatabase::create(engine).await;
    let server = TestServer::start(&database.url, &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let tables = Tables::of(&database).await;
    for (place, (page, steps, status, told)) in PAGES.iter().enumerate() {
        let mut all = vec![json!({ "action": "navigate", "url": format!("{origin}/{place}") })];
        all.extend(serde_json::from_str::<Vec<Value>>(steps).unwrap());
        let test = json!({ "name": "t", "steps": all, "timeoutSeconds": 60 });
        let test = ada.made(&format!("{project}/tests"), &test).await;
        let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
        let execution = started.text("/id").parse().unwrap();
        tables.until(status, execution).await;
        let why = tables.failure(execution).await.unwrap_or_default();
        println!("{page}: {why}");
        assert!(why.contains(told), "{page}: {why}");
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ends_with_a_reason_on_sqlite() {
    each_ends_with_a_reason(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ends_with_a_reason_on_postgres() {
    each_ends_with_a_reason(Engine::Postgres).await;
}
