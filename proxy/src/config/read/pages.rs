//! `error_pages` and `maintenance` of a `[[site]]`.
//!
//! Pages are read when the configuration is, from files whose paths are relative to the file that
//! names them: a page that is missing is a fault, not a surprise in the middle of an outage.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::networks;
use crate::config::model::{ErrorPages, Maintenance};
use crate::config::section::{Section, quoted};
use crate::config::source::read_page;
use crate::config::tree::{Entry, Value};
use crate::config::values::At;
use crate::rejection;

/// What one site says about its pages, and the files that were read for it.
pub(super) struct Pages {
    pub(super) pages: ErrorPages,
    /// `None` while the site is open.
    pub(super) maintenance: Option<Maintenance>,
    pub(super) files: Vec<PathBuf>,
}

/// Between a moment that no client waits for and a month.
const RETRY_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

impl Pages {
    /// Reads both keys of a site.
    pub(super) fn read(site: &mut Section<'_>) -> Self {
        let mut pages = Self { pages: ErrorPages::default(), maintenance: None, files: Vec::new() };
        for entry in site.named("error_pages") {
            let page = site.text_at(&entry.key, &entry.node);
            let page = page.and_then(|path| pages.page(site, &entry.key, &path));
            let statuses = statuses(site, entry);
            pages.pages.by_status.extend(statuses.zip(page));
        }
        pages.pages.by_status.sort_by_key(|(statuses, _)| statuses.end() - statuses.start());
        if site.node("maintenance").is_some_and(|node| matches!(node.value, Value::Table(_))) {
            let title = format!("`maintenance` of {}", site.title);
            let section = site.section("maintenance", &title);
            pages.read_maintenance(section);
        } else {
            site.section("maintenance", ""); // of another type, which is a fault
        }
        pages
    }

    fn read_maintenance(&mut self, mut section: Section<'_>) {
        let active = section.boolean("active").unwrap_or(true);
        let retry_after = section.duration("retry_after", RETRY_AFTER);
        let allow = networks(&mut section, "allow").unwrap_or_default();
        if let Some(path) = section.text("page").filter(|path| !path.value.is_empty()) {
            self.pages.maintenance = self.page(&section, "page", &path);
        }
        section.finish();
        let retry_after = retry_after.unwrap_or(Duration::from_secs(300));
        self.maintenance = active.then_some(Maintenance { retry_after, allow });
    }

    /// The content of a page's file.
    fn page(&mut self, section: &Section<'_>, key: &str, path: &At<&str>) -> Option<String> {
        let folder = Path::new(&path.place.source.name).parent().unwrap_or_else(|| Path::new(""));
        let file = folder.join(path.value);
        match read_page(&file) {
            Ok(page) => {
                self.files.push(file);
                Some(page)
            }
            Err((message, remedy)) => {
                let file = quoted(path.value);
                let message = format!("page `{file}` for `{key}` in {}: {message}", section.title);
                section.error(&path.place, message, remedy);
                None
            }
        }
    }
}

/// The statuses that a key means: `503`, `4xx`, `5xx`.
fn statuses(site: &Section<'_>, entry: &Entry) -> Option<RangeInclusive<u16>> {
    let title = format!("`error_pages` of {}", site.title);
    let remedy = "write the status of an error (503), or a class of them (4xx, 5xx)";
    let statuses = match entry.key.as_str() {
        "4xx" => 400..=499,
        "5xx" => 500..=599,
        key => match key.parse().ok().filter(|status| (400..=599).contains(status)) {
            Some(status) if key.len() == 3 => status..=status,
            _ => {
                let message = format!("unknown key `{}` in {title}", quoted(key));
                site.error(&entry.key_place, message, remedy);
                return None;
            }
        },
    };
    if !rejection::STATUSES.iter().any(|status| statuses.contains(status)) {
        let message = format!("`{}` in {title} is never shown", entry.key);
        let remedy = format!(
            "the application's answers keep their own bodies; Gatehouse's own errors are {}",
            rejection::STATUSES.map(|status| status.to_string()).join(", ")
        );
        site.findings.warning(&entry.key_place, message, remedy);
    }
    Some(statuses)
}
