//! Distinct violations, and how often each was reported.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

/// What a browser did not load, or would not have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Violation {
    /// The site's name.
    pub(crate) site: String,
    /// The path of the page.
    pub(crate) page: String,
    /// The directive that stands against it.
    pub(crate) directive: String,
    /// A URL without its query, a path of the page's own origin, or a word: `inline`, `eval`.
    pub(crate) blocked: String,
    /// Whether the policy is enforced.
    pub(crate) enforced: bool,
    /// The script that asked for it, and the line.
    pub(crate) source: String,
}

/// A violation and its reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) violation: Violation,
    pub(crate) count: u64,
    /// Seconds since 1970.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The reports of one violation.
#[derive(Debug, Clone, Copy)]
struct Count {
    all: u64,
    /// Those that are not in the file.
    unsaved: u64,
    first: u64,
    last: u64,
}

/// All that are known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    known: HashMap<Violation, Count>,
}

impl Table {
    /// Distinct violations that are kept.
    pub(crate) const MOST: usize = 2_000;
    /// Distinct violations that are kept of one site, so that one cannot fill the table.
    pub(crate) const MOST_OF_SITE: usize = 1_000;

    /// Counts a report; whether nothing else had to be forgotten for it.
    pub(crate) fn add(&mut self, violation: Violation, now: u64) -> bool {
        let has_room = self.known.contains_key(&violation) || self.has_room(&violation.site);
        if !has_room {
            self.forget_least(&violation.site);
        }
        let new = Count { all: 0, unsaved: 0, first: now, last: now };
        let count = self.known.entry(violation).or_insert(new);
        (count.all, count.unsaved, count.last) = (count.all + 1, count.unsaved + 1, now);
        has_room
    }

    /// Makes room for a report of a site: what was reported least often goes, and of that the
    /// oldest. A flood of inventions thus shuts nobody out who comes after it, nor what is reported
    /// again and again. A site that has its share gives way itself, or else the one with the most.
    fn forget_least(&mut self, site: &str) {
        let mut sizes = HashMap::<&str, usize>::new();
        for known in self.known.keys() {
            *sizes.entry(&known.site).or_default() += 1;
        }
        let is_full = sizes.get(site).is_some_and(|size| *size >= Self::MOST_OF_SITE);
        let largest = sizes.iter().max_by_key(|(_, size)| **size).map(|(site, _)| *site);
        let site = if is_full { Some(site) } else { largest };
        let of_site = self.known.iter().filter(|(known, _)| Some(&*known.site) == site);
        let least = of_site.min_by_key(|(_, count)| (count.all, count.last));
        if let Some(least) = least.map(|(known, _)| known.clone()) {
            self.known.remove(&least);
        }
    }

    /// Puts back what a file has kept.
    pub(super) fn restore(&mut self, Entry { violation, count, first, last }: Entry) {
        if self.has_room(&violation.site) {
            self.known.insert(violation, Count { all: count, unsaved: 0, first, last });
        }
    }

    fn has_room(&self, site: &str) -> bool {
        let of_site = || self.known.keys().filter(|known| known.site == site).count();
        self.known.len() < Self::MOST && of_site() < Self::MOST_OF_SITE
    }

    /// Everything, the most frequent first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> =
            self.known.iter().map(|(known, count)| entry(known, *count, count.all)).collect();
        entries.sort_by_key(|entry| Reverse((entry.count, entry.last)));
        entries
    }

    /// What the file does not have yet: the reports since they were last [saved](Self::saved).
    pub(super) fn unsaved(&self) -> Vec<Entry> {
        let unsaved = self.known.iter().filter(|(_, count)| count.unsaved > 0);
        unsaved.map(|(known, count)| entry(known, *count, count.unsaved)).collect()
    }

    /// The file has everything.
    pub(super) fn saved(&mut self) {
        self.known.values_mut().for_each(|count| count.unsaved = 0);
    }

    /// Drops what was last reported before a time.
    pub(super) fn forget(&mut self, before: u64) {
        self.known.retain(|_, count| count.last >= before);
    }
}

fn entry(violation: &Violation, Count { first, last, .. }: Count, count: u64) -> Entry {
    Entry { violation: violation.clone(), count, first, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(site: &str, page: usize) -> Violation {
        Violation {
            site: site.to_owned(),
            page: format!("/{page}"),
            directive: "img-src".to_owned(),
            blocked: "https://a.example/x".to_owned(),
            enforced: true,
            source: String::new(),
        }
    }

    #[test]
    fn the_same_violation_is_one_entry() {
        let mut table = Table::default();
        assert!([5, 7, 9].into_iter().all(|now| table.add(violation("a", 1), now)));
        table.add(violation("a", 2), 8);
        let entries = table.entries();
        let [often, once] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((often.count, often.first, often.last), (3, 5, 9));
        assert_eq!(once.count, 1);
        table.forget(9);
        assert_eq!(table.entries().len(), 1);
    }

    #[test]
    fn what_is_saved_is_not_saved_again() {
        let mut table = Table::default();
        let unsaved = |table: &Table| table.unsaved().iter().map(|e| e.count).collect::<Vec<_>>();
        table.restore(Entry { violation: violation("a", 1), count: 9, first: 1, last: 1 });
        assert!(unsaved(&table).is_empty());
        table.add(violation("a", 1), 5);
        table.add(violation("a", 1), 6);
        assert_eq!((unsaved(&table), table.entries()[0].count), (vec![2], 11));
        table.saved();
        assert_eq!((unsaved(&table), table.entries()[0].count), (vec![], 11));
    }

    #[test]
    fn a_flood_fills_its_sites_share_and_no_more() {
        let mut table = Table::default();
        let flood = |table: &mut Table, site| {
            (0..3_000).filter(|page| table.add(violation(site, *page), 1)).count()
        };
        let of_site = |table: &Table, site| {
            table.entries().iter().filter(|entry| entry.violation.site == site).count()
        };
        assert!(table.add(violation("a", 9_999), 0) && table.add(violation("a", 9_999), 0));
        assert_eq!(flood(&mut table, "a"), Table::MOST_OF_SITE - 1);
        assert_eq!(of_site(&table, "a"), Table::MOST_OF_SITE);
        assert_eq!(flood(&mut table, "b"), Table::MOST - Table::MOST_OF_SITE);
        assert!(!table.add(violation("c", 1), 2));
        assert_eq!(of_site(&table, "c"), 1, "who comes after a flood is heard");
        assert!(!table.add(violation("b", 9_999), 2));
        assert_eq!(table.entries().len(), Table::MOST);
        assert!(table.add(violation("a", 9_999), 2), "what is reported again is still known");
    }
}
