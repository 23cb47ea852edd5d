//! How much a rule allows: `limit` per `window`, or `in_flight`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Known, matches};
use crate::config::model::{Ban, Bound, Cost, Count, Limits};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::values::At;

/// A limit that is larger limits nothing.
const LIMIT: RangeInclusive<u64> = 1..=1_000_000_000;

/// A window is at most a year.
const WINDOW: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(366 * 86_400);

/// Requests that may wait for their answers.
const AHEAD: RangeInclusive<u64> = 0..=10_000;

/// Final statuses (RFC 9110, 15).
const STATUS: RangeInclusive<u16> = 200..=599;

/// Keys that say nothing about requests in flight.
const OF_WINDOWS: [&str; 5] = ["limit", "window", "cost", "count", "ban"];

/// Reads the bound of a rule; `None` if it is incomplete.
pub(super) fn read(section: &mut Section<'_>, known: &Known<'_>) -> Option<Bound> {
    if section.node("in_flight").is_some() {
        return in_flight(section, known.limits);
    }
    section.require("limit", "limit = 100");
    section.require("window", "window = \"60s\"");
    let limit = section.integer("limit", LIMIT);
    let window = section.duration("window", WINDOW);
    let most = limit.as_ref().map_or(*LIMIT.end(), |limit| limit.value);
    let cost = cost(section, most, known.hosts);
    let count = count(section);
    let ban = ban(section);
    Some(Bound::Window { limit: limit?.value, window: window?, cost, count, ban })
}

/// A bound of what happens at a time.
fn in_flight(section: &mut Section<'_>, limits: &Limits) -> Option<Bound> {
    let bound = section.integer("in_flight", LIMIT);
    for key in OF_WINDOWS {
        if let Some(node) = section.node(key) {
            let message = format!("`{key}` beside `in_flight` says nothing");
            section.error(&node.place, message, "make two rules of it");
        }
    }
    let bound = bound?;
    let most = limits.connections as u64 * u64::from(limits.http2_streams);
    if bound.value >= most {
        let message = "the rule can never reject: [limits] allows no more than that at a time";
        section.error(&bound.place, message, format!("write less than {most}"));
    }
    Some(Bound::InFlight(bound.value))
}

/// `cost = 5`, or `cost = [{ path = "/search", cost = 5 }]` and 1 for all other requests.
fn cost(section: &mut Section<'_>, most: u64, hosts: &[At<String>]) -> Cost {
    let mut of = Vec::new();
    if !matches!(section.node("cost").map(|node| &node.value), Some(Value::List(_))) {
        return Cost { of, otherwise: one_cost(section, most).unwrap_or(1) };
    }
    for mut table in section.sections("cost", &format!("`cost` of {}", section.title)) {
        table.require("cost", "cost = 5");
        let cost = one_cost(&mut table, most);
        of.push((matches::read(table, hosts), cost.unwrap_or(1)));
    }
    Cost { of, otherwise: 1 }
}

fn one_cost(section: &mut Section<'_>, most: u64) -> Option<u64> {
    let cost = section.integer("cost", LIMIT)?;
    if cost.value > most {
        let message = format!("such a request can never pass: it costs {} of {most}", cost.value);
        section.error(&cost.place, message, "write at most the `limit`");
    }
    Some(cost.value)
}

/// `count = { status = [401, 403], ahead = 0 }`.
fn count(section: &mut Section<'_>) -> Option<Count> {
    section.node("count")?;
    let mut table = section.section("count", &format!("`count` of {}", section.title));
    table.require("status", "status = [401, 403]");
    let status = statuses(&mut table);
    let ahead = table.integer("ahead", AHEAD).map_or(0, |at| at.value);
    table.finish();
    Some(Count { status: status?, ahead })
}

/// One status or a list of them; a string stands for a class: `"4xx"`.
fn statuses(section: &mut Section<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let node = section.node("status")?;
    let items =
        if let Value::List(items) = &node.value { items } else { std::slice::from_ref(node) };
    if items.is_empty() {
        let message = "the rule can never reject: no answer counts";
        section.error(&node.place, message, "leave `count` out to count every request");
    }
    Some(items.iter().filter_map(|item| status(section, item)).collect())
}

fn status(section: &Section<'_>, node: &Node) -> Option<RangeInclusive<u16>> {
    let range = if let Value::Integer(code) = node.value {
        u16::try_from(code).ok().filter(|code| STATUS.contains(code)).map(|code| code..=code)
    } else if let Value::Text(class) = &node.value {
        let digit = class.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok());
        let first = digit.map(|digit| digit.saturating_mul(100));
        first.filter(|first| STATUS.contains(first)).map(|first| first..=first + 99)
    } else {
        None
    };
    if matches!(node.value, Value::Broken) {
        return None; // noted already
    }
    if range.is_none() {
        let message = "this is no final status";
        section.error(&node.place, message, "write 200 to 599, or a class: \"4xx\"");
    }
    range
}

/// `ban = { after = 3, for = "10m", up_to = "1d" }`.
fn ban(section: &mut Section<'_>) -> Option<Ban> {
    section.node("ban")?;
    let mut table = section.section("ban", &format!("`ban` of {}", section.title));
    table.require("after", "after = 3");
    table.require("for", "for = \"10m\"");
    let after = table.integer("after", 1..=1_000_000);
    let length = table.duration("for", WINDOW);
    let up_to = table.duration("up_to", WINDOW);
    if let (Some(up_to), Some(length), Some(node)) = (up_to, length, table.node("up_to"))
        && up_to < length
    {
        let message = "the longest ban is shorter than the first";
        table.error(&node.place, message, "write more than `for`");
    }
    table.finish();
    let length = length?;
    Some(Ban { after: after?.value, length, up_to: up_to.unwrap_or(length) })
}
