//! Reports in a file of the certificate store, so that they outlive the process.
//!
//! If it cannot be used, that is said once, and reports are kept in memory only.

use std::fmt::Display;
use std::path::Path;

use super::table::{Entry, Table};
use crate::tls::store::Store;

const NAME: &str = "csp-reports.json";

/// The file of reports in a folder.
pub(super) struct File {
    store: Store,
    failed: bool,
}

/// Entries that were not reported for this long are forgotten, in seconds: 30 days.
const OLDEST: u64 = 30 * 86_400;

impl File {
    pub(super) fn new(folder: &Path) -> Self {
        Self { store: Store::at(folder), failed: false }
    }

    /// Puts what an earlier process has kept into a table.
    pub(super) fn load(&mut self, table: &mut Table, now: u64) {
        let text = match self.store.read(NAME) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(error) => return self.note(&error),
        };
        match serde_json::from_str::<Vec<Entry>>(&text) {
            Ok(entries) => {
                let is_young = |entry: &Entry| entry.last >= now.saturating_sub(OLDEST);
                entries.into_iter().filter(is_young).for_each(|entry| table.restore(entry));
            }
            Err(error) => self.note(&error),
        }
    }

    /// Writes all entries.
    pub(super) fn write(&mut self, entries: &[Entry]) {
        let text = serde_json::to_vec(entries).unwrap_or_default();
        match self.store.write(NAME, &text) {
            Ok(()) => self.failed = false,
            Err(error) => self.note(&error),
        }
    }

    fn note(&mut self, error: &dyn Display) {
        if !std::mem::replace(&mut self.failed, true) {
            let path = self.store.path(NAME);
            tracing::warn!(path = %path.display(), %error, "CSP reports stay in memory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::Violation;

    fn violation(page: &str) -> Violation {
        Violation {
            site: "a".to_owned(),
            page: page.to_owned(),
            directive: "img-src".to_owned(),
            blocked: "data".to_owned(),
            enforced: false,
            source: String::new(),
        }
    }

    #[test]
    fn what_was_reported_outlives_the_process_and_old_reports_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        for (page, at) in [("/old", 10), ("/new", OLDEST), ("/new", OLDEST + 9)] {
            table.add(violation(page), at);
            File::new(folder.path()).write(&table.entries());
        }
        let mut loaded = Table::default();
        File::new(folder.path()).load(&mut loaded, OLDEST + 20);
        let entries = loaded.entries();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(entry.violation, violation("/new"));
        assert_eq!((entry.count, entry.first, entry.last), (2, OLDEST, OLDEST + 9));
    }

    #[test]
    fn a_file_that_cannot_be_used_costs_nothing_but_itself() {
        let mut file = File::new(Path::new("/no/such/folder"));
        let mut table = Table::default();
        file.load(&mut table, 1);
        table.add(violation("/"), 1);
        file.write(&table.entries());
        assert!(file.failed && table.entries().len() == 1);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "[{").unwrap();
        let mut file = File::new(folder.path());
        file.load(&mut table, 1);
        assert!(file.failed && table.entries().len() == 1);
    }
}
