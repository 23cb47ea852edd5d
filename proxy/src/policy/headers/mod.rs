//! Security headers: a policy is compiled once, when the configuration is read, and then only inserted.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers of a `[headers.NAME]` section, ready to be put on a response.
#[derive(Debug, Clone, Default)]
pub struct HeaderPolicy {
    set: Vec<(HeaderName, HeaderValue)>,
    hsts: Option<HeaderValue>,
    remove: Vec<HeaderName>,
}

impl HeaderPolicy {
    /// A copy that shares no reference count with this one.
    pub(crate) fn detached(&self) -> Self {
        self.clone()
    }

    /// Removes what the policy removes and sets what it sets. HSTS goes out over TLS only (RFC 6797, 7.2).
    pub fn apply(&self, headers: &mut HeaderMap, secure: bool) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        if let (Some(hsts), true) = (&self.hsts, secure) {
            headers.insert(http::header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }
}
