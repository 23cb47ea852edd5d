//! The two forms in which browsers report (<https://www.w3.org/TR/CSP3/>, 5.3 and 5.5): a list for
//! the Reporting API, and one object for `report-uri`.

use serde::Deserialize;

use super::Violation;

/// Violations that are read of one request.
const MOST: usize = 50;

/// Characters that are kept of a string.
const LONGEST: usize = 256;

/// What may be reported in a form.
#[derive(Deserialize)]
struct Report {
    #[serde(rename = "type")]
    kind: String,
    body: serde_json::Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Modern {
    #[serde(rename = "documentURL")]
    document_url: String,
    #[serde(rename = "blockedURL")]
    blocked_url: Option<String>,
    effective_directive: String,
    disposition: String,
    source_file: Option<String>,
    line_number: Option<u64>,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "csp-report")]
    report: Legacy,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Legacy {
    document_uri: String,
    blocked_uri: String,
    effective_directive: String,
    violated_directive: String,
    disposition: String,
    source_file: Option<String>,
    line_number: Option<u64>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/reports+json`.
    Modern,
    /// `application/csp-report`.
    Legacy,
}

impl Form {
    /// The form of a media type.
    pub(super) fn named(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media.to_ascii_lowercase().as_str() {
            "application/reports+json" => Some(Self::Modern),
            // Safari says JSON.
            "application/csp-report" | "application/json" => Some(Self::Legacy),
            _ => None,
        }
    }

    /// The violations of pages of `host` in a body; `None` if it is not in this form.
    pub(super) fn read(self, body: &[u8], site: &str, host: &str) -> Option<Vec<Violation>> {
        let reports: Vec<Modern> = match self {
            Self::Modern => {
                let reports: Vec<Report> = serde_json::from_slice(body).ok()?;
                let reports = reports.into_iter().filter(|report| report.kind == "csp-violation");
                let bodies = reports.map(|report| serde_json::from_value(report.body));
                bodies.take(MOST).collect::<Result<_, _>>().ok()?
            }
            Self::Legacy => {
                let Wrapped { report } = serde_json::from_slice(body).ok()?;
                vec![report.into()]
            }
        };
        Some(reports.into_iter().filter_map(|report| report.violation(site, host)).collect())
    }
}

impl From<Legacy> for Modern {
    fn from(legacy: Legacy) -> Self {
        // Old browsers name the directive with its sources, and only there.
        let violated = legacy.violated_directive.split(' ').next().unwrap_or_default();
        let directive = match legacy.effective_directive.is_empty() {
            true => violated.to_owned(),
            false => legacy.effective_directive,
        };
        Self {
            document_url: legacy.document_uri,
            blocked_url: Some(legacy.blocked_uri),
            effective_directive: directive,
            disposition: legacy.disposition,
            source_file: legacy.source_file,
            line_number: legacy.line_number,
        }
    }
}

impl Modern {
    /// `None` if it is not of a page of this host, or names nothing that a policy could.
    fn violation(self, site: &str, host: &str) -> Option<Violation> {
        let (_, rest) = self.document_url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !authority.eq_ignore_ascii_case(host) {
            return None;
        }
        let directive = self.effective_directive;
        let blocked = self.blocked_url.as_deref().unwrap_or_default();
        // Of the page's own origin, the path says enough.
        let (origin, _) = self.document_url.split_at(self.document_url.len() - path.len());
        let own = blocked.strip_prefix(origin).filter(|rest| rest.starts_with('/'));
        let blocked = own.unwrap_or(blocked);
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        if directive.is_empty() || directive.len() > 40 || !directive.bytes().all(is_name) {
            return None;
        }
        let source = self.source_file.as_deref().map(bare).unwrap_or_default();
        let source = match self.line_number {
            Some(line) if !source.is_empty() => format!("{source}:{line}"),
            _ => source,
        };
        Some(Violation {
            site: site.to_owned(),
            page: if path.is_empty() { "/".to_owned() } else { bare(path) },
            directive,
            blocked: bare(blocked),
            enforced: self.disposition != "report",
            source,
        })
    }
}

/// A URL without query and fragment, nor anything that a terminal would act on, cut to a length.
/// Of what is not of the web (`data:`, `blob:`, an extension), the scheme is said and no more.
fn bare(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (url, _) = url.split_at(end);
    let is_scheme = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(allowed)
    };
    let url = match url.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) && !of_the_web(scheme) => scheme,
        _ => url,
    };
    url.chars().filter(|c| c.is_ascii_graphic()).take(LONGEST).collect()
}

fn of_the_web(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let modern = br#"[{"type":"csp-violation","age":1,"url":"x","body":{
            "documentURL":"https://a.example:8443/p?token=1#f",
            "blockedURL":"https://b.example/i.png?s=1","effectiveDirective":"img-src",
            "disposition":"report","sourceFile":"https://a.example/s.js?v=1",
            "lineNumber":7,"columnNumber":1}},{"type":"deprecation","body":{}}]"#;
        let legacy = br#"{"csp-report":{"document-uri":"https://A.example:8443/p?token=1",
            "blocked-uri":"https://b.example/i.png","violated-directive":"img-src 'self'",
            "disposition":"report","source-file":"https://a.example/s.js","line-number":7}}"#;
        let expected = Violation {
            site: "a".to_owned(),
            page: "/p".to_owned(),
            directive: "img-src".to_owned(),
            blocked: "https://b.example/i.png".to_owned(),
            enforced: false,
            source: "https://a.example/s.js:7".to_owned(),
        };
        for (form, body) in [(Form::Modern, &modern[..]), (Form::Legacy, &legacy[..])] {
            let found = form.read(body, "a", "a.example:8443").unwrap();
            assert!(found == std::slice::from_ref(&expected), "{form:?}: {found:?}");
            assert_eq!(form.read(body, "a", "b.example").unwrap(), [], "of another site");
            for cut in 0..body.len() {
                assert!(form.read(&body[..cut], "a", "a.example").is_none());
            }
        }
    }

    #[test]
    fn nothing_in_a_report_is_trusted() {
        let report = |directive: &str, blocked: &str| {
            let body = serde_json::json!({ "csp-report": {
                "document-uri": "https://a.example/", "blocked-uri": blocked,
                "effective-directive": directive,
            }});
            Form::Legacy.read(body.to_string().as_bytes(), "a", "a.example").unwrap()
        };
        assert!(report("img-src; script-src *", "x").is_empty());
        assert!(report("", "x").is_empty());
        for (blocked, kept) in [
            ("data:text/html,secret", "data"),
            ("blob:https://a.example/0b5e-1", "blob"),
            ("chrome-extension://abc/x.js", "chrome-extension"),
            ("/a:b?c", "/a:b"),
            ("WSS://b.example/x?y#z", "WSS://b.example/x"),
            ("inline", "inline"),
        ] {
            assert_eq!(report("img-src", blocked)[0].blocked, kept, "{blocked}");
        }
        let long = report("img-src", &format!("https://b.example/\u{1b}[2J{}", "ü/".repeat(500)));
        assert_eq!(long[0].blocked, format!("https://b.example/[2J{}", "/".repeat(235)));
        assert!(Form::named("text/plain").is_none());
    }
}
