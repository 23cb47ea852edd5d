//! The pages of errors that Gatehouse answers with: the built-in one, and a site's own as one
//! worker holds them, made when the configuration is read.
//!
//! Only bodies are replaced, and only for clients that would rather have a page; status and fields
//! are the rejection's. The application's own errors pass as they are.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::config;
use crate::rejection::Rejection;

/// The pages of a site.
pub(crate) struct ErrorPages {
    /// Single statuses before classes.
    by_status: Vec<(RangeInclusive<u16>, Bytes)>,
    maintenance: Option<Bytes>,
}

impl ErrorPages {
    /// A copy that shares no counter with any other worker's.
    pub(crate) fn new(pages: &config::ErrorPages) -> Self {
        let copy = |page: &String| Bytes::copy_from_slice(page.as_bytes());
        let by_status = pages.by_status.iter();
        Self {
            by_status: by_status.map(|(statuses, page)| (statuses.clone(), copy(page))).collect(),
            maintenance: pages.maintenance.as_ref().map(copy),
        }
    }

    /// The site's page for a rejection; `None` for the built-in one.
    pub(crate) fn of(&self, rejection: &Rejection) -> Option<&Bytes> {
        let own = self.maintenance.as_ref().filter(|_| rejection.is_maintenance());
        let status = rejection.status().as_u16();
        own.or_else(|| {
            let mut pages = self.by_status.iter();
            pages.find_map(|(statuses, page)| statuses.contains(&status).then_some(page))
        })
    }
}

/// The built-in page: no style, no script, so that no policy of the site stands against it.
pub(crate) fn built_in(status: u16, title: &str, detail: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{status} {title}</title></head>\n\
         <body><main><h1>{title}</h1><p>{detail}</p><p>Status {status}</p></main></body>\n</html>\n"
    )
}
