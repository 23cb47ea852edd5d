//! Faults of a configuration: collected while it is read, sorted and printed when it is whole.
//!
//! Every fault says what is wrong, where, and what to write instead. Nothing here holds a value of
//! the configuration other than the source line, in which secrets are masked.

use std::cell::RefCell;
use std::fmt::{self, Write};

use serde::Serialize;

use super::source::Place;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, and probably does not say what was meant.
    Warning,
}

/// Something wrong with a configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// Whether the configuration is unusable.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The file, as the operator named it.
    pub file: String,
    /// Where in the file; `None` where the file itself is at fault.
    #[serde(flatten)]
    pub spot: Option<Spot>,
    /// A second place that has to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
    #[serde(skip)]
    order: (usize, usize),
}

/// A place in a file, with the line as it stands there.
#[derive(Debug, Clone, Serialize)]
pub struct Spot {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters from `column` that are at fault, at least 1.
    pub width: usize,
    /// The line, secrets masked.
    pub source: String,
}

/// The other place of a fault that two places make together.
#[derive(Debug, Clone, Serialize)]
pub struct Related {
    /// What stands there.
    pub note: String,
    /// The file, as the operator named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// All faults of a configuration, by file and position.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|fault| fault.severity == severity).count()
    }

    /// All faults as text for a person, followed by a count; coloured (ANSI) if asked for.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            text.push_str(&fault.render(coloured));
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    /// `2 errors, 1 warning`.
    fn summary(&self) -> String {
        let count = |severity, noun: &str| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {noun}")),
            n => Some(format!("{n} {noun}s")),
        };
        let parts = [count(Severity::Error, "error"), count(Severity::Warning, "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Faults {}

/// The characters of a source line that are shown; longer lines are cut around the fault.
const LONGEST_EXCERPT: usize = 160;

impl Fault {
    /// The fault as compilers print them: message, place, line, caret and remedy.
    fn render(&self, coloured: bool) -> String {
        let paint = |code: &str, text: &str| match coloured {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        };
        let (label, colour) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut text = format!("{}: {}\n", paint(colour, label), paint("1", &self.message));
        let Some(spot) = &self.spot else {
            let _ = writeln!(text, "  {} {}", paint("34", "-->"), self.file);
            let _ = writeln!(text, "  {} {}", paint("34", "="), self.remedy);
            return text;
        };
        let gutter = spot.line.to_string().len();
        let bar = paint("34", "|");
        let (source, column) = spot.window();
        let indent = " ".repeat(column - 1);
        let carets = paint(colour, &"^".repeat(spot.width.min(LONGEST_EXCERPT)));
        let _ = writeln!(
            text,
            "{:gutter$}{} {}:{}:{}",
            "",
            paint("34", "-->"),
            self.file,
            spot.line,
            spot.column
        );
        let _ = writeln!(text, "{:gutter$} {bar}", "");
        let _ = writeln!(text, "{} {bar} {source}", paint("34", &spot.line.to_string()));
        let _ = writeln!(text, "{:gutter$} {bar} {indent}{carets} {}", "", self.remedy);
        if let Some(Related { note, file, line, column }) = &self.related {
            let _ = writeln!(text, "{:gutter$} = {note} at {file}:{line}:{column}", "");
        }
        text
    }
}

impl Spot {
    /// The part of the line to show, and the column of the fault in it.
    fn window(&self) -> (String, usize) {
        let skipped = match self.column + self.width > LONGEST_EXCERPT {
            true => self.column.saturating_sub(LONGEST_EXCERPT / 2),
            false => 0,
        };
        let source: String = self.source.chars().skip(skipped).take(LONGEST_EXCERPT).collect();
        (source.trim_end().to_owned(), self.column - skipped)
    }
}

/// Collects faults. It is shared by everything that reads, hence the cell.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<Fault>>);

impl Findings {
    /// Notes an error at a place.
    pub(super) fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Error, place, message.into(), remedy.into(), None);
    }

    /// Notes an error that two places make together; `note` says what stands at the other one.
    pub(super) fn clash(
        &self,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
        note: &str,
        other: &Place,
    ) {
        let position = other.position();
        let related = Related {
            note: note.to_owned(),
            file: other.source.name.clone(),
            line: position.line,
            column: position.column,
        };
        self.note(Severity::Error, place, message.into(), remedy.into(), Some(related));
    }

    /// Notes a warning at a place.
    pub(super) fn warning(
        &self,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(Severity::Warning, place, message.into(), remedy.into(), None);
    }

    /// Notes an error of a file as a whole.
    pub(super) fn whole_file(&self, file: &str, order: usize, message: String, remedy: &str) {
        self.0.borrow_mut().push(Fault {
            severity: Severity::Error,
            message,
            remedy: remedy.to_owned(),
            file: file.to_owned(),
            spot: None,
            related: None,
            order: (order, 0),
        });
    }

    /// What is read twice, for two that inherit from it, is noted once.
    fn note(
        &self,
        severity: Severity,
        place: &Place,
        message: String,
        remedy: String,
        related: Option<Related>,
    ) {
        let order = (place.source.order, place.span.start);
        let is_known = |fault: &Fault| fault.order == order && fault.message == message;
        if self.0.borrow().iter().any(is_known) {
            return;
        }
        let position = place.position();
        self.0.borrow_mut().push(Fault {
            severity,
            message,
            remedy,
            file: place.source.name.clone(),
            spot: Some(Spot {
                line: position.line,
                column: position.column,
                width: position.width,
                source: place.excerpt(),
            }),
            related,
            order,
        });
    }

    /// Whether an error was found.
    pub(super) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|fault| fault.severity == Severity::Error)
    }

    /// Everything found, by file and position.
    pub(super) fn into_faults(self) -> Faults {
        let mut faults = self.0.into_inner();
        faults.sort_by_key(|fault| fault.order);
        Faults(faults)
    }
}
