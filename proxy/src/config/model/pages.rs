//! `error_pages` and `maintenance` of a site.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::client::networks::Networks;

/// The site's own pages for the errors that Gatehouse answers with.
#[derive(Debug, Clone, Default)]
pub struct ErrorPages {
    /// HTML by status, single statuses before classes: the first that holds a status is its page.
    pub by_status: Vec<(RangeInclusive<u16>, String)>,
    /// HTML of the answer to those whom maintenance turns away; `None` for that of a 503.
    pub maintenance: Option<String>,
}

/// A site that is closed to all but its operators.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// When clients are told to come back, 1 s to 30 d.
    pub retry_after: Duration,
    /// Clients that are served as ever.
    pub allow: Networks,
}
