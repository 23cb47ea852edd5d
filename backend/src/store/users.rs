//! Statements on `users`.

use sqlx::FromRow;
use sqlx::error::ErrorKind;

use super::{Store, StoreError, on_pool, sql};
use crate::domain::password::PasswordHash;
use crate::domain::user::{Email, User};

/// A user and what their password is compared with.
#[derive(Debug, FromRow)]
pub struct Credentials {
    /// The user.
    #[sqlx(flatten)]
    pub user: User,
    /// The stored hash.
    pub password_hash: PasswordHash,
}

sql! {
    const INSERT: &str = "\
        INSERT INTO users (id, email, name, password_hash, created_at) \
        VALUES ($1, $2, $3, $4, $5)";
    const CREDENTIALS: &str =
        "SELECT id, email, name, created_at, password_hash FROM users WHERE email = $1";
    const HASH: &str = "SELECT password_hash FROM users WHERE id = $1";
    /// As above; on PostgreSQL, who asks for the same waits until this transaction is over.
    const HASH_ALONE: &str = "SELECT password_hash FROM users WHERE id = $1 FOR NO KEY UPDATE";
}

impl Store {
    /// Reads the hash of the user `$1`, with whom the transaction is alone until its end: what it
    /// counts of this user stays true. On SQLite each that writes is alone anyway.
    pub(super) const fn lock_user(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => HASH,
            Self::Postgres(_) => HASH_ALONE,
        }
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`] when another user has the address, or a failure of the database.
    pub async fn insert_user(&self, user: &User, hash: &PasswordHash) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query(INSERT)
            .bind(user.id)
            .bind(&user.email)
            .bind(&user.name)
            .bind(hash)
            .bind(user.created_at)
            .execute(pool)
            .await
            .map(drop))
        .map_err(|error| {
            StoreError::on_broken_rule(error, &ErrorKind::UniqueViolation, StoreError::EmailTaken)
        })
    }

    /// The user with this address, with the hash to verify against.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn credentials(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        Ok(on_pool!(self, pool => sqlx::query_as(CREDENTIALS)
            .bind(email).fetch_optional(pool).await)?)
    }
}
