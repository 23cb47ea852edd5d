//! Which part of a list a query asks for, and the links to the next.
//!
//! A page begins after a row, not at a number (keyset pagination): rows that come or go meanwhile
//! move nothing, and the thousandth page costs what the first does. `after` is what a `Link` header
//! (RFC 8288) gave: the last row's value of the sorted field and its key, joined by `~`.
//!
//! A page of large records ends before its limit ([`PAGE_BYTES`](crate::store::PAGE_BYTES)), and
//! its `Link` leads on as always.
//!
//! A range (`confidenceFrom`, `confidenceTo`, either or both, ends included) is read from the index
//! of its field, so the list is in that field's order, too.

use std::collections::HashSet;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde_json::Value as Json;

use super::problem::{FieldFault, Problem};
use crate::domain::resource::{Field, Presence, Record, Resource};
use crate::store::{Filter, Page, Place, Relation};

/// Records in a list, unless the client says.
pub(super) const LIMIT_DEFAULT: u16 = 50;
/// Most records in a list.
pub(super) const LIMIT_MAX: u16 = 200;

/// The parameters of a query, in order.
pub(super) type Pairs = Vec<(String, String)>;

/// Splits a query into its parameters.
///
/// # Errors
/// 400 when one comes twice: which of them is meant is anybody's guess.
pub(super) fn pairs(query: &str) -> Result<Pairs, Problem> {
    let bad = || Problem::new(StatusCode::BAD_REQUEST).detail("The query cannot be read.");
    let uri: Uri = format!("/?{query}").parse().map_err(|_no_uri| bad())?;
    let Query(pairs) = Query::<Pairs>::try_from_uri(&uri).map_err(|_unreadable| bad())?;
    let mut seen = HashSet::new();
    if pairs.iter().all(|(name, _)| seen.insert(name.as_str())) {
        return Ok(pairs);
    }
    Err(Problem::new(StatusCode::BAD_REQUEST).detail("A query parameter is given twice."))
}

/// Reads what part of a list of `resource` is wanted.
///
/// # Errors
/// 422 with everything that is wrong.
pub(super) fn read(resource: &'static Resource, pairs: &Pairs) -> Result<Page, Problem> {
    let mut faults = Vec::new();
    let mut page =
        Page { limit: LIMIT_DEFAULT, sort: None, descending: true, filters: vec![], after: None };
    let mut after = None;
    for (name, value) in pairs {
        let read = match name.as_str() {
            "limit" => read_limit(value).map(|limit| page.limit = limit),
            "sort" => read_sort(resource, value).map(|(sort, descending)| {
                page.sort = sort;
                page.descending = descending;
            }),
            "after" => {
                after = Some(value);
                Ok(())
            }
            other => read_filter(resource, other, value).map(|filter| page.filters.push(filter)),
        };
        if let Err(detail) = read {
            faults.push(fault(name, detail));
        }
    }
    let ranges = page.filters.iter().filter(|filter| filter.relation != Relation::Is);
    if let Some(field) = ranges.map(|filter| filter.field).next() {
        let is_unasked = pairs.iter().all(|(name, _)| name != "sort");
        if is_unasked || page.sort.is_some_and(|sort| sort.name == field.name) {
            page.sort = Some(field);
        } else {
            let name = field.name;
            faults.push(fault("sort", format!("must be {name} or -{name} with a range of it")));
        }
    }
    if let Some(after) = after {
        match read_after(&page, after) {
            Some(place) => page.after = Some(place),
            None => faults.push(fault("after", "is not what a Link header gave".to_owned())),
        }
    }
    if faults.is_empty() { Ok(page) } else { Err(Problem::invalid(faults)) }
}

/// The parameters that filter a list of `resource`: a field's name, and for a range what follows
/// it.
pub(super) fn filters(
    resource: &'static Resource,
) -> impl Iterator<Item = (String, &'static Field, Relation)> {
    resource.fields.iter().flat_map(|field| {
        let is = field.filtered.then(|| (field.name.to_owned(), field, Relation::Is));
        let range = |(end, relation)| (format!("{}{end}", field.name), field, relation);
        let ends = [("From", Relation::From), ("To", Relation::To)];
        is.into_iter().chain(ends.map(range).into_iter().filter(|_| field.sorted))
    })
}

fn read_filter(resource: &'static Resource, name: &str, raw: &str) -> Result<Filter, String> {
    let (_name, field, relation) = filters(resource)
        .find(|(known, ..)| known == name)
        .ok_or_else(|| "is no parameter of this list".to_owned())?;
    Ok(Filter { field, relation, value: field.kind.read_text(raw)? })
}

fn fault(name: &str, detail: String) -> FieldFault {
    FieldFault { pointer: None, parameter: Some(name.to_owned()), detail }
}

fn read_limit(raw: &str) -> Result<u16, String> {
    let limit = raw.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("must be a number from 1 to {LIMIT_MAX}"))
}

/// What `sort` may be: the key, or a sorted field; descending after a minus sign.
pub(super) fn sorts(resource: &Resource) -> Vec<String> {
    let names = resource.fields.iter().filter(|field| field.sorted).map(|field| field.name);
    let names = std::iter::once("id").chain(names);
    names.flat_map(|name| [name.to_owned(), format!("-{name}")]).collect()
}

fn read_sort(resource: &Resource, raw: &str) -> Result<(Option<&'static Field>, bool), String> {
    if !sorts(resource).iter().any(|sort| sort == raw) {
        return Err(format!("must be one of {}", sorts(resource).join(", ")));
    }
    Ok((resource.field(raw.trim_start_matches('-')), raw.starts_with('-')))
}

fn read_after(page: &Page, raw: &str) -> Option<Place> {
    let Some(field) = page.sort else { return Some((None, raw.parse().ok()?)) };
    let (value, id) = raw.split_once('~')?;
    let may_be_none = field.presence == Presence::Nullable && !page.is_range();
    let value = if value.is_empty() && may_be_none {
        field.kind.none()
    } else {
        field.kind.read_text(value).ok()?
    };
    Some((Some(value), id.parse().ok()?))
}

/// The `Link` header: the first page, and the one after `last` if there is more.
pub(super) fn link(
    resource: &Resource,
    path: &str,
    pairs: &Pairs,
    sort: Option<&Field>,
    last: Option<&Record>,
) -> String {
    let kept: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| name != "after")
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    let target = |query: &[String]| {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("<{path}{mark}{}>", query.join("&"))
    };
    let first = format!("{}; rel=\"first\"", target(&kept));
    let Some(last) = last else { return first };
    let value = sort.and_then(|sort| {
        let place = resource.fields.iter().position(|field| field.name == sort.name)?;
        let value = last.values.get(place)?;
        let shown = if value.is_none() { Json::from("") } else { value.show() };
        Some(shown.as_str().map_or_else(|| shown.to_string(), str::to_owned))
    });
    let after = value.map_or_else(|| last.id.to_string(), |value| format!("{value}~{}", last.id));
    let mut query = kept;
    query.push(format!("after={}", escaped(&after)));
    format!("{}; rel=\"next\", {first}", target(&query))
}

/// Percent-encodes all but RFC 3986's unreserved characters (2.3).
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::element::ELEMENT;
    use crate::domain::execution::TEST_EXECUTION;
    use crate::domain::value::Value;

    fn page(query: &str) -> Result<Page, Problem> {
        read(&ELEMENT, &pairs(query)?)
    }

    #[test]
    fn what_is_wrong_with_a_query_is_refused() {
        assert!(page("limit=200&sort=-confidence&discoveryState=stale").is_ok());
        for wrong in ["limit=0", "sort=selector", "after=x", "colour=red", "discoveryState=old"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
        assert!(pairs("limit=1&limit=1").is_err());
    }

    #[test]
    fn the_place_after_a_row_is_read_as_it_was_written() {
        let id = uuid::Uuid::now_v7();
        let after = page(&format!("sort=confidence&after=0.1~{id}")).unwrap().after;
        assert_eq!(after, Some((Some(Value::Number(Some(0.1))), id)));
        assert!(page(&format!("sort=confidence&after={id}")).is_err());
        let none = read(&TEST_EXECUTION, &pairs(&format!("sort=startedAt&after=~{id}")).unwrap());
        assert_eq!(none.unwrap().after, Some((Some(Value::Instant(None)), id)));
        assert!(page(&format!("sort=confidence&after=~{id}")).is_err(), "all have a confidence");
    }

    #[test]
    fn a_range_decides_the_order() {
        let range = page("confidenceFrom=0.5&confidenceTo=1&discoveryState=stale").unwrap();
        assert_eq!((range.sort.unwrap().name, range.descending), ("confidence", true));
        assert!(!page("sort=confidence&confidenceTo=0.5").unwrap().descending);
        for wrong in ["sort=id&confidenceTo=0.5", "confidenceFrom=2", "idFrom=x", "selectorTo=a"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
