//! The presets, as data. Their values are those of their sources, byte for byte.

use std::time::Duration;

use super::hsts::Hsts;

/// Where a policy starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The defaults of helmet 8.3 (<https://github.com/helmetjs/helmet>), byte for byte.
    Helmet,
    /// The set of the OWASP Secure Headers Project (`headers_add.json` of 2026-07-19), without
    /// `Clear-Site-Data`, which belongs to a logout and to nothing else.
    Owasp,
    /// For answers that no browser shows as a page: nothing may be loaded, framed or cached.
    Api,
    /// Nothing.
    None,
}

/// A CSP directive and its sources.
pub(super) type DirectiveDefault = (&'static str, &'static str);

impl Preset {
    /// The names in a configuration.
    pub(crate) const NAMES: [&str; 4] = ["helmet", "owasp", "api", "none"];

    /// The preset of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "helmet" => Some(Self::Helmet),
            "owasp" => Some(Self::Owasp),
            "api" => Some(Self::Api),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// The directives of its Content-Security-Policy, in order.
    pub(super) fn csp(self) -> &'static [DirectiveDefault] {
        match self {
            Self::Helmet => &HELMET_CSP,
            Self::Owasp => &OWASP_CSP,
            Self::Api => &API_CSP,
            Self::None => &[],
        }
    }

    /// What stands between two directives: helmet saves the space.
    pub(super) fn csp_separator(self) -> &'static str {
        match self {
            Self::Helmet => ";",
            Self::Owasp | Self::Api | Self::None => "; ",
        }
    }

    /// Every other header but HSTS, lower-case names.
    pub(super) fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Helmet => &HELMET,
            Self::Owasp => &OWASP,
            Self::Api => &API,
            Self::None => &[],
        }
    }

    /// Its HSTS.
    pub(super) fn hsts(self) -> Option<Hsts> {
        let years = |years: u64| Hsts {
            max_age: Duration::from_secs(years * 31_536_000),
            include_subdomains: true,
            preload: false,
            ramp: false,
        };
        match self {
            Self::Helmet | Self::Api => Some(years(1)),
            Self::Owasp => Some(years(2)),
            Self::None => None,
        }
    }

    /// Upstream headers that it removes.
    pub(super) fn remove(self) -> &'static [&'static str] {
        match self {
            Self::Helmet | Self::Owasp | Self::Api => &["x-powered-by"],
            Self::None => &[],
        }
    }
}

const HELMET_CSP: [DirectiveDefault; 11] = [
    ("default-src", "'self'"),
    ("base-uri", "'self'"),
    ("font-src", "'self' https: data:"),
    ("form-action", "'self'"),
    ("frame-ancestors", "'self'"),
    ("img-src", "'self' data:"),
    ("object-src", "'none'"),
    ("script-src", "'self'"),
    ("script-src-attr", "'none'"),
    ("style-src", "'self' https: 'unsafe-inline'"),
    ("upgrade-insecure-requests", ""),
];

const HELMET: [(&str, &str); 10] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

const OWASP_CSP: [DirectiveDefault; 6] = [
    ("default-src", "'self'"),
    ("form-action", "'self'"),
    ("base-uri", "'self'"),
    ("object-src", "'none'"),
    ("frame-ancestors", "'none'"),
    ("upgrade-insecure-requests", ""),
];

const OWASP: [(&str, &str); 10] = [
    ("cache-control", "no-store, max-age=0"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", OWASP_PERMISSIONS),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-frame-options", "deny"),
    ("x-permitted-cross-domain-policies", "none"),
];

const OWASP_PERMISSIONS: &str = "accelerometer=(), autoplay=(), camera=(), \
    cross-origin-isolated=(), display-capture=(), encrypted-media=(), fullscreen=(), \
    geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(), \
    payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), \
    sync-xhr=(self), usb=(), web-share=(), xr-spatial-tracking=(), clipboard-read=(), \
    clipboard-write=(), gamepad=(), hid=(), idle-detection=(), interest-cohort=(), serial=(), \
    unload=()";

const API_CSP: [DirectiveDefault; 2] = [("default-src", "'none'"), ("frame-ancestors", "'none'")];

const API: [(&str, &str); 7] = [
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-permitted-cross-domain-policies", "none"),
];
