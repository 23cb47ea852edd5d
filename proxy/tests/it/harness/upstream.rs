//! Upstreams: one that records what arrives and answers as the path says, and raw ones that
//! misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body_bytes: u64,
}

/// An upstream on a free port.
#[derive(Clone)]
pub(crate) struct TestUpstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    died: Arc<AtomicUsize>,
    unhealthy: Arc<AtomicBool>,
}

impl TestUpstream {
    /// Answers `/healthy` as it was told (and does not count it), `/status/CODE` with that status,
    /// `/wait/MS` after that long, `/bytes/N` with N bytes, `/stream/N` with N bytes in chunks, and
    /// everything else with `method path`.
    pub(crate) async fn start() -> Self {
        Self::serve(|upstream, stream| async move {
            let service = service_fn(move |request| {
                let upstream = upstream.clone();
                async move { Ok::<_, Infallible>(upstream.answer(request).await) }
            });
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        })
        .await
    }

    /// Reads one head on each connection, writes `answer`, and closes.
    pub(crate) async fn raw(answer: &'static [u8]) -> Self {
        Self::serve(move |_, mut stream| async move {
            read_head(&mut stream).await;
            _ = stream.write_all(answer).await;
            _ = stream.shutdown().await;
        })
        .await
    }

    /// Answers every head with `answer`, on connections that live on.
    pub(crate) async fn repeating(answer: &'static [u8]) -> Self {
        Self::serve(move |_, mut stream| async move {
            while read_head(&mut stream).await.ends_with(b"\r\n\r\n") {
                _ = stream.write_all(answer).await;
            }
        })
        .await
    }

    /// Answers the first head on each connection with `answer`, and closes at the next without a
    /// word: at once, as a server whose idle connections end at the moment they are used, or after
    /// having been at work on it.
    pub(crate) async fn closing(answer: &'static [u8], work: Duration) -> Self {
        Self::serve(move |upstream, mut stream| async move {
            read_head(&mut stream).await;
            _ = stream.write_all(answer).await;
            if !read_head(&mut stream).await.is_empty() {
                upstream.died.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(work).await;
            }
        })
        .await
    }

    /// Reads one head, writes what the test sends it, and closes when nothing more can come.
    pub(crate) async fn told() -> (Self, UnboundedSender<Vec<u8>>) {
        let (told, pieces) = unbounded_channel::<Vec<u8>>();
        let pieces = Arc::new(tokio::sync::Mutex::new(pieces));
        let upstream = Self::serve(move |_, mut stream| {
            let pieces = Arc::clone(&pieces);
            async move {
                read_head(&mut stream).await;
                while let Some(piece) = pieces.lock().await.recv().await {
                    _ = stream.write_all(&piece).await;
                }
                _ = stream.shutdown().await;
            }
        });
        (upstream.await, told)
    }

    /// Answers as soon as it has read a head, and then reads on without saying more.
    pub(crate) async fn early(answer: &'static [u8]) -> Self {
        Self::serve(move |_, mut stream| async move {
            read_head(&mut stream).await;
            _ = stream.write_all(answer).await;
            _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await
    }

    /// Writes down every byte that arrives, and answers 200 to whatever looks like the end of a
    /// head.
    pub(crate) async fn recording() -> Self {
        Self::serve(|upstream, mut stream| async move {
            let mut last = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                upstream.bytes.lock().unwrap().push(byte);
                last.push(byte);
                if last.ends_with(b"\r\n\r\n") {
                    last.clear();
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    _ = stream.write_all(answer).await;
                }
            }
        })
        .await
    }

    /// Every byte that has arrived at a recording upstream.
    pub(crate) fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Agrees to switch to `protocol`, and then sends back whatever it reads.
    pub(crate) async fn switching(protocol: &'static str) -> Self {
        Self::serve(move |upstream, mut stream| async move {
            let head = read_head(&mut stream).await;
            upstream.bytes.lock().unwrap().extend_from_slice(&head);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-App: yes\r\n\r\nhello"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut reads, mut writes) = stream.split();
            _ = tokio::io::copy(&mut reads, &mut writes).await;
        })
        .await
    }

    /// Accepts connections, writes down what comes on them and never says anything.
    pub(crate) async fn mute() -> Self {
        Self::serve(|upstream, mut stream| async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                upstream.received(&buffer[..read]);
            }
        })
        .await
    }

    /// Accepts connections and never reads what comes on them.
    pub(crate) async fn deaf() -> Self {
        Self::serve(|_, stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await
    }

    pub(super) async fn serve<F: Future<Output = ()> + Send + 'static>(
        with: impl Fn(Self, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self {
            address,
            seen: Arc::default(),
            bytes: Arc::default(),
            connections: Arc::default(),
            ended: Arc::default(),
            died: Arc::default(),
            unhealthy: Arc::default(),
        };
        let this = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::Relaxed);
                let (ended, serving) = (Arc::clone(&this.ended), with(this.clone(), stream));
                tokio::spawn(async move {
                    serving.await;
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        upstream
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Takes note of a request.
    pub(super) fn note(&self, head: http::request::Parts, body_bytes: u64) {
        let http::request::Parts { method, uri, version, headers, .. } = head;
        self.seen.lock().unwrap().push(Seen { method, uri, version, headers, body_bytes });
    }

    /// Takes note of bytes.
    pub(super) fn received(&self, bytes: &[u8]) {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
    }

    /// Every request since this was last asked.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.into_iter().next().unwrap()
    }

    /// What `/healthy` answers from now on: 200 or 503.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.unhealthy.store(!healthy, Ordering::Relaxed);
    }

    /// Connections that are over.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Requests over which a closing upstream has closed a connection.
    pub(crate) fn died(&self) -> usize {
        self.died.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if path == "/healthy" {
            let status = if self.unhealthy.load(Ordering::Relaxed) { 503 } else { 200 };
            let empty = Either::Left(Full::new(Bytes::new()));
            return Response::builder().status(status).body(empty).unwrap();
        }
        let mut body_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            body_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        let text = format!("{} {}", head.method, head.uri);
        self.note(head, body_bytes);
        let argument =
            |prefix| path.strip_prefix(prefix).and_then(|rest: &str| rest.parse::<u64>().ok());
        if let Some(status) = argument("/status/") {
            let status = u16::try_from(status).unwrap();
            let empty = Either::Left(Full::new(Bytes::new()));
            return Response::builder().status(status).body(empty).unwrap();
        }
        if let Some(millis) = argument("/wait/") {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        if let Some(bytes) = argument("/bytes/") {
            let response = Response::builder().header("content-length", bytes);
            return response.body(stream(bytes)).unwrap();
        }
        if let Some(bytes) = argument("/stream/") {
            return Response::new(stream(bytes));
        }
        let fields = [
            ("x-powered-by", "test"),
            ("server", "test"),
            ("keep-alive", "timeout=5"),
            ("x-app", "yes"),
        ];
        let response =
            fields.iter().fold(Response::builder(), |r, (name, value)| r.header(*name, *value));
        response.body(Either::Left(Full::from(text))).unwrap()
    }
}

/// Reads up to the end of a request's head, or of the connection.
async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    head
}

type Chunks =
    std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
pub(super) type Body = Either<Full<Bytes>, StreamBody<Chunks>>;

/// `bytes` of zeros, 64 KiB at a time.
fn stream(bytes: u64) -> Body {
    struct Zeros(u64);
    impl futures_core::Stream for Zeros {
        type Item = Result<Frame<Bytes>, Infallible>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            static CHUNK: [u8; 64 << 10] = [0; 64 << 10];
            let length = self.0.min(CHUNK.len() as u64);
            self.0 -= length;
            let chunk = Bytes::from_static(&CHUNK[..usize::try_from(length).unwrap()]);
            std::task::Poll::Ready((length > 0).then(|| Ok(Frame::data(chunk))))
        }
    }
    let zeros: Chunks = Box::pin(Zeros(bytes));
    Either::Right(StreamBody::new(zeros))
}
