//! HTTP Strict Transport Security (RFC 6797).

use std::time::Duration;

use http::HeaderValue;

/// What a preload list asks for, in seconds: a year (<https://hstspreload.org>).
const SHORTEST_PRELOAD: u64 = 31_536_000;

/// The parts of a `Strict-Transport-Security` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hsts {
    /// How long browsers insist on https; whole seconds.
    pub(crate) max_age: Duration,
    /// Whether for every name below the host too.
    pub(crate) include_subdomains: bool,
    /// Whether the host agrees to be built into browsers.
    pub(crate) preload: bool,
    /// Whether `max_age` is reached step by step.
    pub(crate) ramp: bool,
}

/// Days since the first, and the longest `max-age` in seconds from then on. A mistake of the first
/// day is forgotten in minutes.
const STEPS: [(u64, u64); 5] =
    [(0, 300), (1, 3_600), (2, 86_400), (4, 7 * 86_400), (7, 30 * 86_400)];

/// The day from which on the whole `max_age` holds.
const TOP: u64 = 14;

/// The directives that there are (RFC 6797, 6.1; the last is of the preload lists).
const DIRECTIVES: [&str; 3] = ["max-age", "includeSubDomains", "preload"];

/// A number of seconds; one that is too large for it is for ever (RFC 9111, 1.2.2).
fn seconds(text: &str) -> Option<u64> {
    const FOR_EVER: u64 = 1 << 31;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(FOR_EVER))
}

impl Hsts {
    /// A whole value as it stands in a header (RFC 6797, 6.1); the error is the remedy.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut hsts = Self {
            max_age: Duration::ZERO,
            include_subdomains: false,
            preload: false,
            ramp: false,
        };
        let mut max_age = None;
        let mut seen = Vec::new();
        for directive in text.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim().to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(format!("`{name}` stands in it twice: browsers ignore all of it"));
            }
            match name.as_str() {
                "max-age" => max_age = seconds(value.trim().trim_matches('"')),
                "includesubdomains" => hsts.include_subdomains = true,
                "preload" => hsts.preload = true,
                _ => return Err("known: max-age=SECONDS, includeSubDomains, preload".to_owned()),
            }
            seen.push(name);
        }
        hsts.max_age = max_age
            .map(Duration::from_secs)
            .ok_or_else(|| "add max-age=SECONDS, a whole number".to_owned())?;
        Ok(hsts)
    }

    /// The value of an upstream, as browsers read it: they ignore what they do not know.
    pub(super) fn received(text: &str) -> Option<Self> {
        let is_known = |directive: &&str| {
            let name = directive.split('=').next().unwrap_or_default().trim();
            DIRECTIVES.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        let mut quoted = false;
        let directives = text.split(|c| {
            quoted ^= c == '"';
            c == ';' && !quoted
        });
        let known: Vec<_> = directives.filter(is_known).collect();
        Self::parse(&known.join(";")).ok()
    }

    /// What keeps a preload list from taking the host, if anything.
    pub(crate) fn preload_refusal(&self) -> Option<&'static str> {
        match self {
            Self { preload: false, .. } => None,
            Self { ramp: true, .. } => {
                Some("preload lists ask for a year at once: end the ramp first")
            }
            Self { max_age, .. } if max_age.as_secs() < SHORTEST_PRELOAD => {
                Some("preload lists ask for a `max_age` of \"365d\" or more")
            }
            Self { include_subdomains: false, .. } => {
                Some("preload lists ask for `include_subdomains = true`")
            }
            Self { .. } => None,
        }
    }

    /// What it is after so many seconds of climbing, the first step first.
    pub(super) fn steps(&self) -> Vec<(u64, Self)> {
        let days = |days: u64| days * 86_400;
        let steps = STEPS.iter().filter(|_| self.ramp).map(|(day, longest)| {
            let max_age = self.max_age.min(Duration::from_secs(*longest));
            (days(*day), Self { max_age, ..*self })
        });
        let top = if self.ramp { days(TOP) } else { 0 };
        steps.chain([(top, *self)]).collect()
    }

    /// The value of the header.
    pub(super) fn value(&self) -> HeaderValue {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        let seconds = self.max_age.as_secs();
        // Digits and these words are always a value.
        HeaderValue::try_from(format!("max-age={seconds}{subdomains}{preload}"))
            .unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
    }
}
