//! A record as a line of the "combined" format, which the tools of Apache and nginx read:
//! `client - - [time] "request" status bytes "referer" "user agent"`.
//!
//! It says less than JSON: no request id, host, reason or duration. Values of queries are left out
//! here, too, and so is the query of a referer.

use http::{HeaderMap, HeaderValue, Version, header};

use super::Record;
use super::line::{ClockText, parameter_names};

/// What only this format says of a request.
#[derive(Debug)]
pub(super) struct Combined {
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Combined {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let field = |name| fields.get(name).cloned();
        Self { referer: field(header::REFERER), user_agent: field(header::USER_AGENT) }
    }

    /// Appends the line of `record`.
    pub(super) fn write(&self, record: &Record, line: &mut Vec<u8>, clock: &mut ClockText) {
        line.extend_from_slice(record.client.forwarded_for.as_bytes());
        line.extend_from_slice(b" - - [");
        let time = clock.second(record.wall, "%d/%b/%Y:%H:%M:%S +0000");
        line.extend_from_slice(time.as_bytes());
        line.extend_from_slice(b"] \"");
        escape(line, record.method.as_str().as_bytes(), 32);
        line.push(b' ');
        if let Some(path) = &record.path {
            escape(line, path.path().as_bytes(), 1_024);
            let mut names = Vec::new();
            parameter_names(&mut names, path.query());
            escape(line, &names, 1_024);
        }
        line.push(b' ');
        line.extend_from_slice(protocol(record.version).as_bytes());
        line.extend_from_slice(b"\" ");
        // The format has no word for "the client left before there was an answer"; 499 is nginx's.
        line.extend_from_slice(record.status.as_ref().map_or("499", |s| s.as_str()).as_bytes());
        line.push(b' ');
        line.extend_from_slice(itoa::Buffer::new().format(record.bytes_out).as_bytes());
        let referer = self.referer.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        quoted(line, referer.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default());
        quoted(line, self.user_agent.as_ref().map_or(&b""[..], HeaderValue::as_bytes));
        line.push(b'\n');
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// ` "value"`, or ` "-"` for none.
fn quoted(line: &mut Vec<u8>, value: &[u8]) {
    line.extend_from_slice(b" \"");
    escape(line, if value.is_empty() { b"-" } else { value }, 1_024);
    line.push(b'"');
}

/// At most `most` bytes; what could end the string or the line, or is not ASCII, as `\xHH`.
fn escape(line: &mut Vec<u8>, value: &[u8], most: usize) {
    for &byte in value.iter().take(most) {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                line.extend_from_slice(b"\\x");
                let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0') as u8;
                line.extend([digit(byte >> 4), digit(byte & 15)]);
            }
            _ => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_string_or_a_line_but_its_own_end() {
        let mut line = Vec::new();
        quoted(&mut line, b"a\"b\\c\nd\xff");
        quoted(&mut line, b"");
        assert_eq!(line, br#" "a\x22b\x5cc\x0ad\xff" "-""#);
    }
}
