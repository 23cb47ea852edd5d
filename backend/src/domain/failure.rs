//! Why an execution failed, or one of its steps.

/// Longest reason, in bytes.
pub const FAILURE_MAX: usize = 1000;

/// A reason, as it can be stored and shown: at most [`FAILURE_MAX`] bytes, of which what is left
/// over is cut off, without control characters but line breaks and tabs.
///
/// # Why
/// It quotes pages, and what programs say of them. PostgreSQL refuses NUL, and with it what came of
/// the whole job; other control characters forge lines in whatever prints the text.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Failure(String);

impl Failure {
    /// A reason, in whatever words.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        let mut shortened = reason.to_owned();
        shortened.truncate(reason.floor_char_boundary(FAILURE_MAX));
        let shown = |c: char| if c.is_control() && !"\n\r\t".contains(c) { '?' } else { c };
        Self(shortened.chars().map(shown).collect())
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_or_shown_is_replaced() {
        assert_eq!(Failure::new("a\0b\u{1b}[31m\u{9b}\n\tü").as_str(), "a?b?[31m?\n\tü");
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let cut = Failure::new(&"ü\0".repeat(FAILURE_MAX));
        assert_eq!(cut, Failure::new(cut.as_str()));
        assert!(cut.as_str().len() <= FAILURE_MAX, "{}", cut.as_str().len());
    }
}
