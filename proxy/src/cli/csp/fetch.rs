//! One page over HTTP or HTTPS, for the command line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

use crate::upstream::client_config;

/// Bytes of a page.
const LARGEST: u64 = 16 << 20;

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of a page; redirects are told, not followed.
pub(super) fn page(url: &str, ca: Option<&Path>) -> Result<Vec<u8>, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().ok_or_else(|| format!("{url} names no host"))?;
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host.trim_matches(['[', ']']);
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let stream = TcpStream::connect((bare, port)).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // An answer to HTTP/1.0 ends with its connection.
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: text/html\r\n\r\n");
    let answer = match secure {
        false => exchange(stream, &request),
        true => {
            let config = client_config(&authorities(ca)?).map_err(|error| error.to_string())?;
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let connection =
                ClientConnection::new(config, name).map_err(|error| error.to_string())?;
            exchange(StreamOwned::new(connection, stream), &request)
        }
    };
    body(&answer.map_err(failed)?).map_err(|error| format!("{url}: {error}"))
}

fn authorities(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = ca else { return Ok(Vec::new()) };
    let failed = |error| format!("{}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    certificates.collect::<Result<_, _>>().map_err(failed)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(LARGEST).read_to_end(&mut answer) {
        // Many servers end a connection without saying so.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// The body of a whole answer.
fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = end.map(|end| answer.split_at(end)).ok_or("this is not HTTP")?;
    let head = String::from_utf8_lossy(head);
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status.starts_with('2') {
        true => Ok(body.get(4..).unwrap_or_default().to_vec()),
        false => {
            let mut lines = head.lines();
            let is_location = |line: &&str| line.to_ascii_lowercase().starts_with("location:");
            let location = lines.find(is_location).unwrap_or_default();
            Err(format!("the answer is {status} {location}"))
        }
    }
}
