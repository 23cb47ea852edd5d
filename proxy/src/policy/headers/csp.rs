//! Content-Security-Policy (CSP Level 3, <https://www.w3.org/TR/CSP3/>).

use crate::config::nearest;

use super::preset::Preset;

/// A directive that browsers know.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    values: Values,
}

/// What may follow a directive's name.
#[derive(Debug, PartialEq, Eq)]
enum Values {
    /// A list of sources, at least one.
    Sources,
    /// Nothing.
    Nothing,
    /// Tokens, possibly none.
    Tokens,
}

const fn sources(name: &'static str) -> Directive {
    Directive { name, values: Values::Sources }
}

const fn tokens(name: &'static str) -> Directive {
    Directive { name, values: Values::Tokens }
}

/// Every directive of CSP 3 and of the specifications that extend it.
pub(crate) const DIRECTIVES: [Directive; 26] = [
    sources("default-src"),
    sources("base-uri"),
    sources("child-src"),
    sources("connect-src"),
    sources("fenced-frame-src"),
    sources("font-src"),
    sources("form-action"),
    sources("frame-ancestors"),
    sources("frame-src"),
    sources("img-src"),
    sources("manifest-src"),
    sources("media-src"),
    sources("object-src"),
    sources("script-src"),
    sources("script-src-attr"),
    sources("script-src-elem"),
    sources("style-src"),
    sources("style-src-attr"),
    sources("style-src-elem"),
    sources("worker-src"),
    tokens("report-to"),
    tokens("report-uri"),
    tokens("require-trusted-types-for"),
    tokens("sandbox"),
    tokens("trusted-types"),
    Directive { name: "upgrade-insecure-requests", values: Values::Nothing },
];

/// Keywords, without the quotes that they need.
const KEYWORDS: [&str; 11] = [
    "none",
    "self",
    "strict-dynamic",
    "report-sample",
    "inline-speculation-rules",
    "unsafe-inline",
    "unsafe-eval",
    "unsafe-hashes",
    "unsafe-webtransport-hashes",
    "wasm-unsafe-eval",
    "trusted-types-eval",
];

/// What a nonce or a hash begins with, without its quote.
const PREFIXES: [&str; 4] = ["nonce-", "sha256-", "sha384-", "sha512-"];

impl Directive {
    /// The directive of a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|directive| directive.name == name)
    }

    /// Refuses a value that browsers would ignore or read as something else; the error is the
    /// remedy.
    pub(crate) fn check_value(&self, value: &str) -> Result<(), String> {
        match value.bytes().find(|byte| !byte.is_ascii_graphic() || matches!(byte, b';' | b',')) {
            Some(b' ') => return Err("write a list, one value in each string".to_owned()),
            Some(b';' | b',') => return Err("percent-encode `;` as %3B and `,` as %2C".to_owned()),
            Some(_) => return Err("only printable ASCII can stand in a policy".to_owned()),
            None if value.is_empty() => return Err("remove the empty string".to_owned()),
            None => {}
        }
        match self.values {
            Values::Sources => check_source(value),
            Values::Nothing => Err(format!("`{}` takes no value: write []", self.name)),
            Values::Tokens => Ok(()),
        }
    }

    /// Refuses a list that says nothing or contradicts itself; the error is the remedy.
    pub(crate) fn check_list(&self, values: &[&str]) -> Result<(), String> {
        if self.values != Values::Sources {
            return Ok(());
        }
        match values {
            [] => Err("write [\"'none'\"] to allow nothing".to_owned()),
            [_] => Ok(()),
            _ if values.contains(&"'none'") => {
                Err("browsers ignore `'none'` beside other sources: remove it".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn check_source(source: &str) -> Result<(), String> {
    let has_prefix = |text: &str| PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    let folded = source.to_ascii_lowercase();
    if KEYWORDS.contains(&folded.as_str()) || has_prefix(&folded) {
        return Err(format!("put it in single quotes: \"'{source}'\""));
    }
    let Some(inner) = source.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else {
        return match source.contains(['\'', '"']) {
            true => Err("single quotes stand around a whole keyword only".to_owned()),
            false => Ok(()),
        };
    };
    if inner == "nonce" {
        return Err("a nonce for each response is not supported".to_owned());
    }
    let keyword = inner.to_ascii_lowercase();
    match KEYWORDS.contains(&keyword.as_str()) || (has_prefix(&keyword) && is_base64(inner)) {
        true => Ok(()),
        false if has_prefix(&keyword) => Err("write base64 after the hyphen".to_owned()),
        false => Err(nearest::suggestion(inner, KEYWORDS)),
    }
}

/// Whether base64 or base64url follows the first hyphen of a nonce or hash.
fn is_base64(source: &str) -> bool {
    let value = source.split_once('-').map_or("", |(_, value)| value).trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    !value.is_empty() && value.bytes().all(allowed)
}

/// A policy: directives in order.
#[derive(Debug)]
pub(super) struct Csp {
    directives: Vec<(&'static str, String)>,
    separator: &'static str,
}

impl Csp {
    pub(super) fn new(preset: Preset) -> Self {
        let defaults = preset.csp().iter();
        Self {
            directives: defaults.map(|(name, value)| (*name, (*value).to_owned())).collect(),
            separator: preset.csp_separator(),
        }
    }

    /// Replaces a directive where it stands, or adds it at the end, as helmet does.
    pub(super) fn set(&mut self, directive: &Directive, values: &[&str]) {
        let value = values.join(" ");
        match self.directives.iter_mut().find(|(name, _)| *name == directive.name) {
            Some((_, old)) => *old = value,
            None => self.directives.push((directive.name, value)),
        }
    }

    pub(super) fn remove(&mut self, directive: &Directive) {
        self.directives.retain(|(name, _)| *name != directive.name);
    }

    pub(super) fn clear(&mut self) {
        self.directives.clear();
    }

    /// The value of the header; `None` if there is no directive.
    pub(super) fn value(&self) -> Option<String> {
        let directives = self.directives.iter().map(|(name, value)| match value.is_empty() {
            true => (*name).to_owned(),
            false => format!("{name} {value}"),
        });
        let value = directives.collect::<Vec<_>>().join(self.separator);
        (!value.is_empty()).then_some(value)
    }
}
