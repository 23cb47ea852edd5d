//! The TLS load of `cargo xtask bench`: new connections, resumed or not, and idle ones.
//!
//! It belongs to the load's side of the bench, so it may be simple: blocking threads. It speaks
//! TLS 1.3 with AES-128-GCM and X25519, verifies no certificate, and only ever connects to
//! 127.0.0.1.
//!
//! # Why
//!
//! A program of its own, because it is pinned to the load's core, built with optimisation, and
//! the only part of xtask that needs a TLS library.

use std::fmt::Write as _;
use std::io::{Error, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    StreamOwned,
};

const THREADS: usize = 16;
const USAGE: &str = "\
tls-client get PORT PATH                           print the head of one answer
tls-client handshakes PORT SECONDS full|resumed    connect, GET /, close; again and again
tls-client idle PORT COUNT                         connect, GET /, stay; until it is stopped";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["get", port, path] => number(port).and_then(|port| get(port, path)),
        ["handshakes", port, seconds, kind @ ("full" | "resumed")] => {
            number(port).and_then(|port| handshakes(port, number(seconds)?, *kind == "resumed"))
        }
        ["idle", port, count] => number(port).and_then(|port| idle(port, number(count)?)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::other(format!("{text} is not a number")))
}

fn get(port: u16, path: &str) -> Result<()> {
    let mut connection = Connection::open(port, &config(false)?)?;
    connection.get(port, path)?;
    println!("{}", connection.head);
    Ok(())
}

/// What one thread counted.
#[derive(Default)]
struct Count {
    microseconds: Vec<u64>,
    resumed: u64,
    refused: u64,
    failed: u64,
}

fn handshakes(port: u16, seconds: f64, resumed: bool) -> Result<()> {
    let start = Instant::now();
    let deadline = start + Duration::from_secs_f64(seconds);
    let mut total = Count::default();
    let threads: Vec<_> = (0..THREADS)
        // A configuration per thread, so that each resumes the session of its own last connection.
        .map(|_| config(resumed))
        .map(|config| {
            Ok(std::thread::spawn({
                let config = config?;
                move || connect_until(deadline, port, &config)
            }))
        })
        .collect::<Result<_>>()?;
    for thread in threads {
        let count = thread.join().map_err(|_| Error::other("a thread of the load failed"))?;
        total.microseconds.extend(count.microseconds);
        total.resumed += count.resumed;
        total.refused += count.refused;
        total.failed += count.failed;
    }
    print!("{}", report(total, start.elapsed()));
    Ok(())
}

fn connect_until(deadline: Instant, port: u16, config: &Arc<ClientConfig>) -> Count {
    let mut count = Count::default();
    while Instant::now() < deadline {
        let start = Instant::now();
        match Connection::open(port, config).and_then(|mut open| {
            let status = open.get(port, "/")?;
            let resumed = open.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            open.close()?;
            Ok((status, resumed))
        }) {
            Ok((status, resumed)) => {
                let microseconds = u64::try_from(start.elapsed().as_micros());
                count.microseconds.push(microseconds.unwrap_or(u64::MAX));
                count.resumed += u64::from(resumed);
                count.refused += u64::from(status != 200);
            }
            Err(_) => count.failed += 1,
        }
    }
    count
}

fn report(mut count: Count, elapsed: Duration) -> String {
    count.microseconds.sort_unstable();
    let requests = count.microseconds.len();
    let percentile = |hundredth: usize| {
        count.microseconds.get(requests.saturating_sub(1) * hundredth / 100).unwrap_or(&0)
    };
    let mut text = format!("requests {requests}\nseconds {:.3}\n", elapsed.as_secs_f64());
    let _ = writeln!(text, "p50_us {}\np99_us {}", percentile(50), percentile(99));
    let Count { resumed, refused, failed, .. } = count;
    let _ = writeln!(text, "resumed {resumed}\nrefused {refused}\nfailed {failed}");
    text
}

/// Opens the connections, reports `alive N` after three seconds of rest, then waits to be stopped.
fn idle(port: u16, count: usize) -> Result<()> {
    let config = config(false)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(port, &config)?;
        connection.get(port, "/")?;
        // The socket is enough to keep the proxy's side alive; the session would cost us memory.
        sockets.push(connection.stream.sock);
    }
    std::thread::sleep(Duration::from_secs(3));
    println!("alive {}", sockets.iter().filter(|socket| is_alive(socket)).count());
    loop {
        std::thread::park();
    }
}

fn is_alive(socket: &TcpStream) -> bool {
    let waiting = |error: &Error| error.kind() == std::io::ErrorKind::WouldBlock;
    let peeked = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut [0]));
    peeked.map_or_else(|error| waiting(&error), |bytes| bytes > 0)
}

/// A TLS connection and the head of its last answer.
struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    head: String,
}

impl Connection {
    fn open(port: u16, config: &Arc<ClientConfig>) -> Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(Error::other)?;
        Ok(Self { stream: StreamOwned::new(session, socket), head: String::new() })
    }

    /// Sends one request, reads the whole answer, and gives its status.
    fn get(&mut self, port: u16, path: &str) -> Result<u16> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\
             User-Agent: bench\r\nAccept: */*\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::with_capacity(4096);
        let mut buffer = [0; 16384];
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(Error::other("the answer ends early"));
            }
            answer.extend(buffer.iter().take(read));
            if let Some((head, body)) = split(&answer)
                && is_whole(&head, body)
            {
                self.head = head;
                let status = self.head.split(' ').nth(1).unwrap_or_default();
                return number(status);
            }
        }
    }

    fn close(&mut self) -> Result<()> {
        self.stream.conn.send_close_notify();
        self.stream.flush()
    }
}

/// The head and what has come of the body, once the head is whole.
fn split(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    Some((String::from_utf8_lossy(head).into_owned(), body))
}

fn is_whole(head: &str, body: &[u8]) -> bool {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // Without a length the answer is chunked, and ends with an empty chunk.
    length.map_or_else(|| body.ends_with(b"0\r\n\r\n"), |length| body.len() >= length)
}

fn config(resumed: bool) -> Result<Arc<ClientConfig>> {
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone { schemes }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption =
        if resumed { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Accepts every certificate: the load measures a proxy of this machine, it trusts it with nothing.
#[derive(Debug)]
struct Anyone {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_its_length_or_its_last_chunk() {
        let (head, body) = split(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").unwrap();
        assert!(!is_whole(&head, body));
        assert!(is_whole(&head, b"abc"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!is_whole(chunked, b"3\r\nabc\r\n"));
        assert!(is_whole(chunked, b"3\r\nabc\r\n0\r\n\r\n"));
        assert!(split(b"HTTP/1.1 200 OK\r\n").is_none());
    }

    #[test]
    fn the_report_is_a_line_per_figure() {
        let count = Count { microseconds: vec![30, 10, 20], resumed: 2, refused: 1, failed: 0 };
        assert_eq!(
            report(count, Duration::from_millis(1500)),
            "requests 3\nseconds 1.500\np50_us 20\np99_us 20\nresumed 2\nrefused 1\nfailed 0\n"
        );
    }
}
