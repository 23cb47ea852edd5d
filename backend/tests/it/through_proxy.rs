//! The whole way, as a user goes it: over TLS, through Gatehouse with its production configuration
//! (`hardened.toml`), to the API, and into a real Chromium.
//!
//! The client is curl, which trusts the proxy's development CA and nothing else.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::pages;
use crate::harness::{Engine, JWT_SECRET, TestDatabase};
use crate::program::Program;

/// Generous, since it only passes when a test fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running Gatehouse in front of one application.
struct Proxy {
    child: Child,
    https: u16,
    certs: TempDir,
}

/// What curl was answered.
struct Answer {
    status: u16,
    /// In lower case, one per line.
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        let shown = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", shown()))
    }

    fn header(&self, name: &str) -> &str {
        let named = |line: &&str| line.starts_with(&format!("{name}:"));
        let line = self.headers.lines().find(named).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim())
    }
}

impl Proxy {
    fn start(backend: u16) -> Self {
        let certs = tempfile::tempdir().unwrap();
        let [http, https, admin] = free_ports();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let child = Command::new(gatehouse())
            .arg("run")
            .arg("--config")
            .arg(root.join("proxy/tests/config/valid/hardened.toml"))
            .env("HTTP_PORT", http.to_string())
            .env("HTTPS_PORT", https.to_string())
            .env("ADMIN_PORT", admin.to_string())
            .env("BACKEND_PORT", backend.to_string())
            .env("CERTS_DIR", certs.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self { child, https, certs };
        let started = Instant::now();
        let ready = format!("http://127.0.0.1:{admin}/readyz");
        let is_ready = || Command::new("curl").args(["-sf", "-o", "/dev/null", &ready]).status();
        while !is_ready().unwrap().success() {
            assert!(started.elapsed() < PATIENCE, "Gatehouse does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        proxy
    }

    /// Sends a request, with the token and the JSON that there are.
    fn send(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let head = self.certs.path().join("head");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "90", "-X", method, "-D"]).arg(&head).arg("--cacert");
        curl.arg(self.certs.path().join("internal-ca.pem"));
        if !token.is_empty() {
            curl.arg("-H").arg(format!("authorization: Bearer {token}"));
        }
        if let Some(body) = body {
            curl.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
        }
        curl.arg(format!("https://localhost:{}{path}", self.https));
        let done = curl.output().expect("cargo xtask test installs curl");
        assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
        let headers = std::fs::read_to_string(head).unwrap().to_lowercase();
        let status = headers.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { status, headers, body: done.stdout }
    }

    /// Creates something, and gives its path.
    fn made(&self, path: &str, token: &str, body: &Value) -> String {
        let answer = self.send("POST", path, token, Some(body));
        assert_eq!(answer.status, 201, "{path}: {}", answer.json());
        answer.header("location").to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Already gone is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The proxy's program, which cargo puts beside this one.
fn gatehouse() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_nomation")).with_file_name("gatehouse");
    assert!(path.is_file(), "build it first: cargo build --package gatehouse");
    path
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<_> =
        (0..N).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|place| listeners[place].local_addr().unwrap().port())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_registration_to_results_through_the_hardened_proxy() {
    let page = pages().await;
    let database = TestDatabase::create(Engine::Postgres).await;
    let path = std::env::var("PATH").unwrap();
    let program = Program::serve(&[
        ("DATABASE_URL", &*database.url),
        ("JWT_SECRET", JWT_SECRET),
        ("PATH", &*path),
    ]);
    let port = program.client.address.rsplit_once(':').unwrap().1.parse().unwrap();
    // Everything from here on is one client with one request at a time.
    let told = tokio::task::spawn_blocking(move || go_the_whole_way(&Proxy::start(port), &page));
    told.await.unwrap();
    drop(program);
    database.remove().await;
}

fn go_the_whole_way(proxy: &Proxy, page: &str) {
    let credentials = json!({ "email": "ada@example.com", "password": "correct horse" });
    let registered = proxy.send("POST", "/api/auth/register", "", Some(&credentials));
    assert_eq!(registered.status, 201, "{}", registered.json());
    assert!(registered.header("strict-transport-security").contains("max-age=31536000"));
    assert_eq!(registered.header("x-frame-options"), "deny");
    let login = proxy.send("POST", "/api/auth/login", "", Some(&credentials));
    assert_eq!(login.status, 200, "{}", login.json());
    assert!(login.header("set-cookie").contains("nomation_refresh="));
    let token = login.json()["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(proxy.send("GET", "/metrics", &token, None).status, 404, "not for the outside");

    let project = proxy.made("/api/projects", &token, &json!({ "name": "Shop" }));
    let url = proxy.made(&format!("{project}/urls"), &token, &json!({ "url": page }));
    let url = url.rsplit_once('/').unwrap().1;
    for (selector, kind) in [("#name", "input"), ("#colour", "select")] {
        let element = json!({ "selector": selector, "elementType": kind, "sourceUrlId": url });
        proxy.made(&format!("{project}/elements"), &token, &element);
    }
    let steps = json!([
        { "action": "navigate", "url": page },
        { "action": "type", "selector": "#name", "text": "Ada" },
        { "action": "assertVisible", "selector": "#colour" },
        { "action": "screenshot" },
    ]);
    let test = json!({ "name": "Fill in", "steps": steps });
    let test = proxy.made(&format!("{project}/tests"), &token, &test);

    let started = proxy.send("POST", &format!("{test}/executions"), &token, None);
    assert_eq!(started.status, 202, "{}", started.json());
    let execution = started.header("location").to_owned();
    // The stream ends with the execution, which curl waits for.
    let events = proxy.send("GET", &format!("{execution}/events"), &token, None);
    let events = String::from_utf8(events.body).unwrap();
    let order = ["\"navigate\"", "\"type\"", "\"assertVisible\"", "event: end", "\"passed\""];
    let places: Vec<Option<usize>> = order.iter().map(|text| events.find(text)).collect();
    assert!(places.iter().all(Option::is_some) && events.contains("event: step"), "{events}");
    let ended = proxy.send("GET", &execution, &token, None).json();
    assert_eq!((&ended["status"], &ended["results"]["passed"]), (&json!("passed"), &json!(4)));
    let picture = proxy.send("GET", &format!("{execution}/steps/3/screenshot"), &token, None);
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert!(picture.body.starts_with(b"\x89PNG\r\n\x1a\n"));

    let suite = proxy.made(&format!("{project}/suites"), &token, &json!({ "name": "Nightly" }));
    let members = json!({ "testIds": [test.rsplit_once('/').unwrap().1] });
    let replaced = proxy.send("PUT", &format!("{suite}/tests"), &token, Some(&members));
    assert_eq!(replaced.status, 200, "{}", replaced.json());
    let started = proxy.send("POST", &format!("{suite}/executions"), &token, None);
    assert_eq!(started.status, 202, "{}", started.json());
    let results = until_over(proxy, started.header("location"), &token);
    assert_eq!((&results["status"], &results["results"]["passed"]), (&json!("passed"), &json!(1)));
}

/// Asks until an execution is over, seldom enough for a limit of 100 a minute.
fn until_over(proxy: &Proxy, path: &str, token: &str) -> Value {
    let started = Instant::now();
    loop {
        let answer = proxy.send("GET", path, token, None);
        assert_eq!(answer.status, 200, "{}", answer.json());
        let answer = answer.json();
        if !["queued", "running"].contains(&answer["status"].as_str().unwrap()) {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_secs(1));
    }
}
