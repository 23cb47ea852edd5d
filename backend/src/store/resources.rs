//! Statements on every [`Resource`], derived from its list of fields.
//!
//! Each names the owner (`owned` in [`super::statements`]) or a parent whose owner was just asked
//! for, so that someone else's row is as absent as none. A list is read in the order of an index,
//! from where the page before it ended.

use futures_util::TryStreamExt as _;
use sqlx::error::ErrorKind;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::statements::{Statements, of_project};
use super::{Store, StoreError, on_pool};
use crate::domain::resource::{Field, Record, Resource};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;
use crate::domain::value::{Kind, Value};

/// How much memory the JSON of a page may take, about, before it ends: records of a megabyte each
/// would take gigabytes.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Which part of a list is wanted, in which order.
#[derive(Debug)]
pub struct Page {
    /// Most rows.
    pub limit: u16,
    /// What to sort by; `None` is the key, that is the order of creation. Rows without a value
    /// come after those with the greatest.
    pub sort: Option<&'static Field>,
    /// From the greatest down.
    pub descending: bool,
    /// What must be true of all rows.
    pub filters: Vec<Filter>,
    /// The row before the page.
    pub after: Option<Place>,
}

/// Where a row is in a list: its value of the field that is sorted by, if one is, and its key.
pub type Place = (Option<Value>, Uuid);

/// What must be true of a field.
#[derive(Debug)]
pub struct Filter {
    /// Which field.
    pub field: &'static Field,
    /// How it stands to the value.
    pub relation: Relation,
    /// Compared with what.
    pub value: Value,
}

/// How a field stands to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is the same.
    Is,
    /// It is the same or greater.
    From,
    /// It is the same or less.
    To,
}

impl Page {
    /// Whether only some values of the sorted field are wanted, so that none is not among them.
    #[must_use]
    pub fn is_range(&self) -> bool {
        self.filters.iter().any(|filter| filter.relation != Relation::Is)
    }
}

/// Binds values in order.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Id(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Flag(value) => query.bind(value),
                Value::Whole(value) => query.bind(value),
                Value::Number(value) => query.bind(value),
                Value::Json(value) => query.bind(value),
                Value::Instant(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Reads a row of [`Statements::columns`].
macro_rules! record {
    ($resource:expr, $row:expr) => {{
        let read = |field: &Field| {
            let column = field.column;
            Ok(match field.kind {
                Kind::Line(..) | Kind::Prose(_) | Kind::Url | Kind::Choice(_) => {
                    Value::Text($row.try_get(column)?)
                }
                Kind::Flag => Value::Flag($row.try_get(column)?),
                Kind::Whole(..) => Value::Whole($row.try_get(column)?),
                Kind::Number(..) => Value::Number($row.try_get(column)?),
                Kind::Object | Kind::Steps => Value::Json($row.try_get(column)?),
                Kind::Instant => Value::Instant($row.try_get(column)?),
                Kind::Key(_) => Value::Id($row.try_get(column)?),
            })
        };
        Ok::<Record, sqlx::Error>(Record {
            id: $row.try_get("id")?,
            parent: $row.try_get($resource.parent_column)?,
            values: $resource.fields.iter().map(read).collect::<Result<_, sqlx::Error>>()?,
            version: $row.try_get("version")?,
            created_at: $row.try_get("created_at")?,
            updated_at: $row.try_get("updated_at")?,
        })
    }};
}

impl Store {
    /// Whether `owner` has a row `id` of `resource`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn owns(
        &self,
        resource: &'static Resource,
        owner: UserId,
        id: Uuid,
    ) -> Result<bool, StoreError> {
        let sql = Statements(resource).exists();
        let found = on_pool!(self, pool => sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(owner)
            .fetch_optional(pool)
            .await
            .map(|row| row.is_some()))?;
        Ok(found)
    }

    /// Whether `table` has a row `id` of `project`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn is_of_project(
        &self,
        table: &'static str,
        project: Uuid,
        id: Uuid,
    ) -> Result<bool, StoreError> {
        let sql = of_project(table);
        let found = on_pool!(self, pool => sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(project)
            .fetch_optional(pool)
            .await
            .map(|row| row.is_some()))?;
        Ok(found)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another has what must be unique, [`StoreError::Gone`] when what
    /// it refers to is not there, [`StoreError::OwnerGone`] when that is the user, or a failure of
    /// the database.
    pub async fn insert(
        &self,
        resource: &'static Resource,
        record: &Record,
    ) -> Result<(), StoreError> {
        let sql = Statements(resource).insert();
        on_pool!(self, pool => {
            let query = sqlx::query(AssertSqlSafe(sql))
                .bind(record.id)
                .bind(record.parent)
                .bind(record.version)
                .bind(record.created_at)
                .bind(record.updated_at);
            bind_all!(query, record.values.clone()).execute(pool).await.map(drop)
        })
        .map_err(|error| broken_rule(resource, error))
    }

    /// One record of `owner`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn read(
        &self,
        resource: &'static Resource,
        owner: UserId,
        id: Uuid,
    ) -> Result<Option<Record>, StoreError> {
        let sql = Statements(resource).read();
        let record = on_pool!(self, pool => sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(owner)
            .fetch_optional(pool)
            .await?
            .map(|row| record!(resource, row))
            .transpose())?;
        Ok(record)
    }

    /// A page of what belongs to `parent`, whose owner the caller has asked for, and whether more
    /// follows. Of large records it has fewer than asked for ([`PAGE_BYTES`]).
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn list(
        &self,
        resource: &'static Resource,
        parent: Uuid,
        page: Page,
    ) -> Result<(Vec<Record>, bool), StoreError> {
        let sql = Statements(resource).list(&page);
        let mut values = vec![Value::Id(Some(parent))];
        values.extend(page.filters.into_iter().map(|filter| filter.value));
        if let Some((sort, id)) = page.after {
            values.extend(sort.filter(|value| !value.is_none()));
            values.push(Value::Id(Some(id)));
        }
        let limit = usize::from(page.limit);
        let (mut records, mut bytes, mut more) = (Vec::new(), 0, false);
        on_pool!(self, pool => {
            let mut rows = bind_all!(sqlx::query(AssertSqlSafe(sql)), values)
                // One more than wanted shows whether there is a next page.
                .bind(i64::from(page.limit) + 1)
                .fetch(pool);
            while let Some(row) = rows.try_next().await? {
                more = records.len() >= limit || bytes >= PAGE_BYTES;
                if more {
                    break;
                }
                let record = record!(resource, row)?;
                bytes += record.values.iter().map(Value::bytes).sum::<usize>();
                records.push(record);
            }
        });
        Ok((records, more))
    }

    /// Gives the record of `owner` new values, if it still has `version`, and returns it as it is
    /// now.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn update(
        &self,
        resource: &'static Resource,
        owner: UserId,
        (id, version): (Uuid, i32),
        values: Vec<Value>,
        now: Timestamp,
    ) -> Result<Option<Record>, StoreError> {
        let sql = Statements(resource).update();
        let row = on_pool!(self, pool => {
            let query =
                sqlx::query(AssertSqlSafe(sql)).bind(id).bind(owner).bind(version).bind(now);
            // To its end: with the row alone, nobody knows yet whether the change was committed.
            bind_all!(query, values)
                .fetch_all(pool)
                .await
                .map(|rows| rows.first().map(|row| record!(resource, row)))
        });
        Ok(row.map_err(|error| broken_rule(resource, error))?.transpose()?)
    }

    /// Deletes one record of `owner`, with everything below it, if it has `version` or that does
    /// not matter; says whether it was there.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn delete(
        &self,
        resource: &'static Resource,
        owner: UserId,
        id: Uuid,
        version: Option<i32>,
    ) -> Result<bool, StoreError> {
        let sql = Statements(resource).delete();
        let deleted = on_pool!(self, pool => sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(owner)
            .bind(version)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(deleted > 0)
    }
}

fn broken_rule(resource: &Resource, error: sqlx::Error) -> StoreError {
    match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
        Some(ErrorKind::UniqueViolation) => StoreError::Taken,
        Some(ErrorKind::ForeignKeyViolation) if resource.parent.is_none() => StoreError::OwnerGone,
        Some(ErrorKind::ForeignKeyViolation) => StoreError::Gone,
        _ => error.into(),
    }
}
