//! A TLS server in front of a CA that writes down what the CA is asked, and alters what it answers
//! as the test says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Pebble, client};

/// What the CA was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What was signed, if it was JSON.
    pub(crate) payload: Value,
}

/// What becomes of a request.
pub(crate) enum Fate {
    /// It is passed on, and so is the answer.
    Pass,
    /// It is passed on; the answer is changed.
    Edit(Edit),
    /// It is answered so, and the CA learns nothing.
    Say(u16, Vec<(&'static str, String)>, String),
    /// These bytes are the whole answer.
    Bytes(Vec<u8>),
    /// It is never answered.
    Hang,
    /// The answer comes a byte at a time, and never ends.
    Dribble,
    /// It is passed on. If the CA does it, this is called, and the answer is lost.
    Lose(Box<dyn FnOnce() + Send>),
}

type Edit = Box<dyn FnOnce(&mut HeaderMap, &mut String) + Send>;

type Decide = Box<dyn Fn(&Asked) -> Fate + Send>;

/// The server; it ends with the test.
pub(crate) struct Front {
    address: SocketAddr,
    root: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    ca: SocketAddr,
    root: PathBuf,
    asked: Mutex<Vec<Asked>>,
    done: Mutex<Vec<String>>,
    invalid: Mutex<BTreeSet<String>>,
    decide: Mutex<Decide>,
}

impl Front {
    /// Passes everything on.
    pub(crate) fn start(pebble: &Pebble) -> Self {
        let root = pebble.own("ca.pem");
        let certificate = CertificateDer::from_pem_file(&root).unwrap();
        let key = PrivateKeyDer::from_pem_file(pebble.own("ca.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::new(Shared {
            ca: pebble.address(),
            root: root.clone(),
            asked: Mutex::default(),
            done: Mutex::default(),
            invalid: Mutex::default(),
            decide: Mutex::new(Box::new(|_| Fate::Pass)),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let front = Self { address, root, shared: Arc::clone(&shared) };
        // On a thread of its own: tests wait for programs that wait for the CA.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            _ = exchange(stream, &shared).await;
                        }
                    });
                }
            });
        });
        front
    }

    /// From now on, this decides what becomes of each request.
    pub(crate) fn decide(&self, decide: impl Fn(&Asked) -> Fate + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// What was asked whose path begins so.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    /// How often the CA did what was asked under a path and answered so.
    pub(crate) fn done(&self, path: &str) -> usize {
        self.shared.done.lock().unwrap().iter().filter(|done| done.starts_with(path)).count()
    }

    /// How many orders the CA calls invalid: nobody can go on with them.
    pub(crate) fn invalid(&self) -> usize {
        self.shared.invalid.lock().unwrap().len()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The keys of `[acme]` that name it.
    pub(crate) fn keys(&self) -> String {
        let (port, root) = (self.port(), self.root.display());
        format!("directory = \"https://localhost:{port}/dir\"\nroot_ca = \"{root}\"\n")
    }
}

/// One request and its answer; the connection ends with it.
async fn exchange(mut stream: TlsStream<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    let Some((head, body)) = read(&mut stream).await else { return Ok(()) };
    let mut words = head.split_whitespace();
    let method: Method = words.next().unwrap().parse().unwrap();
    let path = words.next().unwrap().to_owned();
    let asked = Asked { method, path, payload: payload(&body) };
    shared.asked.lock().unwrap().push(asked.clone());
    let fate = (shared.decide.lock().unwrap())(&asked);
    let (status, headers, body) = match fate {
        Fate::Hang => std::future::pending().await,
        Fate::Dribble => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        }
        Fate::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            return stream.shutdown().await;
        }
        Fate::Say(status, fields, body) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            (status, fields.collect(), body)
        }
        Fate::Pass => forward(shared, &asked, &head, body).await?,
        Fate::Lose(done) => {
            let answer = forward(shared, &asked, &head, body).await?;
            if answer.0 < 400 {
                done();
                std::future::pending::<()>().await;
            }
            answer
        }
        Fate::Edit(edit) => {
            let (status, mut headers, mut body) = forward(shared, &asked, &head, body).await?;
            edit(&mut headers, &mut body);
            (status, headers, body)
        }
    };
    if status < 400 {
        shared.done.lock().unwrap().push(asked.path.clone());
    }
    let mut answer = format!("HTTP/1.1 {status} answer\r\nconnection: close\r\n");
    for (name, value) in &headers {
        if name != "content-length" && name != "transfer-encoding" && name != "connection" {
            answer += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
    }
    let body = if asked.method == Method::HEAD { String::new() } else { body };
    answer += &format!("content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The head and the body of a request; `None` if the client has gone.
async fn read(stream: &mut TlsStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Some((head, bytes.split_off(end + 4)));
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

/// What a request signs (RFC 7515, 7.2.2).
fn payload(body: &[u8]) -> Value {
    let jws: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = BASE64URL_NOPAD.decode(jws["payload"].as_str().unwrap_or("").as_bytes());
    serde_json::from_slice(&payload.unwrap_or_default()).unwrap_or_default()
}

/// What the CA answers.
async fn forward(
    shared: &Shared,
    asked: &Asked,
    head: &str,
    body: Vec<u8>,
) -> std::io::Result<(u16, HeaderMap, String)> {
    let other = |error: hyper::Error| std::io::Error::other(error);
    let stream = client::tls(shared.ca, &shared.root, &[], "localhost", b"").await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(&asked.method).uri(&asked.path);
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        if !name.eq_ignore_ascii_case("content-length") {
            request = request.header(name, value.trim());
        }
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let (head, body) = sender.send_request(request).await.map_err(other)?.into_parts();
    let body = body.collect().await.map_err(other)?.to_bytes();
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    if asked.path.starts_with("/my-order/") && said["status"] == "invalid" {
        shared.invalid.lock().unwrap().insert(asked.path.clone());
    }
    Ok((head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap()))
}
