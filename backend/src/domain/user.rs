//! A user: who may log in, and the owner of projects.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::text;
use super::timestamp::Timestamp;

/// Longest address that SMTP can carry (RFC 5321, 4.5.3.1.3, less the angle brackets).
const EMAIL_MAX: usize = 254;
/// Longest part before the `@` (RFC 5321, 4.5.3.1.1).
const EMAIL_LOCAL_MAX: usize = 64;
/// Longest label of a host name (RFC 1035, 2.3.4).
const LABEL_MAX: usize = 63;

/// The key of a user.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize, sqlx::Type, ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct UserId(Uuid);

impl UserId {
    /// A new key, greater than all before it.
    #[expect(clippy::new_without_default, reason = "a default would be the same every time")]
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The bare key, as other tables refer to it.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

/// An e-mail address, trimmed and in lower case, at most 254 characters.
///
/// The grammar is that of a browser's `<input type="email">`. It is ASCII only, so that lower case
/// is one thing and two addresses cannot look alike; an internationalised domain passes in its
/// `xn--` form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(format = Email, max_length = 254)]
pub struct Email(String);

impl Email {
    /// Reads an address that somebody typed.
    ///
    /// # Errors
    /// What is wrong, for the field's fault.
    pub fn parse(raw: &str) -> Result<Self, String> {
        let address = raw.trim().to_ascii_lowercase();
        let valid = address.len() <= EMAIL_MAX
            && address.split_once('@').is_some_and(|(local, domain)| {
                is_local_part(local) && domain.split('.').all(is_label)
            });
        if valid {
            Ok(Self(address))
        } else {
            Err("must be an e-mail address such as ada@example.com".to_owned())
        }
    }
}

fn is_local_part(local: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    (1..=EMAIL_LOCAL_MAX).contains(&local.len()) && local.bytes().all(allowed)
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What a user wants to be called, 1 to 100 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(min_length = 1, max_length = 100)]
pub struct UserName(String);

impl UserName {
    /// Reads a name that somebody typed.
    ///
    /// # Errors
    /// What is wrong, for the field's fault.
    pub fn parse(raw: &str) -> Result<Self, String> {
        text::parse(raw, 1, 100, false).map(Self)
    }
}

/// A user, without the password.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The key.
    pub id: UserId,
    /// The address to log in with; no two users share one.
    pub email: Email,
    /// The name, if one was given.
    pub name: Option<UserName>,
    /// When the user registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::Email;

    #[test]
    fn an_address_is_trimmed_and_lowered() {
        assert_eq!(Email::parse(" Ada@Example.COM ").unwrap().0, "ada@example.com");
        for valid in ["a@b", "o'hara+tag@mail.example.com", "x@xn--zrich-kva.ch"] {
            assert!(Email::parse(valid).is_ok(), "{valid}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}example.com", "a.".repeat(125));
        for invalid in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a@b@c",
            "a b@c",
            "a@-b.c",
            "a@b-.c",
            "a@b..c",
            "a@b.",
            "a\u{0}@b.c",
            "zoë@example.com",
            "a@zürich.ch",
            "a@b\r\nx",
            &long_local,
            &long,
        ] {
            assert!(Email::parse(invalid).is_err(), "{invalid:?}");
        }
    }
}
