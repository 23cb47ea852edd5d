//! Requests that no handler would answer well: each gets the status that says why, as a problem
//! document.

use http_body_util::Full;
use hyper::Method;
use hyper::header::CONTENT_TYPE;

use crate::harness::TestServer;

const REGISTER: &str = "/api/auth/register";

on_both_engines![
    every_malformed_request_has_its_status,
    a_body_must_be_json_and_not_too_large,
    what_is_not_there_is_404_and_what_is_not_allowed_405,
];

async fn every_malformed_request_has_its_status(server: TestServer) {
    let client = &server.client;
    for garbage in ["", "{", "[1", "{\"email\": }", "nul", "\u{feff}{}", "{} {}", "\"\\ud800\""] {
        assert_eq!(
            client.send_text(Method::POST, REGISTER, garbage).await.status,
            400,
            "{garbage:?}"
        );
    }
    let bytes = client.request(Method::POST, REGISTER).header(CONTENT_TYPE, "application/json");
    let answer = client.send(bytes.body(Full::from(vec![0xff, 0xfe, 0x00])).unwrap()).await;
    assert_eq!(answer.status, 400);
    let deep = "[".repeat(100_000);
    assert_eq!(client.send_text(Method::POST, REGISTER, &deep).await.status, 400);
    for no_object in ["[]", "1", "null", "\"x\"", "[\"a@b.c\",\"correct horse\"]"] {
        assert_eq!(
            client.send_text(Method::POST, REGISTER, no_object).await.status,
            422,
            "{no_object}"
        );
    }
}

async fn a_body_must_be_json_and_not_too_large(server: TestServer) {
    let client = &server.client;
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let request = client.request(Method::POST, REGISTER).header(CONTENT_TYPE, media_type);
        assert_eq!(
            client.send(request.body(Full::from("{}")).unwrap()).await.status,
            415,
            "{media_type}"
        );
    }
    let none = client.request(Method::POST, REGISTER).body(Full::from("{}")).unwrap();
    assert_eq!(client.send(none).await.status, 415);
    let padded = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    let largest = client.send_text(Method::POST, REGISTER, &padded(1024 * 1024)).await;
    assert_eq!(largest.status, 422, "a full MiB is read");
    let larger = client.send_text(Method::POST, REGISTER, &padded(1024 * 1024 + 1)).await;
    assert_eq!(larger.status, 413);
}

async fn what_is_not_there_is_404_and_what_is_not_allowed_405(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    for path in [
        "/",
        "/api",
        "/api/projects/",
        "/api/projects/1",
        "/api/projects/%00",
        "/api/projects/%ff",
        "/health/x",
    ] {
        assert_eq!(ada.get(path).await.status, 404, "{path}");
    }
    for (method, path, allow) in [
        (Method::PUT, "/api/projects", "GET,HEAD,POST"),
        (Method::GET, "/api/auth/login", "POST"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::OPTIONS, "/api/projects", "GET,HEAD,POST"),
    ] {
        let request = ada.request(method.clone(), path).body(Full::default()).unwrap();
        let answer = ada.send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, allow),
            "{method} {path}"
        );
    }
}
