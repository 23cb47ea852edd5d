//! Passwords: argon2id, off the async threads, in a line of bounded length.
//!
//! Hashing costs tens of milliseconds and 19 MiB by design, so whoever can make a server hash can
//! make it busy. Two semaphores answer that: one hands out as many turns as there are cores to
//! spare, the other counts everybody who is hashing or waiting and turns the rest away at once
//! ([`HashError::Busy`]).
//!
//! [`Hasher::verify`] does the same work whether or not the user exists: there is no path through
//! it without one verification, and the decoy it verifies against carries the parameters of every
//! new hash.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

/// Fewest and most characters of a new password. The upper bound is far above what anybody types
/// and keeps the schema honest; argon2 itself takes any length.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// Requests that may wait for each turn: about a second of waiting, more would outlive the client's
/// patience.
const WAITING_PER_TURN: usize = 32;

/// A password as typed, of 8 to 128 characters. It has no `Debug` that shows it.
pub struct NewPassword(String);

impl NewPassword {
    /// Accepts a password for a new account. It is taken as it stands: blanks count.
    ///
    /// # Errors
    /// What is wrong, for the field's fault.
    pub fn parse(raw: &str) -> Result<Self, String> {
        if LENGTH.contains(&raw.chars().count()) {
            Ok(Self(raw.to_owned()))
        } else {
            Err(format!("must have {} to {} characters", LENGTH.start(), LENGTH.end()))
        }
    }
}

/// An argon2id hash with its salt and parameters, as a PHC string.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

/// Why there is no hash, or no verdict.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The line is full; the client may try again in a second.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// argon2 failed: a stored hash is no PHC string, or memory ran out.
    #[error("password hashing failed")]
    Argon2(#[from] argon2::password_hash::Error),
    /// The hashing thread panicked, or the program is stopping.
    #[error("the hashing thread ended")]
    Thread(#[from] tokio::task::JoinError),
}

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Hasher {
    cost: Params,
    decoy: PasswordHash,
    /// Everybody inside: hashing or waiting.
    places: Arc<Semaphore>,
    /// Those hashing.
    turns: Arc<Semaphore>,
    bounds: Bounds,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Bounds {
    places: usize,
    turns: usize,
}

/// How busy a [`Hasher`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLoad {
    /// Passwords that are being hashed.
    pub hashing: u64,
    /// Requests that wait for their turn.
    pub waiting: u64,
    /// Requests that were turned away since the start.
    pub refused: u64,
}

impl Hasher {
    /// A hasher that leaves one core of several to everything else.
    ///
    /// # Errors
    /// When argon2 cannot make the decoy hash, which takes the memory of `cost`.
    pub fn new(cost: Params) -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let turns = cores.saturating_sub(1).max(1);
        Self::with_limits(cost, turns, turns * WAITING_PER_TURN)
    }

    fn with_limits(cost: Params, turns: usize, waiting: usize) -> Result<Self, HashError> {
        Ok(Self {
            decoy: hash_now("decoy", &cost)?,
            cost,
            places: Arc::new(Semaphore::new(turns + waiting)),
            turns: Arc::new(Semaphore::new(turns)),
            bounds: Bounds { places: turns + waiting, turns },
            refused: AtomicU64::new(0),
        })
    }

    /// How busy it is.
    pub fn load(&self) -> HashLoad {
        let taken = |most: usize, free: &Semaphore| most.saturating_sub(free.available_permits());
        let hashing = taken(self.bounds.turns, &self.turns);
        let inside = taken(self.bounds.places, &self.places);
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        HashLoad {
            hashing: count(hashing),
            waiting: count(inside.saturating_sub(hashing)),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Hashes a new password with a random salt.
    ///
    /// # Errors
    /// As [`HashError`] says.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, HashError> {
        let cost = self.cost.clone();
        Ok(self.in_turn(move || hash_now(&password.0, &cost)).await??)
    }

    /// Whether `password` belongs to `stored`. Without a stored hash the answer is no, after the
    /// same work.
    ///
    /// # Errors
    /// As [`HashError`] says.
    pub async fn verify(
        &self,
        password: String,
        stored: Option<PasswordHash>,
    ) -> Result<bool, HashError> {
        let known = stored.is_some();
        let against = stored.unwrap_or_else(|| self.decoy.clone());
        let matches = self.in_turn(move || verify_now(&password, &against)).await??;
        Ok(matches & known)
    }

    /// Whether `stored` was made at another cost than a new hash is.
    pub fn is_outdated(&self, stored: &PasswordHash) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let hash = phc::PasswordHash::new(&stored.0).ok();
        let made_at = hash.and_then(|hash| Params::try_from(&hash).ok());
        made_at.is_some_and(|made_at| cost(&made_at) != cost(&self.cost))
    }

    /// Hashes a password that has just been verified once more, at the present cost.
    ///
    /// # Errors
    /// As [`HashError`] says.
    pub async fn hash_again(&self, verified: String) -> Result<PasswordHash, HashError> {
        self.hash(NewPassword(verified)).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(HashError::Busy);
        };
        // Neither semaphore is ever closed, so the only refusal here is one that cannot happen.
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else {
            return Err(HashError::Busy);
        };
        // The permits go into the closure: a client that hangs up cannot free a turn that is still
        // being used.
        let held = (place, turn);
        Ok(tokio::task::spawn_blocking(move || {
            let result = work();
            drop(held);
            result
        })
        .await?)
    }
}

fn hash_now(password: &str, cost: &Params) -> Result<PasswordHash, argon2::password_hash::Error> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.clone());
    Ok(PasswordHash(argon2.hash_password(password.as_bytes())?.to_string()))
}

fn verify_now(password: &str, hash: &PasswordHash) -> Result<bool, argon2::password_hash::Error> {
    let hash = phc::PasswordHash::new(&hash.0)?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_password(raw: &str) -> NewPassword {
        NewPassword::parse(raw).unwrap()
    }

    #[test]
    fn a_password_is_measured_in_characters() {
        assert!(NewPassword::parse("1234567").is_err());
        assert!(NewPassword::parse("ééééééé").is_err());
        assert!(NewPassword::parse(&"é".repeat(128)).is_ok());
        assert!(NewPassword::parse(&"é".repeat(129)).is_err());
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_verifies() {
        let hasher = Hasher::with_limits(Params::DEFAULT, 1, 8).unwrap();
        let hash = hasher.hash(new_password("correct horse")).await.unwrap();
        assert!(hasher.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("wrong horse".into(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("decoy".into(), None).await.unwrap(), "the decoy opens nothing");
    }

    /// Equal work for unknown users, by construction: the decoy costs what a new hash costs.
    #[tokio::test]
    async fn the_decoy_has_the_parameters_of_a_new_hash() {
        let hasher = Hasher::with_limits(Params::DEFAULT, 1, 8).unwrap();
        let parameters = |hash: &PasswordHash| {
            let hash = phc::PasswordHash::new(&hash.0).unwrap();
            (hash.algorithm.to_string(), hash.version, hash.params.to_string())
        };
        let fresh = hasher.hash(new_password("correct horse")).await.unwrap();
        assert_eq!(parameters(&hasher.decoy), parameters(&fresh));
        assert_eq!(parameters(&fresh).2, "m=19456,t=2,p=1", "OWASP's first choice");
    }

    /// Equal work for unknown users, by construction: a full line turns both away, so both pass
    /// through it.
    #[tokio::test]
    async fn a_full_line_turns_everybody_away_at_once() {
        let hasher = Hasher::with_limits(Params::DEFAULT, 1, 0).unwrap();
        let hash = hash_now("correct horse", &Params::DEFAULT).unwrap();
        let held = Arc::clone(&hasher.places).try_acquire_owned().unwrap();
        for stored in [Some(hash), None] {
            let refused = hasher.verify("correct horse".into(), stored).await;
            assert!(matches!(refused, Err(HashError::Busy)));
        }
        assert_eq!(hasher.load(), HashLoad { hashing: 0, waiting: 1, refused: 2 });
        drop(held);
        assert!(hasher.verify("x".into(), None).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_outdated_until_it_is_made_again() {
        let dear = Params::new(Params::DEFAULT_M_COST, 3, 1, None).unwrap();
        let old = hash_now("correct horse", &Params::DEFAULT).unwrap();
        let hasher = Hasher::with_limits(dear, 1, 8).unwrap();
        assert!(hasher.is_outdated(&old));
        let new = hasher.hash_again("correct horse".into()).await.unwrap();
        assert!(!hasher.is_outdated(&new));
        assert!(hasher.verify("correct horse".into(), Some(new)).await.unwrap());
    }

    #[test]
    fn a_hash_is_not_printed() {
        assert!(
            !format!("{:?}", hash_now("correct horse", &Params::DEFAULT).unwrap()).contains('$')
        );
    }
}
