//! Access tokens: JWT, HS256, a quarter of an hour.
//!
//! The header's `kid` says which key signed. A new secret replaces the old one without logging
//! anybody out: the old one only verifies until its last token has expired.
//!
//! The algorithm is fixed at both ends, so a token cannot choose one (`none`, or a public key taken
//! for a secret), and the time is an argument, so expiry is tested without waiting.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::timestamp::Timestamp;
use super::user::UserId;

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    iat: i64,
    exp: i64,
}

/// The token cannot be made; a fault of the program, since a key of any length signs.
#[derive(Debug, thiserror::Error)]
#[error("signing an access token failed")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

/// Issues and reads access tokens.
pub struct Tokens {
    id: String,
    encoding: EncodingKey,
    /// By key id; the first also reads tokens that name none.
    decoding: Vec<(String, DecodingKey)>,
    validation: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

impl Tokens {
    /// Tokens signed with `secret`; those signed with `previous` are still read.
    #[must_use]
    pub fn new(secret: &[u8], previous: Option<&[u8]>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library reads the clock itself; `user` compares with the time it is given.
        validation.validate_exp = false;
        Self {
            id: key_id(secret),
            encoding: EncodingKey::from_secret(secret),
            decoding: std::iter::once(secret)
                .chain(previous)
                .map(|secret| (key_id(secret), DecodingKey::from_secret(secret)))
                .collect(),
            validation,
        }
    }

    /// A token for `user`, good for a quarter of an hour from `now`.
    ///
    /// # Errors
    /// When the signature cannot be computed.
    pub fn issue(&self, user: UserId, now: Timestamp) -> Result<String, SignError> {
        let iat = now.as_seconds();
        let exp = iat.saturating_add_unsigned(LIFETIME.as_secs());
        let claims = Claims { sub: user, iat, exp };
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::HS256) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.encoding)?)
    }

    /// Whose token this is, if it is one of ours and still good at `now`. Why not is nobody's
    /// business.
    #[must_use]
    pub fn user(&self, token: &str, now: Timestamp) -> Option<UserId> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid;
        let mut keys = self.decoding.iter();
        let (_, key) = keys.find(|(id, _)| kid.as_ref().is_none_or(|kid| kid == id))?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?.claims;
        (now.as_seconds() < claims.exp).then_some(claims.sub)
    }
}

/// Names a secret without telling it: the first eight bytes of its SHA-256.
fn key_id(secret: &[u8]) -> String {
    digest(&SHA256, secret).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn token(header: &Header, exp: i64, secret: &[u8]) -> String {
        let claims = Claims { sub: UserId::new(), iat: exp - 3600, exp };
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    #[test]
    fn a_token_names_its_user_until_it_expires() {
        let (tokens, now, user) = (Tokens::new(SECRET, None), Timestamp::now(), UserId::new());
        assert_eq!(tokens.user(&tokens.issue(user, now).unwrap(), now), Some(user));

        let now_seconds = now.as_seconds();
        let header = Header::new(Algorithm::HS256);
        assert!(tokens.user(&token(&header, now_seconds + 1, SECRET), now).is_some());
        assert!(tokens.user(&token(&header, now_seconds, SECRET), now).is_none());
    }

    #[test]
    fn a_replaced_secret_verifies_and_no_longer_signs() {
        let (now, user) = (Timestamp::now(), UserId::new());
        let old = Tokens::new(SECRET, None);
        let new = Tokens::new(b"another secret of 32 bytes......", Some(SECRET));
        let (before, after) = (old.issue(user, now).unwrap(), new.issue(user, now).unwrap());
        assert_eq!(new.user(&before, now), Some(user));
        assert_eq!(new.user(&after, now), Some(user));
        assert_eq!(old.user(&after, now), None);
        let dropped = Tokens::new(b"another secret of 32 bytes......", None);
        assert_eq!(dropped.user(&before, now), None);
    }

    #[test]
    fn no_other_key_and_no_other_algorithm_passes() {
        let (tokens, now) = (Tokens::new(SECRET, None), Timestamp::now());
        let exp = now.as_seconds() + 60;
        let other_key =
            token(&Header::new(Algorithm::HS256), exp, b"another secret of 32 bytes......");
        let other_algorithm = token(&Header::new(Algorithm::HS384), exp, SECRET);
        let kid = Some("0123456789abcdef".to_owned());
        let unknown = token(&Header { kid, ..Header::new(Algorithm::HS256) }, exp, SECRET);
        let long = "a.".repeat(100_000);
        for forged in [&*other_key, &other_algorithm, &unknown, "", "a.b.c", &long] {
            assert_eq!(tokens.user(forged, now), None, "{forged}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", Tokens::new(SECRET, None)).contains("0123"));
    }
}
