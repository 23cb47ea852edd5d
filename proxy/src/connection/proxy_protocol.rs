//! The PROXY protocol, versions 1 and 2: a load balancer's word on whose connection it passes on.
//!
//! It stands before the first byte of the connection, in one segment; it is looked at in the
//! socket's buffer and taken out only once it is whole. Nobody is believed who is not a trusted
//! proxy, so the caller asks only for those.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// The longest header that is read: version 2 with its TLVs, of which balancers send a few dozen
/// bytes.
const LONGEST: usize = 4096;

/// The longest header of version 1 with its line end.
const LONGEST_V1: usize = 107;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the beginning of a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// Too little to tell.
    Incomplete,
    /// Something else: the client's own bytes.
    None,
    /// A header of so many bytes; and whose connection it is, if it says, and not the proxy's own.
    Header(usize, Option<SocketAddr>),
    /// A header that cannot be read.
    Malformed,
}

/// Takes the header off a connection. `None` if there is none, if the connection is the proxy's own
/// (a health check), or if the header does not tell of TCP.
pub(super) async fn accept(
    stream: &mut TcpStream,
    required: bool,
) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; LONGEST];
    loop {
        let length = stream.peek(&mut bytes).await?;
        let ended = length == 0;
        match read(bytes.get(..length).unwrap_or_default()) {
            Beginning::Header(length, source) => {
                stream.read_exact(bytes.get_mut(..length).unwrap_or_default()).await?;
                return Ok(source);
            }
            Beginning::None if !required => return Ok(None),
            Beginning::Incomplete if !ended => {}
            Beginning::Incomplete | Beginning::None | Beginning::Malformed => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        // What is there keeps the socket readable: the rest can only be waited for.
        sleep(Duration::from_millis(5)).await;
    }
}

fn read(bytes: &[u8]) -> Beginning {
    let common = bytes.iter().zip(V2).take_while(|(a, b)| a == b).count();
    if common == V2.len() {
        return version_2(bytes);
    }
    let text = b"PROXY ";
    let common_v1 = bytes.iter().zip(text).take_while(|(a, b)| a == b).count();
    if common_v1 == text.len() {
        return version_1(bytes);
    }
    match bytes.len() == common || bytes.len() == common_v1 {
        true => Beginning::Incomplete,
        false => Beginning::None,
    }
}

/// `PROXY TCP4 192.0.2.7 192.0.2.1 4711 443` and a line end.
fn version_1(bytes: &[u8]) -> Beginning {
    let line = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', line) else {
        let whole = bytes.len() >= LONGEST_V1;
        return if whole { Beginning::Malformed } else { Beginning::Incomplete };
    };
    let source = || {
        let line = std::str::from_utf8(line.get(..end)?).ok()?.strip_suffix('\r')?;
        let mut words = line.split(' ').skip(1);
        let family = words.next()?;
        if family == "UNKNOWN" {
            return Some(None);
        }
        let (source, target): (IpAddr, IpAddr) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (port, _): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let matches = match family {
            "TCP4" => source.is_ipv4() && target.is_ipv4(),
            "TCP6" => source.is_ipv6() && target.is_ipv6(),
            _ => false,
        };
        (matches && words.next().is_none()).then_some(Some(SocketAddr::new(source, port)))
    };
    source().map_or(Beginning::Malformed, |source| Beginning::Header(end + 1, source))
}

/// Signature, version and command, family, length; then the addresses, then TLVs.
fn version_2(bytes: &[u8]) -> Beginning {
    let Some((head, rest)) = bytes.split_at_checked(16) else { return Beginning::Incomplete };
    let &[.., version_command, family, high, low] = head else { return Beginning::Malformed };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || 16 + length > LONGEST {
        return Beginning::Malformed;
    }
    let Some(rest) = rest.get(..length) else { return Beginning::Incomplete };
    let source = match (version_command & 0x0f, family) {
        (0, _) | (1, 0) => Some(None), // LOCAL, or of a family that is not told
        (1, 0x11) => rest.first_chunk::<12>().map(|&[a, b, c, d, .., p, q, _, _]| {
            Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q])))
        }),
        (1, 0x21) => rest.first_chunk::<36>().and_then(|addresses| {
            let source: [u8; 16] = *addresses.first_chunk()?;
            let &[.., p, q, _, _] = addresses;
            let port = u16::from_be_bytes([p, q]);
            Some(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port)))
        }),
        // Valid, but no word on a connection like this one: as if it were not told.
        (1, 0x12) => (length >= 12).then_some(None), // UDP over IPv4
        (1, 0x22) => (length >= 36).then_some(None), // UDP over IPv6
        (1, 0x31 | 0x32) => (length >= 216).then_some(None), // UNIX sockets
        _ => None,
    };
    source.map_or(Beginning::Malformed, |source| Beginning::Header(16 + length, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: usize, source: &str) -> Beginning {
        Beginning::Header(length, source.parse().ok())
    }

    #[test]
    fn version_1_is_read() {
        for (bytes, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nGET", header(40, "192.0.2.7:4711")),
            ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", header(32, "[2001:db8::7]:1")),
            ("PROXY UNKNOWN\r\n", header(15, "")),
            ("PROXY UNKNOWN what ever\r\n", header(25, "")),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443", Beginning::Incomplete),
            ("PROX", Beginning::Incomplete),
            ("", Beginning::Incomplete),
            ("POST / HTTP/1.1", Beginning::None),
            ("\x16\x03\x01", Beginning::None),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n", Beginning::Malformed),
            ("PROXY TCP4 2001:db8::7 ::1 1 2\r\n", Beginning::Malformed),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 99999\r\n", Beginning::Malformed),
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 x\r\n", Beginning::Malformed),
            ("PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n", Beginning::Malformed),
            ("PROXY TCP4\r\n", Beginning::Malformed),
        ] {
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
        let endless = format!("PROXY {}", "x".repeat(200));
        assert_eq!(read(endless.as_bytes()), Beginning::Malformed);
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[0x20 | command, family], &length, body].concat()
    }

    #[test]
    fn version_2_is_read() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb, 4, 0, 1, 0];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[33] = 9;
        assert_eq!(read(&v2(1, 0x11, &v4)), header(32, "192.0.2.7:4711"));
        assert_eq!(read(&v2(1, 0x21, &v6)), header(52, "[2001:db8::7]:9"));
        assert_eq!(read(&v2(0, 0x11, &v4)), header(32, ""), "LOCAL");
        assert_eq!(read(&v2(1, 0, &[])), header(16, ""));
        assert_eq!(read(&v2(1, 0x11, &v4[..11])), Beginning::Malformed);
        for (family, length) in [(0x12, 12), (0x22, 36), (0x31, 216), (0x32, 216)] {
            let addresses = [0; 217];
            let whole = read(&v2(1, family, &addresses[..length + 1]));
            assert_eq!(whole, header(16 + length + 1, ""), "{family:x}");
            let short = read(&v2(1, family, &addresses[..length - 1]));
            assert_eq!(short, Beginning::Malformed, "{family:x}");
        }
        for family in [0x01, 0x10, 0x13, 0x20, 0x30, 0x33, 0x41, 0xff] {
            assert_eq!(read(&v2(1, family, &[0; 216])), Beginning::Malformed, "{family:x}");
        }
        assert_eq!(read(&v2(2, 0x11, &v4)), Beginning::Malformed);
        assert_eq!(read(&v2(1, 0x11, &[0; 5_000])), Beginning::Malformed);
        let whole = v2(1, 0x11, &v4);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), Beginning::Incomplete, "{cut}");
        }
    }
}
