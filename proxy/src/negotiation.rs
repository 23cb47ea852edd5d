//! What a client would rather have (RFC 9110, 12.5): a page or JSON, and the weights of its
//! preferences.

use http::{HeaderMap, header};

/// Whether the client would rather have a page than problem+json (RFC 9110, 12.5.1): `text/html` is
/// named, and with no less weight than JSON. A wildcard alone is what programs send.
pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0, 0);
    for field in headers.get_all(header::ACCEPT) {
        for item in field.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';');
            let media = parts.next().unwrap_or_default().trim();
            let best = if media.eq_ignore_ascii_case("text/html") {
                &mut html
            } else if media.eq_ignore_ascii_case("application/json")
                || media.eq_ignore_ascii_case("application/problem+json")
            {
                &mut json
            } else {
                continue;
            };
            let weight =
                parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1_000, weight);
            *best = weight.max(*best);
        }
    }
    html > 0 && html >= json
}

/// A weight in thousandths; a malformed one counts as none.
pub(crate) fn weight(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "1" => 1_000,
        "0" if digits(fraction) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_browser_gets_a_page_and_a_program_gets_json() {
        for (value, page) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html;q=0.9", false),
            ("application/json;q=0.5, TEXT/HTML;q=0.501", true),
            ("text/html;q=0", false),
            ("text/html;q=nonsense", false),
        ] {
            assert_eq!(wants_html(&accept(value)), page, "{value}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
