//! Path patterns: `/exact`, `/projects/{id}`, `/api/{*rest}`.
//!
//! | pattern | matches | does not match |
//! |---|---|---|
//! | `/exact` | `/exact` | `/exact/`, `/Exact` |
//! | `/projects/{id}` | `/projects/7` | `/projects/`, `/projects/7/edit` |
//! | `/api/{*rest}` | `/api/`, `/api/x`, `/api/x/y` | `/api` |
//! | `/{*rest}` | every path | |
//!
//! Patterns match the percent-decoded, dot-segment-free path, byte by byte; matching allocates
//! nothing.
//!
//! # Why
//!
//! `{*rest}` matches the empty rest too. With at least one character, `/api/` would slip past a
//! limit on `/api/{*rest}`, although most applications answer it, and no pattern would match every
//! path.

#[cfg(test)]
mod tests;

/// A path pattern, matched against a decoded path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Whether any rest may follow the segments.
    open: bool,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// These characters.
    Literal(Box<str>),
    /// Anything but nothing.
    Any,
}

impl Segment {
    fn matches(&self, part: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *part,
            Self::Any => !part.is_empty(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Literal(literal)) => self.matches(literal),
            (Self::Any, Self::Any) => true,
            (Self::Literal(_), Self::Any) => false,
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A sentence for the operator that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("a pattern begins with `/`".to_owned());
        };
        if text.contains(['?', '#']) {
            return Err("a pattern has no query and no fragment".to_owned());
        }
        if text.contains('%') {
            return Err("write the decoded character in the place of its percent code".to_owned());
        }
        if text.contains(|c: char| c.is_control() || c == '\\') {
            return Err("paths with control characters or `\\` are always rejected".to_owned());
        }
        let mut pattern = Self { text: text.to_owned(), segments: Vec::new(), open: false };
        let mut names = Vec::new();
        let last = path.split('/').count() - 1;
        for part in path.split('/') {
            if pattern.open {
                return Err("`{*rest}` can only stand at the end".to_owned());
            }
            if part.is_empty() && pattern.segments.len() < last {
                return Err("doubled slashes are merged before a path is matched".to_owned());
            }
            let Some(name) = variable(part)? else {
                pattern.segments.push(Segment::Literal(part.into()));
                continue;
            };
            match name.strip_prefix('*') {
                Some(_) => pattern.open = true,
                None => pattern.segments.push(Segment::Any),
            }
            let name = name.trim_start_matches('*');
            if names.contains(&name) {
                return Err(format!("the name `{name}` stands in it twice"));
            }
            names.push(name);
        }
        Ok(pattern)
    }

    /// Whether a decoded path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        let fit = self
            .segments
            .iter()
            .all(|segment| parts.next().is_some_and(|part| segment.matches(part)));
        fit && parts.next().is_some() == self.open
    }

    /// Whether every path that `other` matches, this pattern matches too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let long_enough = match (self.open, other.open) {
            (false, false) => other.segments.len() == self.segments.len(),
            (false, true) => false,
            (true, false) => other.segments.len() > self.segments.len(),
            (true, true) => other.segments.len() >= self.segments.len(),
        };
        let pairs = || self.segments.iter().zip(&other.segments);
        long_enough && pairs().all(|(segment, other)| segment.covers(other))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The name in the braces of a segment, with its `*`; `None` for a literal segment.
fn variable(part: &str) -> Result<Option<&str>, String> {
    let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return match part {
            "." | ".." => Err("dot segments are resolved before a path is matched".to_owned()),
            _ if part.contains(['{', '}']) => {
                Err("braces hold a whole segment: /projects/{id}".to_owned())
            }
            _ if part.contains('*') => Err("write `{*rest}` for everything below".to_owned()),
            _ if part.starts_with(':') => Err("write `{name}` for a segment".to_owned()),
            _ => Ok(None),
        };
    };
    let bare = name.strip_prefix('*').unwrap_or(name);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match !bare.is_empty() && bare.bytes().all(is_name) {
        true => Ok(Some(name)),
        false => Err("a name in braces has letters, digits and `_`".to_owned()),
    }
}
