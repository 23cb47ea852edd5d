//! A session: one login, kept alive by refresh tokens that are each good for one use.
//!
//! Exchanging a token gives the next one. A token that comes back after its use has been copied by
//! somebody, nobody can say by whom, so the whole session ends (RFC 9700, 4.14.2). The database
//! keeps hashes only: who reads it can log in as nobody. SHA-256 without salt is enough, because a
//! token is 32 random bytes and not a password.

use aws_lc_rs::digest::{SHA256, digest};

use super::timestamp::Timestamp;

/// How long a session lasts at most after its login, in seconds: 30 days.
pub const SESSION_SECONDS: i64 = 30 * 24 * 60 * 60;

const TOKEN_BYTES: usize = 32;

/// What is exchanged for the next access token: 64 hexadecimal digits.
pub struct RefreshToken(String);

/// What the database keeps of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshHash(Vec<u8>);

impl RefreshToken {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// One that a client sent, if it can be one.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let well_formed =
            raw.len() == 2 * TOKEN_BYTES && raw.bytes().all(|byte| byte.is_ascii_hexdigit());
        well_formed.then(|| Self(raw.to_owned()))
    }

    /// The token, for its cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What to look it up by.
    #[must_use]
    pub fn hash(&self) -> RefreshHash {
        RefreshHash(digest(&SHA256, self.0.as_bytes()).as_ref().to_vec())
    }
}

impl RefreshHash {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// When a session that begins at `now` ends.
#[must_use]
pub fn end(now: Timestamp) -> Timestamp {
    now.plus_seconds(SESSION_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_found_again_by_their_hash() {
        let (one, two) = (RefreshToken::random().unwrap(), RefreshToken::random().unwrap());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(RefreshToken::parse(one.expose()).unwrap().hash(), one.hash());
        assert_eq!(one.hash().as_bytes().len(), 32);
        for wrong in ["", "x", &"g".repeat(64), &"a".repeat(65)] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
    }
}
