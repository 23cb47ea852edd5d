//! Path patterns: `/exact`, `/projects/{id}`, `/api/{*rest}`.

/// A path pattern, matched against a decoded path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Reads a pattern; the error is a sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned() })
    }

    pub fn matches(&self, path: &str) -> bool {
        self.text == path
    }
    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
