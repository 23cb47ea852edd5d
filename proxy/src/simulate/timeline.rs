//! Requests over time, however long that is.

use super::report::Column;

/// Columns of the timeline, at most.
const COLUMNS: usize = 120;

/// Requests over time, in columns that grow wider as time goes on.
#[derive(Default)]
pub(super) struct Timeline {
    /// Seconds of a column.
    width: u64,
    pub(super) columns: Vec<Column>,
}

impl Timeline {
    pub(super) fn add(&mut self, second: u64, rejected: bool) {
        self.width = self.width.max(1);
        let first = self.columns.first().map_or(second, |column| column.start);
        while second.saturating_sub(first) / self.width >= COLUMNS as u64 {
            self.widen();
        }
        let start = first + second.saturating_sub(first) / self.width * self.width;
        if self.columns.last().is_none_or(|last| last.start < start) {
            self.columns.push(Column { start, ..Column::default() });
        }
        if let Some(column) = self.columns.last_mut() {
            column.requests += 1;
            column.rejected += u64::from(rejected);
        }
    }

    /// Doubles the width.
    fn widen(&mut self) {
        self.width *= 2;
        let first = self.columns.first().map_or(0, |column| column.start);
        let mut wider: Vec<Column> = Vec::new();
        for column in self.columns.drain(..) {
            let start = first + (column.start - first) / self.width * self.width;
            match wider.last_mut().filter(|last| last.start == start) {
                Some(last) => {
                    last.requests += column.requests;
                    last.rejected += column.rejected;
                }
                None => wider.push(Column { start, ..column }),
            }
        }
        self.columns = wider;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_of_years_has_no_more_columns() {
        let mut timeline = Timeline::default();
        (0..10_000_u64).for_each(|n| timeline.add(1_000 + n * 3_600, n % 10 == 0));
        assert!(timeline.columns.len() <= COLUMNS);
        let sum = |of: fn(&Column) -> u64| timeline.columns.iter().map(of).sum::<u64>();
        assert_eq!((sum(|c| c.requests), sum(|c| c.rejected)), (10_000, 1_000));
    }
}
