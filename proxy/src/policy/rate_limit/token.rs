//! JSON Web Tokens (RFC 7519), read for one claim to count by.
//!
//! A token is believed if it is signed by a configured secret; whether it has expired is the
//! application's to say, since its claims are true of its bearer all the same. Without a secret,
//! anybody could write any claim, and use up what is left to somebody else: then the whole token is
//! what counts, unread.

use std::borrow::Cow;
use std::collections::HashSet;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};

/// What tokens are verified by.
pub(super) struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// By secrets that a token may be signed with, of which one is enough.
    pub(super) fn new(secrets: &[String]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        validation.required_spec_claims = HashSet::new();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = |secret: &String| DecodingKey::from_secret(secret.as_bytes());
        Self { keys: secrets.iter().map(key).collect(), validation }
    }

    /// A claim of a token that is believed, or the token itself if none could be. `None` for a
    /// token that cannot be verified, or lacks the claim.
    pub(super) fn claim<'a>(&self, token: &'a [u8], claim: &str) -> Option<Cow<'a, [u8]>> {
        if self.keys.is_empty() {
            return Some(Cow::Borrowed(token));
        }
        let verified = |key| decode::<Map<String, Value>>(token, key, &self.validation).ok();
        let claims = self.keys.iter().find_map(verified)?.claims;
        match claims.get(claim)? {
            Value::String(text) => Some(Cow::Owned(text.clone().into_bytes())),
            Value::Number(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl std::fmt::Debug for Verifier {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}
