//! Every statement that a request, a job or the sweep may run, as its text.
//!
//! Modules declare theirs in `sql!`, and those that are put together ([`super::statements`]) are
//! put together here in every way in which a client can ask for them.

use super::resources::Page;
use super::statements::{Statements, of_project};
use super::{Database, users};
use super::{Executed, Origin, executions, expired, jobs, members, performed, progress, sessions};
use crate::domain::RESOURCES;
use crate::domain::resource::{Field, Resource};
use crate::domain::value::Kind;

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
        users::STATEMENTS,
    ];
    let declared = declared.into_iter().flatten().map(|sql| (*sql).to_owned());
    let mut all: Vec<String> = declared.chain(of_executions()).collect();
    for resource in RESOURCES {
        all.extend(of_resource(resource));
    }
    if matches!(database, Database::Sqlite(_)) {
        all.retain(|sql| !sql.contains("SKIP LOCKED"));
    }
    all
}

fn of_executions() -> Vec<String> {
    let mut all = Vec::new();
    for executed in [Executed::Test, Executed::Suite] {
        let id = uuid::Uuid::nil();
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

/// Every order, from the start and from the middle, with no filter and with each.
fn pages(resource: &'static Resource) -> Vec<Page> {
    let sorts = resource.fields.iter().filter(|field| field.sorted).map(Some);
    let filters = resource.fields.iter().filter(|field| field.filtered).map(Some);
    let filters: Vec<Option<&Field>> = std::iter::once(None).chain(filters).collect();
    let mut pages = Vec::new();
    for sort in std::iter::once(None).chain(sorts) {
        for filter in &filters {
            for (descending, is_first) in
                [(true, true), (true, false), (false, true), (false, false)]
            {
                let place = (sort.map(|sort| sort.kind.none()), uuid::Uuid::nil());
                pages.push(Page {
                    limit: 1,
                    sort,
                    descending,
                    filters: filter.iter().map(|field| (*field, field.kind.none())).collect(),
                    after: (!is_first).then_some(place),
                });
            }
        }
    }
    pages
}
