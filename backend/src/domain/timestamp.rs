//! An instant, in the one precision and the one spelling that both databases keep.
//!
//! # Why
//! A type of its own, because sqlx's SQLite text has as many digits of fraction as the instant
//! needs, and text of different widths does not sort by time. Here it always has six, PostgreSQL's
//! precision, so a value read back equals the value written.

use std::time::SystemTime;

use serde::{Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};

/// Microseconds from 1970, where jiff counts from, to 2000, where PostgreSQL does.
const POSTGRES_EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// Length of the text, `2023-11-14T22:13:20.000000Z`.
const TEXT_LENGTH: usize = 27;

/// An instant in UTC, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The instant now.
    #[must_use]
    pub fn now() -> Self {
        // A clock outside the years that jiff knows (-9999 to 9999) is no clock; 1970 is as good an
        // answer.
        let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        Self::from_microseconds(now.as_microsecond()).unwrap_or(Self(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Reads RFC 3339, of the years 0 to 9999, which is what both databases keep in one width.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let instant = raw.parse::<jiff::Timestamp>().ok()?;
        let instant = Self::from_microseconds(instant.as_microsecond())?;
        (instant.to_text().len() == TEXT_LENGTH).then_some(instant)
    }

    /// This instant `seconds` later, or earlier where they are negative.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        self.0.checked_add(jiff::SignedDuration::from_secs(seconds)).map_or(self, Self)
    }

    /// Whole seconds since 1970, as tokens count them.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.as_second()
    }

    fn from_microseconds(microseconds: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(microseconds).ok().map(Self)
    }

    fn to_text(self) -> String {
        format!("{:.6}", self.0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.to_text(), buffer)
    }
}

impl Decode<'_, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(<String as Decode<Sqlite>>::decode(value)?.parse()?))
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.as_microsecond() - POSTGRES_EPOCH_MICROSECONDS, buffer)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let microseconds = <i64 as Decode<Postgres>>::decode(value)?;
        microseconds
            .checked_add(POSTGRES_EPOCH_MICROSECONDS)
            .and_then(Self::from_microseconds)
            .ok_or_else(|| "the instant lies outside the years -9999 to 9999".into())
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn now_is_no_finer_than_what_is_stored() {
        for _ in 0..10 {
            let now = Timestamp::now();
            assert_eq!(now.to_text().parse::<jiff::Timestamp>().unwrap(), now.0);
        }
    }

    #[test]
    fn only_instants_of_one_width_are_read() {
        assert!(Timestamp::parse("2023-11-14T22:13:20+01:00").is_some());
        for wrong in ["", "2023-11-14", "-001000-01-01T00:00:00Z", "2023-13-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn text_has_one_width_so_that_it_sorts_by_time() {
        let whole = Timestamp::from_microseconds(1_700_000_000_000_000).unwrap();
        let later = Timestamp::from_microseconds(1_700_000_000_500_000).unwrap();
        assert_eq!(whole.to_text(), "2023-11-14T22:13:20.000000Z");
        assert_eq!(later.to_text(), "2023-11-14T22:13:20.500000Z");
        assert!(whole.to_text() < later.to_text());
    }
}
