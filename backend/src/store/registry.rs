//! Every statement that a request, a job or the sweep may run, as its text.
//!
//! Modules declare theirs in `sql!`, and those that are put together ([`super::statements`]) are
//! put together here in every way in which a client can ask for them.

use uuid::Uuid;

use super::resources::{Filter, Page, Place, Relation};
use super::statements::{Statements, of_project};
use super::{Database, users};
use super::{
    Executed, Origin, executions, expired, jobs, members, performed, progress, sessions, turns,
};
use crate::domain::RESOURCES;
use crate::domain::resource::{Field, Presence, Resource};
use crate::domain::timestamp::Timestamp;
use crate::domain::value::{Kind, Value};

/// The statements that run on this kind of database.
#[must_use]
pub fn statements(database: &Database) -> Vec<String> {
    let declared = [
        executions::STATEMENTS,
        expired::STATEMENTS,
        jobs::STATEMENTS,
        members::STATEMENTS,
        performed::STATEMENTS,
        progress::STATEMENTS,
        sessions::STATEMENTS,
        turns::STATEMENTS,
        users::STATEMENTS,
    ];
    let declared = declared.into_iter().flatten().map(|sql| (*sql).to_owned());
    let mut all: Vec<String> = declared.chain(of_executions()).collect();
    for resource in RESOURCES {
        all.extend(of_resource(resource));
    }
    if matches!(database, Database::Sqlite(_)) {
        all.retain(|sql| !sql.contains("SKIP LOCKED") && !sql.contains("FOR NO KEY UPDATE"));
    }
    all
}

fn of_executions() -> Vec<String> {
    let mut all = Vec::new();
    for executed in [Executed::Test, Executed::Suite] {
        let id = Uuid::nil();
        all.push(executed.insert(Origin::Definition(id)));
        all.push(executed.insert(Origin::Execution(id)));
        all.push(executed.cancel());
    }
    all
}

fn of_resource(resource: &'static Resource) -> Vec<String> {
    let statements = Statements(resource);
    let mut all = vec![
        statements.exists(),
        statements.read(),
        statements.insert(),
        statements.update(),
        statements.delete(),
    ];
    for field in resource.fields {
        // Clients name no suite execution: it is the program that sets it.
        if let Kind::Key(table) = field.kind
            && resource.writable
        {
            all.push(of_project(table));
        }
    }
    all.extend(pages(resource).iter().map(|page| statements.list(page)));
    all
}

/// Every order, from the start and from the middle, with no filter, with each, and with ranges.
fn pages(resource: &'static Resource) -> Vec<Page> {
    let sorts = resource.fields.iter().filter(|field| field.sorted).map(Some);
    let filtered = resource.fields.iter().filter(|field| field.filtered);
    let filtered: Vec<_> = filtered.map(|field| vec![(field, Relation::Is)]).collect();
    let mut pages = Vec::new();
    for sort in std::iter::once(None).chain(sorts) {
        let (from, to) = (Relation::From, Relation::To);
        let ranges = [vec![from], vec![to], vec![from, to]].map(|relations| {
            sort.iter().flat_map(|f| relations.iter().map(|r| (*f, *r))).collect::<Vec<_>>()
        });
        for filters in filtered.iter().cloned().chain(ranges).chain([Vec::new()]) {
            let is_range = filters.iter().any(|(_field, relation)| *relation != Relation::Is);
            for (descending, after) in places(sort, is_range) {
                let filter = |(field, relation): &(&'static Field, Relation)| Filter {
                    field,
                    relation: *relation,
                    value: field.kind.none(),
                };
                let filters = filters.iter().map(filter).collect();
                pages.push(Page { limit: 1, sort, descending, filters, after });
            }
        }
    }
    pages
}

/// Both directions, from the start, after a row with a value, and after one without, of which a
/// range has none.
fn places(sort: Option<&Field>, is_range: bool) -> Vec<(bool, Option<Place>)> {
    let some = |field: &Field| {
        if matches!(field.kind, Kind::Instant) {
            Value::Instant(Some(Timestamp::now()))
        } else {
            Value::Number(Some(0.5))
        }
    };
    let mut after = vec![None, Some((sort.map(some), Uuid::nil()))];
    if let Some(field) = sort.filter(|f| f.presence == Presence::Nullable && !is_range) {
        after.push(Some((Some(field.kind.none()), Uuid::nil())));
    }
    let both = |after: Option<Place>| [(true, after.clone()), (false, after)];
    after.into_iter().flat_map(both).collect()
}
