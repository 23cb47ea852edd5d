//! Around the requests: stopping, logs, the Unix socket, CORS, the OpenAPI document.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::client::send_over;
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer};
use crate::program::{Program, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight_and_ends_with_0() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let mut program = Program::serve(&[("DATABASE_URL", &database.url)]);
    let body = json!({ "email": "ada@example.com", "password": "correct horse" }).to_string();
    let (first, rest) = body.split_at(10);
    let mut stream = TcpStream::connect(&program.client.address).await.unwrap();
    let head = format!(
        "POST /api/auth/register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server has this request in its hands once it answers another that came later.
    assert_eq!(program.client.get("/health").await.status, 200);

    program.terminate();
    program.line_with("stopping");
    while TcpStream::connect(&program.client.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(program.exit_code(), Some(0));
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_a_record_and_no_harm() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let program = Program::serve(&[("DATABASE_URL", &database.url)]);
    let mut stream = TcpStream::connect(&program.client.address).await.unwrap();
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                x-request-id: gone\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(program.client.get("/health").await.status, 200);
    drop(stream);
    assert!(program.line_with("gone").contains("/api/auth/login"));
    assert_eq!(program.client.get("/health").await.status, 200);
    drop(program);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_logs_json_under_the_id_that_the_proxy_gave() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    assert_eq!(run(&["migrate"], &[("DATABASE_URL", &database.url)]).0, 0);
    let program = Program::serve(&[
        ("APP_ENV", "production"),
        ("DATABASE_URL", &database.url),
        ("JWT_SECRET", JWT_SECRET),
    ]);
    let request = program.client.request(Method::GET, "/api/projects?token=hunter2");
    let request = request.header("x-request-id", "from-the-proxy").body(Full::default()).unwrap();
    assert_eq!(program.client.send(request).await.status, 401);
    let line = program.line_with("from-the-proxy");
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["span"]["id"], "from-the-proxy");
    assert_eq!(
        (&record["method"], &record["path"], &record["status"]),
        (&json!("GET"), &json!("/api/projects"), &json!(401))
    );
    assert!(record["duration_us"].is_u64() && !line.contains("hunter2"), "{line}");
    drop(program);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_and_a_dead_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nomation.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket file that nobody listens on");
    let url = format!("sqlite://{}/nomation.db", folder.path().display());
    let bind = format!("unix:{}", path.display());
    let lookup = |name: &str| match name {
        "BIND" => Some(bind.clone().into()),
        "DATABASE_URL" => Some(url.clone().into()),
        _ => None,
    };
    let (config, _log) = nomation::config::Config::read(&lookup).unwrap();
    let server = nomation::server::Server::prepare(config).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move {
        let _ = stopped.await;
    }));
    let request = hyper::Request::get("/health").header("host", "x").body(Full::default()).unwrap();
    assert_eq!(send_over(UnixStream::connect(&path).await.unwrap(), request).await.status, 200);

    let (code, _, told) = run(&["serve"], &[("DATABASE_URL", &url), ("BIND", &bind)]);
    assert_eq!(code, 2, "a living one is not replaced: {told}");
    drop(stop);
    running.await.unwrap();
    assert!(!path.exists());
}

/// systemd, as far as a process sees of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_hears_of_start_life_and_end() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let notify = UnixDatagram::bind(&socket).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let environment = [
        ("DATABASE_URL", &*database.url),
        ("WORKER", "apart"),
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "20000"),
    ];
    for start in [Program::serve, Program::worker] {
        let mut program = start(&environment);
        for news in ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"] {
            if news == "STOPPING=1" {
                program.terminate();
            }
            let mut heard = String::new();
            while heard.trim_end() != news {
                let mut bytes = [0; 64];
                let length = notify.recv(&mut bytes).unwrap();
                heard = String::from_utf8_lossy(&bytes[..length]).into_owned();
                assert!(["WATCHDOG=1", news].contains(&heard.trim_end()), "{heard}, not {news}");
            }
        }
        assert_eq!(program.exit_code(), Some(0));
        // What it said at last is not the next one's.
        notify.set_nonblocking(true).unwrap();
        while notify.recv(&mut [0; 64]).is_ok() {}
        notify.set_nonblocking(false).unwrap();
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_lets_in_the_origins_that_are_named() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let origins = [("CORS_ORIGIN", "https://app.example.com,https://other.example.com")];
    let server = TestServer::start(&database.url, &origins).await;
    for (origin, allowed) in [
        ("https://app.example.com", "https://app.example.com"),
        ("https://other.example.com", "https://other.example.com"),
        ("https://evil.example.com", ""),
    ] {
        let preflight = server.client.request(Method::OPTIONS, "/api/projects");
        let preflight =
            preflight.header("origin", origin).header("access-control-request-method", "POST");
        let answer = server.client.send(preflight.body(Full::default()).unwrap()).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        let plain = server.client.request(Method::GET, "/api/projects").header("origin", origin);
        let answer = server.client.send(plain.body(Full::default()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (401, allowed)
        );
    }
    database.remove().await;
}

on_both_engines![the_openapi_document_describes_the_routes,];

async fn the_openapi_document_describes_the_routes(server: TestServer) {
    let document = server.client.get("/api/openapi.json").await.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for (below, single) in [
        ("/api/projects/{id}/urls", "/api/urls/{id}"),
        ("/api/projects/{id}/auth-flows", "/api/auth-flows/{id}"),
        ("/api/projects/{id}/page-states", "/api/page-states/{id}"),
        ("/api/projects/{id}/elements", "/api/elements/{id}"),
        ("/api/projects/{id}/browser-sessions", "/api/browser-sessions/{id}"),
        ("/api/projects/{id}/tests", "/api/tests/{id}"),
        ("/api/projects/{id}/suites", "/api/suites/{id}"),
        ("/api/tests/{id}/executions", "/api/executions/{id}"),
        ("/api/suites/{id}/executions", "/api/suite-executions/{id}"),
        ("/api/projects", "/api/projects/{id}"),
        ("/api/suites/{id}/tests", "/api/executions/{id}/cancel"),
        ("/api/auth/login", "/api/auth/register"),
        ("/health", "/health/ready"),
    ] {
        assert!(paths.iter().any(|path| *path == below), "{below}");
        assert!(paths.iter().any(|path| *path == single), "{single}");
    }
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["summary"].is_string(), "{operation}");
            assert!(
                operation["responses"]["default"]["content"]["application/problem+json"]
                    .is_object()
            );
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let target = reference.split('"').next().unwrap().trim_start_matches('#');
        assert!(document.pointer(target).is_some(), "{target} is not in the document");
    }
}
