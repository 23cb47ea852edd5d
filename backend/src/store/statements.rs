//! The texts of the statements on a [`Resource`]: pure, the same for both engines.

use std::fmt::Write as _;

use super::resources::{Page, Relation};
use super::{Executed, Origin};
use crate::domain::resource::{Presence, Resource};
use crate::domain::suite::SUITE;
use crate::domain::test::TEST;

/// The statements on one resource.
#[derive(Debug)]
pub struct Statements(pub &'static Resource);

impl Statements {
    /// What a record is read from, in no particular order: readers go by name.
    fn columns(&self) -> String {
        let mut columns = format!("id, {}, version, created_at, updated_at", self.0.parent_column);
        for field in self.0.fields {
            columns.push_str(", ");
            columns.push_str(field.column);
        }
        columns
    }

    /// Whether a row `$1` of the user `$2` is there.
    #[must_use]
    pub fn exists(&self) -> String {
        format!("SELECT 1 FROM {} WHERE id = $1 AND {}", self.0.table, owned(self.0, 2))
    }

    /// The row `$1` of the user `$2`.
    #[must_use]
    pub fn read(&self) -> String {
        let (columns, table) = (self.columns(), self.0.table);
        format!("SELECT {columns} FROM {table} WHERE id = $1 AND {}", owned(self.0, 2))
    }

    /// Adds a row: key, parent, version, both instants, then the fields.
    #[must_use]
    pub fn insert(&self) -> String {
        let places: Vec<String> =
            (1..=5 + self.0.fields.len()).map(|place| format!("${place}")).collect();
        let places = places.join(", ");
        format!("INSERT INTO {} ({}) VALUES ({places})", self.0.table, self.columns())
    }

    /// Changes the row `$1` of the user `$2` if it has the version `$3`, at `$4`. A clock that was
    /// set back must not break the rule that no row is older than its last change.
    #[must_use]
    pub fn update(&self) -> String {
        let mut sets = String::new();
        for (field, place) in self.0.fields.iter().zip(5..) {
            // Writing to a String cannot fail.
            let _ = write!(sets, ", {} = ${place}", field.column);
        }
        format!(
            "UPDATE {} SET version = version + 1, \
             updated_at = CASE WHEN $4 > updated_at THEN $4 ELSE updated_at END{sets} \
             WHERE id = $1 AND version = $3 AND {} RETURNING {}",
            self.0.table,
            owned(self.0, 2),
            self.columns()
        )
    }

    /// Deletes the row `$1` of the user `$2` if it has the version `$3` or that is null.
    #[must_use]
    pub fn delete(&self) -> String {
        format!(
            "DELETE FROM {} WHERE id = $1 AND (version = $3 OR $3 IS NULL) AND {}",
            self.0.table,
            owned(self.0, 2)
        )
    }

    /// A page: the parent, the values of the filters, where the page before ended, the limit.
    ///
    /// Rows with a value of the sorted field and rows without are read apart, each from where it
    /// begins in the index: one condition for both would be answered by reading all of them.
    #[must_use]
    pub fn list(&self, page: &Page) -> String {
        let keys = match &page.after {
            None => 0,
            Some((Some(value), _id)) if !value.is_none() => 2,
            Some(_) => 1,
        };
        let first_key = 2 + page.filters.len();
        let limit = first_key + keys;
        let (than, order) = if page.descending { ("<", "DESC") } else { (">", "ASC") };
        let after_id = format!(" AND id {than} ${first_key}");
        let Some(field) = page.sort else {
            let after = if page.after.is_some() { &*after_id } else { "" };
            return self.part(page, after, &format!("id {order} LIMIT ${limit}"));
        };
        let column = field.column;
        let by = format!("{column} {order}, id {order} LIMIT ${limit}");
        let after_both = format!(" AND ({column}, id) {than} (${first_key}, ${})", first_key + 1);
        let (valued, empty) = match keys {
            0 => (Some(""), Some("")),
            1 => (page.descending.then_some(""), Some(&*after_id)),
            _ => (Some(&*after_both), (!page.descending).then_some("")),
        };
        let may_be_empty = field.presence == Presence::Nullable;
        let not_null =
            if may_be_empty { format!(" AND {column} IS NOT NULL") } else { String::new() };
        let valued = valued.map(|after| self.part(page, &format!("{not_null}{after}"), &by));
        let empty = empty
            .filter(|_| may_be_empty && !page.is_range())
            .map(|after| self.part(page, &format!(" AND {column} IS NULL{after}"), &by));
        match (valued, empty) {
            (Some(one), None) | (None, Some(one)) => one,
            (Some(valued), Some(empty)) => format!(
                "SELECT {} FROM (SELECT * FROM ({valued}) AS valued \
                 UNION ALL SELECT * FROM ({empty}) AS empty) AS parts \
                 ORDER BY {column} IS NULL {order}, {by}",
                self.columns()
            ),
            // After a row without a value, where all have one: there are none.
            (None, None) => self.part(page, &format!(" AND {column} IS NULL{after_id}"), &by),
        }
    }

    /// Some rows of a list, in order.
    fn part(&self, page: &Page, condition: &str, order: &str) -> String {
        let (columns, table, parent) = (self.columns(), self.0.table, self.0.parent_column);
        let mut sql = format!("SELECT {columns} FROM {table} WHERE {parent} = $1");
        for (filter, place) in page.filters.iter().zip(2..) {
            let relation = match filter.relation {
                Relation::Is => "=",
                Relation::From => ">=",
                Relation::To => "<=",
            };
            // Writing to a String cannot fail.
            let _ = write!(sql, " AND {} {relation} ${place}", filter.field.column);
        }
        sql + condition + " ORDER BY " + order
    }
}

impl Executed {
    /// Adds, at `$4`, the execution `$1` of what `$2` names, if that is the user's `$3` and, where
    /// it is an execution, over.
    pub(super) fn insert(self, origin: Origin) -> String {
        let execution = self.resource();
        let (table, of, owner) = match (self, origin) {
            (_, Origin::Execution(_)) => (execution.table, execution.parent_column, execution),
            (Self::Test, Origin::Definition(_)) => (TEST.table, "id", &TEST),
            (Self::Suite, Origin::Definition(_)) => (SUITE.table, "id", &SUITE),
        };
        let (more, over) = (
            if self == Self::Test { "steps, timeout_seconds, " } else { "" },
            match origin {
                Origin::Definition(_) => "",
                Origin::Execution(_) => " AND status NOT IN ('queued', 'running')",
            },
        );
        format!(
            "INSERT INTO {} (id, {}, {more}status, results, version, created_at, updated_at) \
             SELECT $1, {of}, {more}'queued', '{{}}', 1, $4, $4 \
             FROM {table} WHERE id = $2{over} AND {}",
            execution.table,
            execution.parent_column,
            owned(owner, 3),
        )
    }

    /// Ends, at `$3`, the execution `$1` of the user `$2` that is not over.
    pub(super) fn cancel(self) -> String {
        format!(
            "UPDATE {table} SET status = 'cancelled', version = version + 1, \
             updated_at = CASE WHEN $3 > updated_at THEN $3 ELSE updated_at END, \
             finished_at = CASE WHEN started_at > $3 THEN started_at ELSE $3 END \
             WHERE id = $1 AND status IN ('queued', 'running') AND {owned}",
            table = self.resource().table,
            owned = owned(self.resource(), 2),
        )
    }
}

/// Whether the row `$1` of `table` belongs to the project `$2`.
pub(super) fn of_project(table: &str) -> String {
    format!("SELECT 1 FROM {table} WHERE id = $1 AND project_id = $2")
}

/// True of a row of `resource` that belongs, through its parents, to the user at `place`.
pub(super) fn owned(resource: &Resource, place: usize) -> String {
    let Resource { table, parent_column, .. } = resource;
    match resource.parent {
        None => format!("{table}.{parent_column} = ${place}"),
        Some(parent) => format!(
            "EXISTS (SELECT 1 FROM {0} WHERE {0}.id = {table}.{parent_column} AND {1})",
            parent.table,
            owned(parent, place)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RESOURCES;
    use crate::domain::execution::TEST_EXECUTION;

    #[test]
    fn ownership_is_asked_through_all_parents() {
        assert_eq!(
            owned(&TEST_EXECUTION, 2),
            "EXISTS (SELECT 1 FROM tests WHERE tests.id = test_executions.test_id AND \
             EXISTS (SELECT 1 FROM projects WHERE projects.id = tests.project_id AND \
             projects.user_id = $2))"
        );
    }

    #[test]
    fn every_statement_on_a_single_row_names_the_owner() {
        for resource in RESOURCES {
            let statements = Statements(resource);
            let singles =
                [statements.exists(), statements.read(), statements.update(), statements.delete()];
            for sql in singles {
                assert!(sql.contains("user_id = $2"), "{sql}");
            }
        }
    }
}
