//! The groups of an upstream's servers, of which one is used at a time, and what makes a client
//! keep its server.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// The groups of an upstream (blue/green).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// At least one, in the order of the file.
    pub groups: Vec<Group>,
    /// The place of the one that is used until another is activated.
    pub active: usize,
}

impl Groups {
    /// The group that the file says is active.
    #[must_use]
    pub fn configured(&self) -> &str {
        self.name(self.active)
    }

    /// The name of the group at a place; empty if there is none.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.groups.get(place).map_or("", |group| &group.name)
    }

    /// The place of a group.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }
}

/// Servers that are used together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Unique in its upstream.
    pub name: String,
    /// Where they are in the upstream's list of servers; at least one.
    pub servers: Range<usize>,
}

/// The `sticky` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie (default `gatehouse`).
    pub cookie: String,
    /// How long a client keeps it; `None` for as long as its browser runs (the default).
    pub max_age: Option<Duration>,
    /// What the cookie is signed with; `None` for a key that is kept in the store.
    pub secret: Option<Secret>,
}

/// A string that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
