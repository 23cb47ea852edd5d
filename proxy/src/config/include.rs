//! A configuration of several files: `include`, and the one table they make together.
//!
//! Lists of tables (`[[site]]`, `[[rate_limit]]`) are joined, the including file first. Any other table may stand in
//! one file only; `[upstream.NAME]` and `[headers.NAME]` count by name.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::expand::Environment;
use super::fault::Findings;
use super::section::Section;
use super::source::{Place, Source, read_file};
use super::tree::{Entry, Node, Table, Value, parse};
use super::values::At;

/// How many files may stand between the first one and an included one.
const DEEPEST: usize = 8;

/// Tables whose entries are named by the operator.
const NAMED: [&str; 2] = ["upstream", "headers"];

/// Reads files and joins them.
pub(super) struct Loader<'a> {
    environment: Environment<'a>,
    findings: &'a Findings,
    /// Every file that was read, as faults name it.
    pub(super) files: Vec<PathBuf>,
    /// Whether every file could be read and parsed.
    pub(super) complete: bool,
    /// The same files without symbolic links and `..`, to know one that comes again.
    canonical: Vec<PathBuf>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(environment: Environment<'a>, findings: &'a Findings) -> Self {
        let (files, canonical) = (Vec::new(), Vec::new());
        Self { environment, findings, files, complete: true, canonical }
    }

    /// Reads a file and what it includes.
    pub(super) fn file(&mut self, path: &Path) -> Table {
        let name = path.display().to_string();
        match read_file(path) {
            Ok(text) => self.text(path, text, 0),
            Err((message, remedy)) => {
                self.complete = false;
                self.findings.whole_file(&name, self.files.len(), message, remedy);
                Table::default()
            }
        }
    }

    /// Reads a text as if it were the content of `path`.
    pub(super) fn text(&mut self, path: &Path, text: String, depth: usize) -> Table {
        let source = Source::new(path.display().to_string(), self.files.len(), text);
        self.files.push(path.to_owned());
        self.canonical.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let Some(mut table) = parse(&source, folder, self.environment, self.findings) else {
            self.complete = false;
            return Table::default();
        };
        for At { value: path, place } in self.includes(&table, &source, folder) {
            if let Some(included) = self.included(&path, &place, depth + 1) {
                self.join(&mut table, included);
            }
        }
        table
    }

    /// The paths that a file includes.
    fn includes(&self, table: &Table, source: &Rc<Source>, folder: &Path) -> Vec<At<PathBuf>> {
        let start = Place::new(source, 0..0);
        let mut section = Section::new("the file".to_owned(), start, &table.entries, self.findings);
        let list = section.list("include", "path", |path| Ok(folder.join(path)));
        list.map_or_else(Vec::new, |list| list.items)
    }

    fn included(&mut self, path: &Path, place: &Place, depth: usize) -> Option<Table> {
        let name = path.display();
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.canonical.contains(&canonical) {
            self.findings.error(place, format!("`{name}` is read twice"), "include it once");
            return None;
        }
        if depth > DEEPEST {
            let message = format!("more than {DEEPEST} files include one another");
            self.findings.error(place, message, "include them from one file");
            return None;
        }
        match read_file(path) {
            Ok(text) => Some(self.text(path, text, depth)),
            Err((message, remedy)) => {
                self.complete = false;
                self.findings.error(place, format!("`{name}`: {message}"), remedy);
                None
            }
        }
    }

    /// Adds the entries of an included file to those of the file that includes it.
    fn join(&self, table: &mut Table, included: Table) {
        for entry in included.entries.into_iter().filter(|entry| entry.key != "include") {
            let named = NAMED.contains(&entry.key.as_str());
            let first = table.entries.iter_mut().find(|first| first.key == entry.key);
            match (first, entry) {
                (None, entry) => table.entries.push(entry),
                (
                    Some(Entry { node: Node { value: Value::List(all), .. }, .. }),
                    Entry { node: Node { value: Value::List(more), .. }, .. },
                ) => all.extend(more),
                (
                    Some(Entry { node: Node { value: Value::Table(all), .. }, .. }),
                    Entry { key, node: Node { value: Value::Table(more), .. }, .. },
                ) if named => self.join_named(&key, all, more),
                (Some(first), entry) => self.twice(&entry.key, &entry, first),
            }
        }
    }

    fn join_named(&self, section: &str, all: &mut Table, more: Table) {
        for entry in more.entries {
            match all.entry(&entry.key) {
                None => all.entries.push(entry),
                Some(first) => self.twice(&format!("{section}.{}", entry.key), &entry, first),
            }
        }
    }

    fn twice(&self, title: &str, second: &Entry, first: &Entry) {
        let is_table = matches!(second.node.value, Value::Table(_));
        let title = if is_table { format!("[{title}]") } else { format!("`{title}`") };
        let (place, other) = (&second.key_place, &first.key_place);
        self.findings.clash(
            place,
            format!("{title} is defined twice"),
            "keep one of them",
            "first defined",
            other,
        );
    }
}
