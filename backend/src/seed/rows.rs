//! How a row follows from its number `i`, as SQL that both engines take; what they spell
//! differently is in [`Dialect`].

use super::Size;

/// The first instant of everything that is seeded, in milliseconds since 1970: 2025-01-01.
const BEGIN_MS: i64 = 1_735_689_600_000;
/// What is between two rows of a table: a million of them are a month.
const STEP_MS: i64 = 3000;

/// Which engine the SQL is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// One table, in the order in which they are filled: parents first.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) count: fn(Size) -> i64,
    /// Distinguishes its keys from those of other tables.
    pub(super) number: u16,
    pub(super) columns: &'static str,
    pub(super) values: fn(&Rows) -> String,
}

/// What the values of a row are written with.
pub(super) struct Rows {
    pub(super) dialect: Dialect,
    pub(super) size: Size,
}

impl Table {
    /// Adds the rows from `$1` to `$2` that are not there yet; `$3` is the hash of the password.
    pub(super) fn insert(&self, dialect: Dialect, size: Size) -> String {
        let Self { name, columns, .. } = self;
        let values = (self.values)(&Rows { dialect, size });
        match dialect {
            Dialect::Sqlite => format!(
                "WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
                 INSERT INTO {name} ({columns}) SELECT {values} FROM n WHERE true \
                 ON CONFLICT DO NOTHING"
            ),
            Dialect::Postgres => format!(
                "INSERT INTO {name} ({columns}) SELECT {values} \
                 FROM generate_series($1::bigint, $2::bigint) AS n (i) ON CONFLICT DO NOTHING"
            ),
        }
    }
}

impl Rows {
    /// When row `index` of a table was made, in milliseconds.
    pub(super) fn made(index: &str) -> String {
        format!("({BEGIN_MS} + ({index}) * {STEP_MS})")
    }

    /// The key of row `index` of a table: version 7, so that keys sort by creation.
    pub(super) fn key(&self, table: &Table, index: &str) -> String {
        let (made, number) = (Self::made(index), table.number);
        match self.dialect {
            Dialect::Sqlite => {
                format!("unhex(printf('%012x7{number:03x}8000%012x', {made}, {index}))")
            }
            Dialect::Postgres => format!(
                "(lpad(to_hex({made}), 12, '0') || '7{number:03x}8000' || \
                 lpad(to_hex({index}), 12, '0'))::uuid"
            ),
        }
    }

    /// An instant from milliseconds.
    pub(super) fn instant(&self, ms: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => {
                format!("strftime('%Y-%m-%dT%H:%M:%f', ({ms}) / 1000.0, 'unixepoch') || '000Z'")
            }
            Dialect::Postgres => format!("to_timestamp(({ms}) / 1000.0)"),
        }
    }

    pub(super) fn json(&self, text: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => text.to_owned(),
            Dialect::Postgres => format!("({text})::jsonb"),
        }
    }

    pub(super) fn bytes(&self, hex_digits: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("unhex({hex_digits})"),
            Dialect::Postgres => format!("decode({hex_digits}, 'hex')"),
        }
    }

    /// One of some words, by turns.
    pub(super) fn word(words: &[&str]) -> String {
        let cases = words.iter().enumerate();
        let cases = cases.map(|(place, word)| format!(" WHEN {place} THEN '{word}'"));
        format!("CASE i % {}{} END", words.len(), cases.collect::<String>())
    }

    /// Which of `parents` a row belongs to: every tenth row is the first one's.
    pub(super) fn parent(parents: i64) -> String {
        format!("(CASE WHEN i % 10 = 0 THEN 0 ELSE i % {parents} END)")
    }

    /// One of the rows of `table` that belong to project `of`: their numbers differ by the number
    /// of projects.
    pub(super) fn one_of(&self, table: &Table, of: &str, turn: &str) -> String {
        let projects = self.size.projects;
        let each = ((table.count)(self.size) / projects).max(1);
        self.key(table, &format!("{of} + {projects} * (({turn}) % {each})"))
    }

    /// Version, creation, last change.
    pub(super) fn stamps(&self) -> String {
        let made = self.instant(&Self::made("i"));
        format!("1, {made}, {made}")
    }
}
