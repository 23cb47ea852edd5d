//! A value that must not be printed.

use std::fmt;

/// A secret. `Debug` shows that there is one; only [`Secret::expose`] gives it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether an attacker would try this early: a text from an example file, or few different
    /// characters. A random secret of 32 bytes, in hexadecimal or base64, does not come near
    /// either.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        const FROM_EXAMPLES: [&str; 7] =
            ["change", "default", "example", "password", "secret", "replace", "nomation"];
        const DIFFERENT_MIN: usize = 8;
        let lower = self.0.to_ascii_lowercase();
        let mut seen = [false; 256];
        for byte in self.0.bytes() {
            if let Some(seen) = seen.get_mut(usize::from(byte)) {
                *seen = true;
            }
        }
        FROM_EXAMPLES.iter().any(|word| lower.contains(word))
            || seen.iter().filter(|seen| **seen).count() < DIFFERENT_MIN
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
