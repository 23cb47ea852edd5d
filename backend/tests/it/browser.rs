//! Steps performed in a real Chromium, on pages that a server of the test's own serves.

use std::time::{Duration, Instant};

use axum::Router;
use axum::response::{Html, Redirect};
use axum::routing::get;
use nomation::browser::{Browser, BrowserError, StepResult};
use nomation::domain::step::{STEPS_MAX, Steps};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

const SHOP: &str = include_str!("shop.html");

/// The first bytes of every PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Serves the pages for as long as the test's runtime lives, and gives their origin.
pub(crate) async fn pages() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let stuck = async || std::future::pending::<()>().await;
    let router = Router::new()
        .route("/", get(async || Html(SHOP)))
        .route("/stuck", get(stuck))
        .route("/round", get(async || Redirect::to("/round")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// One of the browsers that a worker may find, alone in a folder with what drives it.
pub(crate) struct OnlyOne(TempDir);

impl OnlyOne {
    pub(crate) fn each() -> [Self; 2] {
        ["chromium-headless-shell", "chromium"].map(|name| {
            let folder = tempfile::tempdir().unwrap();
            let path = std::env::var_os("PATH").unwrap();
            for program in ["setpriv", "chromedriver", name] {
                let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
                let found = found.find(|file| file.is_file());
                let found = found.expect("cargo xtask test installs both browsers");
                std::os::unix::fs::symlink(found, folder.path().join(program)).unwrap();
            }
            Self(folder)
        })
    }

    /// As `PATH` has it.
    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn browser(&self) -> Browser {
        Browser::find(self.path().as_ref()).unwrap()
    }
}

async fn run(browser: &OnlyOne, steps: Value) -> Vec<StepResult> {
    let steps = Steps::parse(&steps).unwrap();
    let (send, mut receive) = mpsc::channel(STEPS_MAX);
    browser.browser().run(&steps, send).await.unwrap();
    let mut results = Vec::new();
    while let Some(result) = receive.recv().await {
        results.push(result);
    }
    results
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_step_is_performed_on_a_page_that_changes() {
    let origin = pages().await;
    for browser in OnlyOne::each() {
        every_kind_of_step(&browser, &origin).await;
    }
}

async fn every_kind_of_step(browser: &OnlyOne, origin: &str) {
    let results = run(
        browser,
        json!([
            { "action": "navigate", "url": origin },
            { "action": "type", "selector": "#name", "text": "Ada ✓" },
            { "action": "select", "selector": "#colour", "option": "Green" },
            { "action": "waitFor", "selector": "#late" },
            { "action": "click", "selector": "#late" },
            { "action": "assertText", "selector": "#shown", "text": "Ada ✓ chose g, 0 uploaded" },
            { "action": "assertVisible", "selector": "#late" },
            { "action": "screenshot" },
        ]),
    )
    .await;
    for (index, result) in results.iter().enumerate() {
        assert_eq!((result.index, &result.failure), (index, &None));
    }
    assert_eq!(results.len(), 8);
    let pictures = results.iter().filter_map(|result| result.picture.as_ref());
    assert!(pictures.clone().all(|picture| picture.starts_with(PNG)));
    assert_eq!(pictures.count(), 1);
    let clicked = results[4].duration + results[5].duration;
    assert!(clicked >= Duration::from_millis(300), "the text was waited for: {clicked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_ends_the_run_with_its_reason_and_a_picture() {
    let origin = pages().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/");
    let round = format!("{origin}/round");
    for browser in &OnlyOne::each() {
        first_failure_ends(browser, &origin, [&nobody, &round]).await;
    }
}

async fn first_failure_ends(browser: &OnlyOne, origin: &str, [nobody, round]: [&str; 2]) {
    for (step, told) in [
        (json!({ "action": "waitFor", "selector": "#never", "timeoutMs": 200 }), "#never"),
        (json!({ "action": "click", "selector": "<<" }), "invalid selector"),
        (json!({ "action": "navigate", "url": nobody }), "ERR_CONNECTION_REFUSED"),
        (json!({ "action": "navigate", "url": round }), "the page cannot be opened"),
    ] {
        let results = run(
            browser,
            json!([
                { "action": "navigate", "url": origin }, step, { "action": "screenshot" },
            ]),
        )
        .await;
        assert_eq!(results.len(), 2, "{told}");
        let reason = results[1].failure.as_ref().unwrap().as_str();
        assert!(reason.contains(told), "{reason}");
        assert!(results[1].picture.as_ref().unwrap().starts_with(PNG));
    }
}

/// WebDriver's own way to type would read this machine's file and hand it to the page.
#[tokio::test(flavor = "multi_thread")]
async fn typing_into_a_file_field_uploads_nothing() {
    let origin = pages().await;
    for browser in &OnlyOne::each() {
        let results = run(
            browser,
            json!([
                { "action": "navigate", "url": origin },
                { "action": "type", "selector": "#upload", "text": "/etc/hostname" },
            ]),
        )
        .await;
        assert!(results[1].failure.is_some());
    }
}

/// A run that is cancelled in the middle of a page that never loads leaves no process behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_takes_its_browser_with_it() {
    let stuck = format!("{}/stuck", pages().await);
    for only in OnlyOne::each() {
        dropped_in_the_middle(only.browser(), &stuck).await;
    }
}

async fn dropped_in_the_middle(browser: Browser, stuck: &str) {
    let steps = json!([{ "action": "screenshot" }, { "action": "navigate", "url": stuck }]);
    let steps = Steps::parse(&steps).unwrap();
    let (send, mut receive) = mpsc::channel(1);
    let running = tokio::spawn(async move { browser.run(&steps, send).await });
    assert!(receive.recv().await.is_some());
    let profiles = browsers_of(std::process::id());
    assert!(!profiles.is_empty(), "the browser runs");
    running.abort();
    let started = Instant::now();
    while profiles.iter().any(|pid| std::fs::exists(format!("/proc/{pid}/cmdline")).unwrap()) {
        assert!(started.elapsed() < Duration::from_secs(20), "still there: {profiles:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The ids of the browsers' processes: descendants of `ancestor`.
pub(crate) fn browsers_of(ancestor: u32) -> Vec<u32> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parent = |pid: u32| -> Option<u32> {
        stat(pid)?.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line: Vec<u32> = std::iter::successors(Some(pid), |&pid| parent(pid)).collect();
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if line.contains(&ancestor) && pid != ancestor && program.starts_with("chrom") {
            pids.push(pid);
        }
    }
    pids
}

#[test]
fn a_missing_browser_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Browser::find(folder.path().as_os_str()).unwrap_err();
    assert!(matches!(missing, BrowserError::Missing("Chromium", _)));
    std::fs::write(folder.path().join("chromium"), "").unwrap();
    let missing = Browser::find(folder.path().as_os_str()).unwrap_err().to_string();
    assert!(missing.contains("chromedriver is not installed"), "{missing}");
    assert!(missing.contains("apt-get install chromium-driver"), "{missing}");
}
