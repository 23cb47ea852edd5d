//! A Gatehouse in the test's own process, on free ports, with a store and a log in a temporary
//! directory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gatehouse::config::{self, AdminAddress};
use gatehouse::reload::{Refused, Reloaded};
use gatehouse::server::Server;
use serde_json::Value;
use tempfile::TempDir;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Raw, TestClient, TestUpstream, client};

/// A running Gatehouse.
pub(crate) struct TestProxy {
    server: Server,
    directory: TempDir,
    /// The request ids of all responses that clients have read.
    pub(crate) answered: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    /// In front of `upstream`, with two workers and the default headers. `more` is TOML after the
    /// one `[[site]]`, so it may begin with further keys of that site.
    pub(crate) fn start(upstream: &TestUpstream, more: &str) -> Self {
        Self::start_with(upstream, "", more)
    }

    /// With further keys of `[tls]`.
    pub(crate) fn start_tls(upstream: &TestUpstream, tls: &str) -> Self {
        Self::start_edited(upstream, "[tls]\n", &format!("[tls]\n{tls}\n"))
    }

    /// With certificates that are shared over a Redis, and further keys of `[store]`.
    pub(crate) fn start_shared(upstream: &TestUpstream, redis: &str, more: &str) -> Self {
        let shared =
            format!("[store]\nredis = \"{redis}\"\n{more}\n[tls]\nstore = \"redis\"\ndirectory = ");
        Self::start_edited(upstream, "[tls]\nstore = ", &shared)
    }

    /// With a piece of the configuration replaced.
    pub(crate) fn start_edited(upstream: &TestUpstream, piece: &str, by: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = text(&directory, upstream.address, "", "");
        assert!(text.contains(piece), "{piece} in {text}");
        Self::from_text(directory, &text.replace(piece, by))
    }

    /// With `first` before everything else: `[limits]`, named upstreams.
    pub(crate) fn start_with(upstream: &TestUpstream, first: &str, more: &str) -> Self {
        Self::start_in_front_of(upstream.address, first, more)
    }

    /// As [`Self::start_with`], with one worker, which then sees every request.
    pub(crate) fn start_single(upstream: &TestUpstream, first: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = text(&directory, upstream.address, first, more);
        Self::from_text(directory, &text.replace("workers = 2", "workers = 1"))
    }

    /// As [`Self::start_with`], in front of any address.
    pub(crate) fn start_in_front_of(upstream: SocketAddr, first: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = text(&directory, upstream, first, more);
        Self::from_text(directory, &text)
    }

    /// With a configuration of the test's own, in which `DIRECTORY` is a temporary one.
    pub(crate) fn start_text(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = text.replace("DIRECTORY", &directory.path().display().to_string());
        Self::from_text(directory, &text)
    }

    /// Ends it, and starts it again with the same configuration and store.
    pub(crate) async fn restart(self) -> Self {
        let Self { server, directory, answered } = self;
        tokio::task::spawn_blocking(move || server.drain()).await.unwrap().unwrap();
        let text = std::fs::read_to_string(directory.path().join("gatehouse.toml")).unwrap();
        Self { answered, ..Self::from_text(directory, &text) }
    }

    fn from_text(directory: TempDir, text: &str) -> Self {
        let file = directory.path().join("gatehouse.toml");
        std::fs::write(&file, text).unwrap();
        let config = config::load_text(&file, text, &|_| None)
            .unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        let server = Server::start(config).unwrap();
        Self { server, directory, answered: Arc::default() }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.addresses().http[0]
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.server.addresses().https[0]
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        match self.server.addresses().admin {
            Some(AdminAddress::Tcp(address)) => address,
            ref other => panic!("{other:?}"),
        }
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("gatehouse.toml")
    }

    /// The root that clients trust.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("certs/internal-ca.pem")
    }

    /// A file of the certificate store.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.directory.path().join("certs").join(name)
    }

    /// A client over TLS and HTTP/1.1.
    pub(crate) async fn client(&self) -> TestClient {
        TestClient::https(self, false).await
    }

    /// A client over TLS and HTTP/2.
    pub(crate) async fn client_h2(&self) -> TestClient {
        TestClient::https(self, true).await
    }

    /// A client over plain HTTP.
    pub(crate) async fn client_plain(&self) -> TestClient {
        TestClient::plain(self).await
    }

    /// A TLS connection for a protocol.
    pub(crate) async fn tls(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        client::tls(self.https(), &self.root(), &[protocol], "localhost", b"").await.unwrap()
    }

    /// A client of HTTP/2 that shows what a stream does, with a window of so many bytes.
    pub(crate) async fn streams(&self, window: u32) -> h2::client::SendRequest<Bytes> {
        let stream = self.tls(b"h2").await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (streams, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        streams.ready().await.unwrap()
    }

    /// A TLS connection to write bytes on.
    pub(crate) async fn raw(&self) -> Raw {
        self.raw_after(b"").await.unwrap()
    }

    /// The same, with some bytes before the handshake, which may fail for it.
    pub(crate) async fn raw_after(&self, before: &[u8]) -> std::io::Result<Raw> {
        Raw::tls(self.https(), &self.root(), before).await
    }

    /// Replaces a piece of the configuration file.
    pub(crate) fn edit(&self, piece: &str, by: &str) {
        let file = self.directory.path().join("gatehouse.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(piece), "{piece} in {text}");
        // As editors do: under another name first.
        let next = file.with_extension("next");
        std::fs::write(&next, text.replacen(piece, by, 1)).unwrap();
        std::fs::rename(next, file).unwrap();
    }

    /// What it was started with, read anew.
    pub(crate) fn config(&self) -> config::Config {
        let file = self.directory.path().join("gatehouse.toml");
        config::load(&file, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The file of records.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    pub(crate) async fn reload(&self) -> Result<Reloaded, Refused> {
        self.server.reload().await
    }

    /// A number of `/metrics` that has no label.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = crate::admin::get(self.admin(), "/metrics", "").await;
        let prefix = format!("gatehouse_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
    }

    /// Drains, then checks that every response that a client read left exactly one record, and
    /// returns all records.
    pub(crate) async fn finish(self) -> Vec<Value> {
        let (log, server) = (self.log(), self.server);
        tokio::task::spawn_blocking(move || server.drain()).await.unwrap().unwrap();
        let log = std::fs::read_to_string(&log).unwrap();
        let records: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut count: HashMap<&str, usize> = HashMap::new();
        for record in &records {
            *count.entry(record["request_id"].as_str().unwrap()).or_default() += 1;
        }
        for id in &*self.answered.lock().unwrap() {
            assert_eq!(count.get(id.as_str()), Some(&1), "records of response {id}:\n{log}");
        }
        assert!(count.values().all(|n| *n == 1), "{log}");
        records
    }
}

/// The configuration of a test.
fn text(directory: &TempDir, upstream: SocketAddr, first: &str, more: &str) -> String {
    let path = directory.path().display();
    format!(
        "{first}\n\
         [listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         workers = 2\ndrain_timeout = \"5s\"\n\
         [tls]\nstore = \"{path}/certs\"\n\
         [log]\naccess = \"{path}/access.log\"\n\
         [[site]]\nhosts = [\"localhost\", \"127.0.0.1\"]\nissuer = \"internal\"\n\
         upstream = \"http://{upstream}\"\n{more}\n"
    )
}
