//! What an instance knows of the shared values: a copy that is read without asking anybody.

use std::collections::{BTreeMap, BTreeSet};

/// The copy.
#[derive(Default)]
pub(super) struct Known {
    /// Which life of the store this is of; another one begins when the store has lost everything.
    pub(super) epoch: String,
    /// All changes up to this one are in it.
    pub(super) version: u64,
    values: BTreeMap<String, Value>,
    /// What has changed since somebody last asked.
    changed: BTreeSet<String>,
}

struct Value {
    version: u64,
    /// `None` if it was removed.
    text: Option<String>,
}

impl Known {
    /// A value as it is known.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        self.values.get(file)?.text.clone()
    }

    /// Where it has changed last; 0 if that is not known.
    pub(super) fn version_of(&self, file: &str) -> u64 {
        self.values.get(file).map_or(0, |value| value.version)
    }

    /// Takes over a value, unless a later one is known.
    pub(super) fn put(&mut self, file: &str, version: u64, text: Option<String>) {
        let known = self.values.get(file);
        if known.is_some_and(|known| known.version >= version) {
            return;
        }
        if known.and_then(|known| known.text.as_ref()) != text.as_ref() {
            self.changed.insert(file.to_owned());
        }
        self.values.insert(file.to_owned(), Value { version, text });
    }

    /// Forgets the text of a value that cannot be used.
    pub(super) fn blot(&mut self, file: &str) {
        if let Some(value) = self.values.get_mut(file) {
            value.text = None;
        }
    }

    /// The store has begun anew: whatever it says from now on is later.
    pub(super) fn begin(&mut self, epoch: String) {
        self.epoch = epoch;
        self.version = 0;
        self.values.values_mut().for_each(|value| value.version = 0);
    }

    /// The values that the store has not had since it began anew.
    pub(super) fn lost(&self) -> Vec<(String, String)> {
        let lost = self.values.iter().filter(|(_, value)| value.version == 0);
        lost.filter_map(|(file, value)| Some((file.clone(), value.text.clone()?))).collect()
    }

    /// What has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_win_in_whatever_order_they_are_heard_of() {
        let mut known = Known::default();
        let text = |text: &str| Some(text.to_owned());
        known.put("a", 5, text("new"));
        known.put("a", 3, text("old"));
        assert_eq!((known.read("a"), known.version_of("a")), (text("new"), 5));
        known.put("b", 6, text("b"));
        assert_eq!(known.take_changed().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        known.put("a", 7, text("new"));
        assert!(known.take_changed().is_empty(), "the same again is no change");
        // After a loss the store counts from the beginning.
        known.begin("another".to_owned());
        known.put("a", 1, text("newer"));
        assert_eq!(known.read("a"), text("newer"));
        assert_eq!(known.lost(), [("b".to_owned(), "b".to_owned())]);
        known.put("b", 2, None);
        assert_eq!((known.read("b"), known.lost().len()), (None, 0));
    }
}
