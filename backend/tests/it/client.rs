//! The test client: one connection per request, and the checks that hold for every answer.
//!
//! No answer is a 500, every error is a problem document that repeats its status, one for lack of
//! room says when to come back, and no answer speaks of SQL.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// A field of the body, as text.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let value = self.body.pointer(pointer);
        value
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.body))
            .to_owned()
    }

    /// A header, as text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where all faults are, in order.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        let place = errors.iter().map(|f| f.get("pointer").or_else(|| f.get("parameter")));
        place.map(|place| place.and_then(Value::as_str).unwrap()).collect()
    }
}

/// A client of one server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) token: Option<String>,
}

impl Client {
    /// Nobody in particular.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), token: None }
    }

    /// Asks until the answer is `status`, for so many seconds at most: recovery takes as long as a
    /// reconnection, not a fixed time.
    pub(crate) async fn until(&self, path: &str, status: u16, seconds: u64) {
        let reached = async {
            while self.get(path).await.status != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(seconds), reached).await;
        waited.unwrap_or_else(|_| panic!("{path} never answered {status}"));
    }

    /// The same client with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Registers somebody and returns them as a client.
    pub(crate) async fn registered(&self, email: &str) -> Self {
        let body = json!({ "email": email, "password": "correct horse" });
        let answer = self.post("/api/auth/register", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        self.with_token(&answer.text("/accessToken"))
    }

    /// Somebody who has registered, logged in again.
    pub(crate) async fn logged_in(&self, email: &str) -> Self {
        let body = json!({ "email": email, "password": "correct horse" });
        let answer = self.post("/api/auth/login", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.with_token(&answer.text("/accessToken"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Full::default()).unwrap()).await
    }

    /// The body of an answer that is no JSON.
    pub(crate) async fn get_text(&self, path: &str) -> String {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = self.request(Method::GET, path).body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_text(Method::POST, path, &body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_text(Method::PATCH, path, &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_text(Method::PUT, path, &body.to_string()).await
    }

    /// Sends JSON, or no body where that is null, with one more header.
    pub(crate) async fn send_with(
        &self,
        (method, path): (Method, &str),
        (name, value): (&str, &str),
        body: &Value,
    ) -> Answer {
        let request = self.request(method, path).header(name, value);
        if body.is_null() {
            return self.send(request.body(Full::default()).unwrap()).await;
        }
        let request = request.header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    /// Creates something and returns its path.
    pub(crate) async fn made(&self, path: &str, body: &Value) -> String {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.header("location").to_owned()
    }

    /// Sends a body that need not be JSON under the media type of JSON.
    pub(crate) async fn send_text(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", "nomation");
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        send_over(TcpStream::connect(&self.address).await.unwrap(), request).await
    }
}

/// Sends one request over `stream` and checks the answer.
pub(crate) async fn send_over<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    checked(head.status, head.headers, &body)
}

fn checked(status: StatusCode, headers: HeaderMap, body: &[u8]) -> Answer {
    let shown = String::from_utf8_lossy(body);
    for word in ["SELECT", "INSERT", "UPDATE ", "sqlx", "constraint", "SQLITE", "pool timed out"] {
        assert!(!shown.contains(word), "an answer speaks of the database: {shown}");
    }
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
    assert_ne!(status, 500, "{body}");
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(headers.get(CONTENT_TYPE).unwrap(), "application/problem+json", "{body}");
        assert_eq!(body["status"], status.as_u16(), "{body}");
        assert!(body["title"].is_string() && body["type"].is_string(), "{body}");
    }
    if status == 503 || status == 429 {
        let seconds =
            headers.get("retry-after").expect("it says when to come back").to_str().unwrap();
        assert!((1..=60).contains(&seconds.parse::<u16>().unwrap()));
    }
    if status == 401 {
        assert_eq!(headers.get("www-authenticate").unwrap(), "Bearer");
    }
    Answer { status, headers, body }
}
