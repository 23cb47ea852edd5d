//! What is gathered while lines are read, and the report that it comes to.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use jiff::Timestamp;

use super::peak::Peak;
use super::report::{Busy, Limits, Rates, Report, RuleReport};
use super::timeline::Timeline;
use crate::config::{Bound, Config, KeyPart, Mode, Rule};
use crate::policy::rate_limit::{Key, KeyHasher, Limiter, nanoseconds};

/// Keys of one rule whose rates are followed; the requests of further ones are decided and counted
/// all the same.
const FOLLOWED: usize = 1_000_000;

/// Lines that are shown of those that could not be read.
const SHOWN: usize = 3;

/// Keys that are named.
const BUSIEST: usize = 10;

/// What a rule saw of one request.
pub(super) struct Seen {
    /// Nanoseconds.
    pub(super) now: u64,
    pub(super) cost: u64,
    pub(super) rejected: bool,
    /// Whether its answer takes quota.
    pub(super) counts: bool,
}

/// What is gathered while lines are read.
pub(super) struct Tables {
    pub(super) lines: u64,
    pub(super) no_site: u64,
    pub(super) undecided: u64,
    pub(super) out_of_order: u64,
    pub(super) damaged: Vec<String>,
    unreadable: u64,
    examples: Vec<String>,
    requests: u64,
    rejected: u64,
    /// Nanoseconds since 1970.
    span: Option<(u64, u64)>,
    timeline: Timeline,
    rules: Vec<Table>,
}

struct Table {
    about: RuleReport,
    window: u64,
    keys: HashMap<Key, KeyTable, BuildHasherDefault<KeyHasher>>,
    /// How many requests found so much of their key in the window before them.
    found: BTreeMap<u64, u64>,
}

#[derive(Default)]
struct KeyTable {
    label: String,
    requests: u64,
    rejected: u64,
    peak: Peak,
}

impl Tables {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            lines: 0,
            no_site: 0,
            undecided: 0,
            out_of_order: 0,
            damaged: Vec::new(),
            unreadable: 0,
            examples: Vec::new(),
            requests: 0,
            rejected: 0,
            span: None,
            timeline: Timeline::default(),
            rules: config.rules.iter().map(Table::new).collect(),
        }
    }

    pub(super) fn unreadable(&mut self, text: &[u8]) {
        self.unreadable += 1;
        if self.examples.len() < SHOWN {
            let text = String::from_utf8_lossy(text);
            self.examples.push(text.chars().filter(|c| !c.is_control()).take(120).collect());
        }
    }

    /// A request was decided at `time`, in nanoseconds since 1970.
    pub(super) fn request(&mut self, time: u64, rejected: bool) {
        self.requests += 1;
        self.rejected += u64::from(rejected);
        self.span = Some((self.span.map_or(time, |(from, _)| from), time));
        self.timeline.add(time / 1_000_000_000, rejected);
    }

    /// A rule counted a request.
    pub(super) fn key(&mut self, rule: usize, key: Key, seen: &Seen, label: impl Fn() -> String) {
        let Some(table) = self.rules.get_mut(rule) else { return };
        table.about.requests += 1;
        table.about.rejected += u64::from(seen.rejected);
        if table.keys.len() >= FOLLOWED && !table.keys.contains_key(&key) {
            table.about.keys_beyond += 1;
            return;
        }
        let entry = table
            .keys
            .entry(key)
            .or_insert_with(|| KeyTable { label: label(), ..KeyTable::default() });
        entry.requests += 1;
        entry.rejected += u64::from(seen.rejected);
        if seen.counts && table.window > 0 {
            let before = entry.peak.add(table.window, seen.now, seen.cost);
            *table.found.entry(rounded(before + seen.cost - 1)).or_default() += 1;
        }
    }

    pub(super) fn report(self, limiter: &Limiter) -> Report {
        let moment = |nanoseconds: u64| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok();
        Report {
            lines: self.lines,
            unreadable: self.unreadable,
            examples: self.examples,
            no_site: self.no_site,
            undecided: self.undecided,
            out_of_order: self.out_of_order,
            damaged: self.damaged,
            requests: self.requests,
            rejected: self.rejected,
            from: self.span.and_then(|(from, _)| moment(from)),
            to: self.span.and_then(|(_, to)| moment(to)),
            evicted: limiter.evicted(),
            timeline: self.timeline.columns,
            rules: self.rules.into_iter().map(Table::report).collect(),
        }
    }
}

/// Up to 1,000 as it is, above with three digits: what is remembered stays small.
fn rounded(count: u64) -> u64 {
    let mut grain = 1;
    while count / grain >= 1_000 {
        grain *= 10;
    }
    count / grain * grain
}

impl Table {
    fn new(rule: &Rule) -> Self {
        let (limit, window) = match &rule.bound {
            Bound::Window { limit, window, .. } => (*limit, Some(*window)),
            Bound::InFlight(most) => (*most, None),
        };
        let about = RuleReport {
            name: rule.name.clone(),
            limit,
            window: window.map(|window| window.as_secs_f64()),
            mode: match rule.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            },
            note: note(rule),
            requests: 0,
            rejected: 0,
            keys: 0,
            keys_rejected: 0,
            keys_beyond: 0,
            busiest: Vec::new(),
            rates: Rates::default(),
            limits: None,
            histogram: Vec::new(),
        };
        let window = window.map_or(0, nanoseconds);
        Self { about, window, keys: HashMap::default(), found: BTreeMap::new() }
    }

    fn report(self) -> RuleReport {
        let Self { mut about, keys, found, .. } = self;
        about.keys = keys.len();
        about.keys_rejected = keys.values().filter(|key| key.rejected > 0).count();
        let mut peaks: Vec<u64> = keys.values().map(|key| key.peak.most).collect();
        peaks.sort_unstable();
        let share = |percent: usize| {
            let place = (peaks.len() * percent).div_ceil(100).saturating_sub(1);
            peaks.get(place).copied().unwrap_or_default()
        };
        let most = peaks.last().copied().unwrap_or_default();
        about.rates = Rates { p50: share(50), p90: share(90), p99: share(99), most };
        about.limits = (!found.is_empty()).then(|| Limits {
            one_in_100: limit(&found, 100),
            one_in_1000: limit(&found, 1_000),
            nobody: most,
        });
        about.histogram = histogram(&peaks);
        let mut busiest: Vec<_> = keys.into_values().collect();
        busiest.sort_unstable_by(|a, b| {
            let rank = |key: &KeyTable| (key.peak.most, key.requests);
            rank(b).cmp(&rank(a)).then_with(|| a.label.cmp(&b.label))
        });
        busiest.truncate(BUSIEST);
        let busy = |key: KeyTable| Busy {
            key: key.label,
            requests: key.requests,
            rejected: key.rejected,
            peak: key.peak.most,
        };
        about.busiest = busiest.into_iter().map(busy).collect();
        about
    }
}

/// What of a rule a log says nothing about.
fn note(rule: &Rule) -> Option<String> {
    if matches!(rule.bound, Bound::InFlight(_)) {
        return Some("a log does not tell what was in flight at a time: never rejects here".into());
    }
    let part = |part: &KeyPart| match part {
        KeyPart::Header(name) => Some(format!("the header {name}")),
        KeyPart::Cookie(name) => Some(format!("the cookie {name}")),
        KeyPart::Jwt(claim) => Some(format!("the claim {claim}")),
        KeyPart::Ip | KeyPart::Global | KeyPart::Host | KeyPart::Path | KeyPart::Method => None,
    };
    let missing: Vec<_> = rule.key.iter().filter_map(part).collect();
    (!missing.is_empty())
        .then(|| format!("a log does not hold {}: counted by client here", missing.join(" and ")))
}

/// The least limit under which at most one request in `of` finds too much before it.
fn limit(found: &BTreeMap<u64, u64>, of: u64) -> u64 {
    let all: u64 = found.values().sum();
    let mut over = 0;
    for (before, requests) in found.iter().rev() {
        over += requests;
        if over > all / of {
            return before + 1;
        }
    }
    1
}

/// Bounds of 1, 2, 5, 10, 20, … and how many peaks lie between each and the one below.
fn histogram(peaks: &[u64]) -> Vec<(u64, u64)> {
    let mut columns = Vec::new();
    let (mut rest, mut bound, mut factors) = (peaks, 1_u64, [2, 5, 10].into_iter().cycle());
    let mut decade = 1_u64;
    while !rest.is_empty() {
        let (inside, outside) = rest.split_at(rest.partition_point(|peak| *peak <= bound));
        columns.push((bound, inside.len() as u64));
        rest = outside;
        let factor = factors.next().unwrap_or(10);
        bound = decade.saturating_mul(factor);
        if factor == 10 {
            decade = bound;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_the_least_that_reject_so_few() {
        // 1,000 requests: 990 find nothing, 9 find 4 before them, one finds 9.
        let found = BTreeMap::from([(0, 990), (4, 9), (9, 1)]);
        assert_eq!((limit(&found, 100), limit(&found, 1_000)), (1, 5));
        assert_eq!(limit(&BTreeMap::from([(0, 1), (1, 1), (2, 1)]), 1_000), 3);
    }

    #[test]
    fn columns_are_1_2_5() {
        assert_eq!(histogram(&[1, 1, 2, 3, 12]), [(1, 2), (2, 1), (5, 1), (10, 0), (20, 1)]);
        assert_eq!(histogram(&[]), []);
    }

    #[test]
    fn what_is_remembered_of_large_counts_has_three_digits() {
        assert_eq!([999, 1_000, 1_239, 98_765].map(rounded), [999, 1_000, 1_230, 98_700]);
    }
}
