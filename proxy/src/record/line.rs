//! A record as a line of JSON, written by hand into the worker's buffer.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Version;
use tokio::time::Instant;

use super::Record;

impl Record {
    /// Appends the line; `now` is the request's end.
    pub(super) fn write(&self, line: &mut Vec<u8>, clock: &mut ClockText, now: Instant) {
        line.extend_from_slice(b"{\"time\":\"");
        clock.write(line, self.wall);
        line.extend_from_slice(b"\",\"request_id\":\"");
        line.extend_from_slice(self.id.as_bytes());
        line.extend_from_slice(b"\",\"client\":\"");
        line.extend_from_slice(self.client.forwarded_for.as_bytes());
        line.extend_from_slice(b"\",\"method\":\"");
        escape(line, self.method.as_str(), 32);
        if let Some(host) = &self.host {
            line.extend_from_slice(b"\",\"host\":\"");
            escape(line, &host.name, 255);
        }
        line.extend_from_slice(b"\",\"path\":\"");
        if let Some(path) = &self.path {
            escape(line, path.path(), 1_024);
            parameter_names(line, path.query());
        }
        line.extend_from_slice(b"\",\"protocol\":\"");
        line.extend_from_slice(protocol(self.version).as_bytes());
        if let Some(tls) = &self.origin.tls {
            line.extend_from_slice(b"\",\"tls\":\"");
            line.extend_from_slice(tls.version.as_bytes());
        }
        line.extend_from_slice(b"\",\"status\":");
        line.extend_from_slice(self.status.as_ref().map_or("null", |s| s.as_str()).as_bytes());
        number(line, ",\"bytes_in\":", self.bytes_in());
        number(line, ",\"bytes_out\":", self.bytes_out);
        millis(line, ",\"duration_ms\":", now.saturating_duration_since(self.started));
        if let Some(time) = self.upstream_time {
            millis(line, ",\"upstream_ms\":", time);
        }
        if let Some(route) = &self.route {
            text(line, ",\"route\":\"", &route.label);
        }
        if let Some(rule) = &self.rule {
            text(line, ",\"rule\":\"", rule);
        }
        if !self.shadowed.is_empty() {
            names(line, ",\"shadowed\":[", &self.shadowed);
        }
        if let Some(reason) = self.reason {
            text(line, ",\"reason\":\"", reason);
        }
        if self.aborted {
            line.extend_from_slice(b",\"aborted\":true");
        }
        line.extend_from_slice(b"}\n");
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// A string, and what comes before it.
fn text(line: &mut Vec<u8>, before: &str, value: &str) {
    line.extend_from_slice(before.as_bytes());
    escape(line, value, 256);
    line.push(b'"');
}

/// A list of names, and what comes before it.
fn names(line: &mut Vec<u8>, before: &str, values: &[Arc<str>]) {
    line.extend_from_slice(before.as_bytes());
    for (index, value) in values.iter().enumerate() {
        text(line, if index == 0 { "\"" } else { ",\"" }, value);
    }
    line.push(b']');
}

fn number(line: &mut Vec<u8>, before: &str, value: u64) {
    line.extend_from_slice(before.as_bytes());
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with microseconds behind the point.
#[expect(clippy::cast_possible_truncation, reason = "584,000 years of microseconds")]
fn millis(line: &mut Vec<u8>, before: &str, value: Duration) {
    let micros = value.as_micros() as u64;
    number(line, before, micros / 1_000);
    let fraction = micros % 1_000 + 1_000;
    line.push(b'.');
    line.extend_from_slice(
        itoa::Buffer::new().format(fraction).as_bytes().get(1..).unwrap_or_default(),
    );
}

/// `?name&name`, the query without its values.
pub(super) fn parameter_names(line: &mut Vec<u8>, query: Option<&str>) {
    let Some(query) = query else { return };
    let mut separator = b'?';
    for pair in query.split('&').take(32) {
        line.push(separator);
        separator = b'&';
        escape(line, pair.split('=').next().unwrap_or_default(), 64);
    }
}

/// The inside of a JSON string, at most `most` bytes of it.
fn escape(line: &mut Vec<u8>, value: &str, most: usize) {
    let cut = value.floor_char_boundary(most);
    let kept = value.get(..cut).unwrap_or_default();
    let mut rest = kept.as_bytes();
    // Nearly always there is nothing to escape.
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20 | 0x7f)) {
        let (plain, special) = rest.split_at(at);
        line.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            _ => _ = write!(line, "\\u{byte:04x}"),
        }
        rest = behind;
    }
    line.extend_from_slice(rest);
    if cut < value.len() {
        line.extend_from_slice("…".as_bytes());
    }
}

/// The text of a moment, with the second's part kept from one record to the next.
#[derive(Debug, Default)]
pub(crate) struct ClockText {
    second: u64,
    format: &'static str,
    text: String,
}

impl ClockText {
    /// The second of a moment, in UTC.
    pub(super) fn second(&mut self, wall: SystemTime, format: &'static str) -> &str {
        let second = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if (self.second, self.format) != (second, format) {
            (self.second, self.format) = (second, format);
            let second = i64::try_from(second).unwrap_or_default();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = time.strftime(format).to_string();
        }
        &self.text
    }

    fn write(&mut self, line: &mut Vec<u8>, wall: SystemTime) {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        line.extend_from_slice(self.second(wall, "%Y-%m-%dT%H:%M:%S.").as_bytes());
        let fraction = since.subsec_millis() + 1_000;
        line.extend_from_slice(
            itoa::Buffer::new().format(fraction).as_bytes().get(1..).unwrap_or_default(),
        );
        line.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &str, most: usize) -> String {
        let mut line = Vec::new();
        escape(&mut line, value, most);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn strings_are_escaped_and_cut_between_characters() {
        assert_eq!(escaped("a\"b\\c\n\u{7f}é", 64), "a\\\"b\\\\c\\u000a\\u007fé");
        assert_eq!(escaped("aéé", 2), "a…");
        let line = format!("\"{}\"", escaped("\u{1}\"\\ü", 64));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "\u{1}\"\\ü");
    }

    #[test]
    fn a_query_keeps_its_names_and_loses_its_values() {
        let mut line = Vec::new();
        parameter_names(&mut line, Some("token=secret&page=2&flag"));
        assert_eq!(line, b"?token&page&flag");
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let (mut line, mut clock) = (Vec::new(), ClockText::default());
        clock.write(&mut line, UNIX_EPOCH + Duration::from_millis(1_795_000_000_007));
        assert_eq!(line, b"2026-11-18T11:06:40.007Z");
        line.clear();
        millis(&mut line, ",\"d\":", Duration::from_micros(12_034));
        assert_eq!(line, b",\"d\":12.034");
    }
}
