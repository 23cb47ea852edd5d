//! The part of the W3C WebDriver protocol that tests need: JSON over HTTP/1.1 to one driver.
//!
//! # Why
//! A dozen commands, each a path and a JSON body. Of the two libraries, one brings a second `http`
//! and an older ICU, the other blocks the runtime's thread when it is dropped, and a run here ends
//! by being dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::driver::Driver;

/// The key under which the protocol puts an element's id (section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Largest answer of the driver: a picture in Base64, with room.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WebDriverError {
    /// The driver is gone, or does not speak the protocol.
    #[error("the browser has gone away")]
    Gone,
    /// It says more than is read; the connection is of no use after that.
    #[error("what the browser answers is larger than {ANSWER_MAX} bytes")]
    TooLarge,
    /// The driver says no (section 6.6).
    #[error("{message}")]
    Refused {
        /// The protocol's word for it, such as `no such element`.
        code: String,
        /// The driver's own words.
        message: String,
    },
}

impl WebDriverError {
    /// Whether the page may yet become what the command needs it to be.
    pub(super) fn is_passing(&self) -> bool {
        const PASSING: [&str; 7] = [
            "element click intercepted",
            "element not interactable",
            "invalid element state",
            "move target out of bounds",
            "no such element",
            "stale element reference",
            "unexpected alert open",
        ];
        match self {
            Self::Gone | Self::TooLarge => false,
            Self::Refused { code, .. } => PASSING.contains(&code.as_str()),
        }
    }
}

/// An element of the page that is open.
#[derive(Clone, Debug)]
pub(super) struct Element(String);

/// A connection to one driver, and later its one session.
#[derive(Debug)]
pub(super) struct WebDriver {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    session: String,
}

impl WebDriver {
    /// Connects and opens a session with these capabilities (section 8.1).
    pub(super) async fn open(driver: &Driver, capabilities: Value) -> Result<Self, WebDriverError> {
        let host = format!("127.0.0.1:{}", driver.port);
        let stream = TcpStream::connect(&host).await.map_err(|_refused| WebDriverError::Gone)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_broken| WebDriverError::Gone)?;
        // Ends with the sender.
        tokio::spawn(connection);
        let mut web = Self { sender, host, session: format!("{}/session", driver.base) };
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let opened = web.command(Method::POST, "", Some(asked)).await?;
        let id = opened.get("sessionId").and_then(Value::as_str).ok_or(WebDriverError::Gone)?;
        web.session = format!("{}/{id}", web.session);
        Ok(web)
    }

    pub(super) async fn navigate(&mut self, url: &str) -> Result<(), WebDriverError> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// Why the page that was asked for is not there, where the browser has one of its own instead.
    /// Without windows it has an empty one.
    pub(super) async fn error_page(&mut self) -> Option<String> {
        const SCRIPT: &str = "return location.protocol !== 'chrome-error:' ? null \
            : document.querySelector('.error-code')?.textContent ?? 'it does not say why'";
        let script = json!({ "script": SCRIPT, "args": [] });
        self.post("/execute/sync", script).await.ok()?.as_str().map(str::to_owned)
    }

    /// The first element that a CSS selector matches.
    pub(super) async fn find(&mut self, selector: &str) -> Result<Element, WebDriverError> {
        let css = json!({ "using": "css selector", "value": selector });
        element(&self.post("/element", css).await?)
    }

    /// All elements within another that a CSS selector matches.
    pub(super) async fn find_within(
        &mut self,
        Element(id): &Element,
        selector: &str,
    ) -> Result<Vec<Element>, WebDriverError> {
        let css = json!({ "using": "css selector", "value": selector });
        let found = self.post(&format!("/element/{id}/elements"), css).await?;
        found.as_array().into_iter().flatten().map(element).collect()
    }

    pub(super) async fn click(&mut self, Element(id): &Element) -> Result<(), WebDriverError> {
        self.post(&format!("/element/{id}/click"), json!({})).await.map(drop)
    }

    pub(super) async fn clear(&mut self, Element(id): &Element) -> Result<(), WebDriverError> {
        self.post(&format!("/element/{id}/clear"), json!({})).await.map(drop)
    }

    /// The text as it is rendered.
    pub(super) async fn text(&mut self, Element(id): &Element) -> Result<String, WebDriverError> {
        self.get_text(&format!("/element/{id}/text")).await
    }

    /// A property of the element's object, as text.
    pub(super) async fn property(
        &mut self,
        Element(id): &Element,
        name: &str,
    ) -> Result<String, WebDriverError> {
        self.get_text(&format!("/element/{id}/property/{name}")).await
    }

    pub(super) async fn is_displayed(
        &mut self,
        Element(id): &Element,
    ) -> Result<bool, WebDriverError> {
        let path = format!("/element/{id}/displayed");
        Ok(self.command(Method::GET, &path, None).await?.as_bool().unwrap_or_default())
    }

    /// Presses and releases one key after the other (section 15), wherever the focus is.
    ///
    /// Not `Element Send Keys`: on a file field that would upload a file of this machine.
    pub(super) async fn press(&mut self, text: &str) -> Result<(), WebDriverError> {
        let key = |c: char| match c {
            '\n' => '\u{e007}',
            '\t' => '\u{e004}',
            other => other,
        };
        let press = |c: char| {
            let value = key(c).to_string();
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": value }))
        };
        let keys: Vec<Value> = text.chars().flat_map(press).collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] });
        self.post("/actions", actions).await.map(drop)
    }

    /// What the window shows, as PNG.
    pub(super) async fn screenshot(&mut self) -> Result<Vec<u8>, WebDriverError> {
        let encoded = self.get_text("/screenshot").await?;
        STANDARD.decode(encoded).map_err(|_not_base64| WebDriverError::Gone)
    }

    async fn get_text(&mut self, path: &str) -> Result<String, WebDriverError> {
        let value = self.command(Method::GET, path, None).await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    async fn post(&mut self, path: &str, body: Value) -> Result<Value, WebDriverError> {
        self.command(Method::POST, path, Some(body)).await
    }

    /// One command: a request, and the `value` of the answer.
    async fn command(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, WebDriverError> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header(hyper::header::HOST, &self.host)
            .header(hyper::header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_never| WebDriverError::Gone)?;
        self.sender.ready().await.map_err(|_closed| WebDriverError::Gone)?;
        let sent = self.sender.send_request(request).await;
        let response = sent.map_err(|_broken| WebDriverError::Gone)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body
            .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => WebDriverError::TooLarge,
                None => WebDriverError::Gone,
            })?
            .to_bytes();
        let answer: Value = serde_json::from_slice(&body).map_err(|_other| WebDriverError::Gone)?;
        let value = answer.get("value").cloned().unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let message = match text("error") {
            // The driver's own words are about its renderer.
            "timeout" => "the page did not finish loading in time",
            // It puts its build and its stack below the first line.
            _ => text("message").lines().next().unwrap_or_default(),
        };
        Err(WebDriverError::Refused { code: text("error").to_owned(), message: message.to_owned() })
    }
}

/// The driver finds nothing, without an error, where a page opens alert after alert.
fn element(value: &Value) -> Result<Element, WebDriverError> {
    let id = value.get(ELEMENT).and_then(Value::as_str);
    id.map(|id| Element(id.to_owned())).ok_or_else(|| WebDriverError::Refused {
        code: "no such element".to_owned(),
        message: "the browser finds nothing, and does not say why".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_is_not_found_without_an_error_may_yet_be_found() {
        assert!(element(&Value::Null).unwrap_err().is_passing());
        assert_eq!(element(&json!({ ELEMENT: "e1" })).unwrap().0, "e1");
    }
}
