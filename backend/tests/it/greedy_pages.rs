//! Pages that want more than there is: time, memory, disk, windows, files of the machine. Each
//! execution ends with its reason, and a worker that has seen them all has nothing left behind.
//!
//! All of it is the browser's business and not the database's, so one engine tells it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{Html, IntoResponse as _, Redirect};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::browser::browsers_of;
use crate::harness::{Engine, TestDatabase, TestServer};
use crate::program::Program;
use crate::tables::Tables;

/// What each page does, the steps after it was opened, how that ends, and what is told.
const PAGES: [(&str, &str, &str, &str); 12] = [
    ("<script>location.reload()</script>", "[]", "failed", "did not finish loading in time"),
    (
        "<p id=p></p><script>onload = () => setTimeout(() => { for (;;); }, 50)</script>",
        r##"[{ "action": "waitFor", "selector": "#never", "timeoutMs": 500 }]"##,
        "failed",
        "the browser does not answer",
    ),
    (
        "<script>for (let i = 0; i < 1e6; i++) document.write('<i>' + i + '</i>')</script>",
        "[]",
        "failed",
        "MiB of memory",
    ),
    (
        "<p id=p></p><script>p.textContent = 'x '.repeat(5e7)</script>",
        r##"[{ "action": "assertText", "selector": "#p", "text": "y" }]"##,
        "failed",
        "MiB of memory",
    ),
    (
        "<script>const all = []; setInterval(() => all.push(new Uint8Array(5e7).fill(1)))</script>",
        r##"[{ "action": "waitFor", "selector": "#never", "timeoutMs": 60000 }]"##,
        "failed",
        "MiB of memory",
    ),
    (
        "<script>for (let i = 0; i < 300; i++) document.write(`<iframe \
         src=http://${i}.localhost:${location.port}/9></iframe>`)</script>",
        r##"[{ "action": "waitFor", "selector": "#never", "timeoutMs": 60000 }]"##,
        "failed",
        "MiB of memory",
    ),
    (
        "<script>(async () => { const cache = await caches.open('c'); for (let i = 0;; i++) await \
         cache.put('/' + i, new Response(new Uint8Array(2e7))) })()</script>",
        r##"[{ "action": "waitFor", "selector": "#never", "timeoutMs": 60000 }]"##,
        "failed",
        "MiB of the disk",
    ),
    // A download that was kept would be told of as too much of the disk.
    (
        "<a id=a href=/endless download>x</a>",
        r##"[{ "action": "click", "selector": "#a" },
             { "action": "waitFor", "selector": "#never", "timeoutMs": 3000 }]"##,
        "failed",
        "#never",
    ),
    (
        "<p>0</p><script>let n = 0; setInterval(() => { for (let i = 0; i < 20; i++) \
         if (open('/9')) document.querySelector('p').textContent = ++n; }, 10)</script>",
        r##"[{ "action": "screenshot" },
             { "action": "assertText", "selector": "p", "text": "0" }]"##,
        "passed",
        "",
    ),
    (
        "<body style='width: 900000px; height: 900000px; background: linear-gradient(red, blue)'>",
        r##"[{ "action": "screenshot" }]"##,
        "passed",
        "",
    ),
    (
        "<p>here</p><iframe src=file:///etc/passwd></iframe><script>open('file:///etc/passwd'); \
         location = 'file:///etc/passwd'</script>",
        r##"[{ "action": "assertText", "selector": "p", "text": "here" }]"##,
        "passed",
        "",
    ),
    (
        "<div></div><script>setInterval(() => { document.querySelector('div').innerHTML = \
         '<button id=b>x</button>'; b.remove() }, 1)</script>",
        r##"[{ "action": "click", "selector": "#b" }]"##,
        "failed",
        "#b",
    ),
];

/// Serves the pages at `/0`, `/1`, …, and what no page can be; gives their origin.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let endless = |media_type: &'static str, pause: Duration| {
        async move || {
            let chunks = stream::repeat(()).then(move |()| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, Infallible>(Bytes::from("<p>x</p>".repeat(1000)))
            });
            let disposition = if media_type == "text/html" { "inline" } else { "attachment" };
            let headers = [(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, disposition)];
            (headers, Body::from_stream(chunks)).into_response()
        }
    };
    let mut router = Router::new()
        .route("/redirects", get(async || Redirect::to("/redirects")))
        .route("/slow", get(endless("text/html", Duration::from_millis(50))))
        .route("/endless", get(endless("application/octet-stream", Duration::ZERO)));
    for (place, (page, ..)) in PAGES.iter().enumerate() {
        let page = format!("<!doctype html><meta charset=utf-8>{page}");
        router = router.route(&format!("/{place}"), get(async move || Html(page)));
    }
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_its_share_and_nothing_is_left_behind() {
    let origin = serve().await;
    let database = TestDatabase::create(Engine::Sqlite).await;
    let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let worker = Program::worker(&[
        ("DATABASE_URL", &database.url),
        ("PATH", &path),
        ("TMPDIR", folder.path().to_str().unwrap()),
    ]);
    let tables = Tables::of(&database).await;
    let ada = server.client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let served = [
        ("redirects", "[]", "failed", "ERR_TOO_MANY_REDIRECTS"),
        ("slow", "[]", "failed", "did not finish loading in time"),
    ];
    let pages = PAGES
        .iter()
        .enumerate()
        .map(|(place, (_page, steps, status, told))| (place.to_string(), *steps, *status, *told));
    let served = served.map(|(path, steps, status, told)| (path.to_owned(), steps, status, told));
    let mut faults = Vec::new();
    for (path, steps, status, told) in served.into_iter().chain(pages) {
        let mut all = vec![json!({ "action": "navigate", "url": format!("{origin}/{path}") })];
        all.extend(serde_json::from_str::<Vec<Value>>(steps).unwrap());
        let test = json!({ "name": "t", "steps": all, "timeoutSeconds": 120 });
        let test = ada.made(&format!("{project}/tests"), &test).await;
        let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
        let execution = started.text("/id").parse().unwrap();
        tables.until_over(execution).await;
        let ended = ada.get(started.header("location")).await.body;
        let why = ended["failure"].as_str().unwrap_or_default();
        if ended["status"] != status || !why.contains(told) {
            faults.push(format!("{path}: not {status} with {told}, but {why}"));
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        let browsers = browsers_of(worker.id());
        if left > 0 || !browsers.is_empty() {
            faults.push(format!("{path} leaves {left} folders and the processes {browsers:?}"));
        }
    }
    drop(worker);
    database.remove().await;
    assert_eq!(faults, Vec::<String>::new());
}
