//! Statements on sessions and their refresh tokens, and the change of a password, which ends them.

use sqlx::Row as _;
use uuid::Uuid;

use super::{Credentials, Store, StoreError, on_pool, sql};
use crate::domain::password::PasswordHash;
use crate::domain::session::{RefreshHash, end};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{User, UserId};

/// Sessions that a user may have; opening one more ends the oldest.
const SESSIONS_MAX: i64 = 20;

sql! {
    const CLEAR_EXPIRED: &str = "DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2";
    const CLEAR_OLDEST: &str = "\
        DELETE FROM sessions WHERE user_id = $1 AND id IN (SELECT id FROM sessions \
        WHERE user_id = $1 ORDER BY id DESC LIMIT 1000 OFFSET $2)";
    const OPEN: &str =
        "INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
    const ADD_TOKEN: &str =
        "INSERT INTO refresh_tokens (token_hash, session_id, created_at) VALUES ($1, $2, $3)";
    const USE_TOKEN: &str = "\
        UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL \
        AND EXISTS (SELECT 1 FROM sessions WHERE sessions.id = refresh_tokens.session_id \
        AND sessions.revoked_at IS NULL AND sessions.expires_at > $2) RETURNING session_id";
    const USER_OF_SESSION: &str = "\
        SELECT users.id, users.email, users.name, users.created_at FROM sessions \
        JOIN users ON users.id = sessions.user_id WHERE sessions.id = $1";
    const REVOKE: &str = "\
        UPDATE sessions SET revoked_at = $2 WHERE revoked_at IS NULL \
        AND id = (SELECT session_id FROM refresh_tokens WHERE token_hash = $1)";
    const REVOKE_ALL: &str =
        "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
    const CREDENTIALS: &str =
        "SELECT id, email, name, created_at, password_hash FROM users WHERE id = $1";
    /// Only over the hash that was verified: of two changes at once, one wins.
    const CHANGE_PASSWORD: &str =
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
}

impl Store {
    /// Opens a session of `user` whose first token has this hash, unless the password hash that was
    /// `verified` has been replaced meanwhile, which would have ended the session; says whether.
    ///
    /// # Errors
    /// [`StoreError::OwnerGone`] when the user is not in the database, or a failure of the
    /// database.
    pub async fn open_session(
        &self,
        (user, verified): (UserId, &PasswordHash),
        token: &RefreshHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let session = Uuid::now_v7();
        on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            let hash: Option<PasswordHash> = sqlx::query_scalar(self.lock_user())
                .bind(user)
                .fetch_optional(&mut *transaction)
                .await?;
            if hash.ok_or(StoreError::OwnerGone)? != *verified {
                return Ok(false);
            }
            sqlx::query(CLEAR_EXPIRED).bind(user).bind(now).execute(&mut *transaction).await?;
            sqlx::query(CLEAR_OLDEST)
                .bind(user)
                .bind(SESSIONS_MAX - 1)
                .execute(&mut *transaction)
                .await?;
            sqlx::query(OPEN)
                .bind(session)
                .bind(user)
                .bind(now)
                .bind(end(now))
                .execute(&mut *transaction)
                .await?;
            sqlx::query(ADD_TOKEN)
                .bind(token.as_bytes())
                .bind(session)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        });
        Ok(true)
    }

    /// Exchanges a token for the next and says whose session it is. A token that is used, unknown
    /// or of an ended session gives nothing, and ends its session if it has one.
    ///
    /// # Errors
    /// A failure of the database; then the token is still good.
    pub async fn exchange(
        &self,
        token: &RefreshHash,
        next: &RefreshHash,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let user = on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            let used = sqlx::query(USE_TOKEN)
                .bind(token.as_bytes())
                .bind(now)
                .fetch_optional(&mut *transaction)
                .await?;
            let user = match used {
                Some(row) => {
                    let session: Uuid = row.try_get("session_id")?;
                    sqlx::query(ADD_TOKEN)
                        .bind(next.as_bytes())
                        .bind(session)
                        .bind(now)
                        .execute(&mut *transaction)
                        .await?;
                    let user = sqlx::query_as(USER_OF_SESSION)
                        .bind(session)
                        .fetch_optional(&mut *transaction);
                    user.await?
                }
                None => {
                    sqlx::query(REVOKE)
                        .bind(token.as_bytes())
                        .bind(now)
                        .execute(&mut *transaction)
                        .await?;
                    None
                }
            };
            transaction.commit().await?;
            user
        });
        Ok(user)
    }

    /// Ends the session of a token.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn end_session(&self, token: &RefreshHash, now: Timestamp) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query(REVOKE)
            .bind(token.as_bytes())
            .bind(now)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// A user, with the hash to verify against.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>, StoreError> {
        Ok(on_pool!(self, pool => {
            sqlx::query_as(CREDENTIALS).bind(user).fetch_optional(pool).await
        })?)
    }

    /// Replaces the hash that was verified by another of the same password, unless it has been
    /// replaced meanwhile; says whether.
    ///
    /// # Errors
    /// A failure of the database; then nothing has changed.
    pub async fn replace_hash(
        &self,
        user: UserId,
        verified: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        Ok(on_pool!(self, pool => sqlx::query(CHANGE_PASSWORD)
            .bind(user)
            .bind(verified)
            .bind(new)
            .execute(pool)
            .await
            .map(|done| done.rows_affected() > 0))?)
    }

    /// Replaces the hash that was verified and ends all sessions of the user; says whether that
    /// hash was still theirs.
    ///
    /// # Errors
    /// A failure of the database; then nothing has changed.
    pub async fn change_password(
        &self,
        user: UserId,
        verified: &PasswordHash,
        new: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            let changed = sqlx::query(CHANGE_PASSWORD)
                .bind(user)
                .bind(verified)
                .bind(new)
                .execute(&mut *transaction)
                .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(REVOKE_ALL).bind(user).bind(now).execute(&mut *transaction).await?;
            transaction.commit().await?;
        });
        Ok(true)
    }
}
