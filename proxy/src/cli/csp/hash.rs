//! `gatehouse csp hash`: the hashes of inline scripts and styles (CSP Level 3, 2.3.1).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use lol_html::{HtmlRewriter, MemorySettings, Settings, element, text};
use serde_json::json;

use crate::audit::PAGE_MEMORY;

/// What was found in some pages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hashes {
    scripts: BTreeSet<String>,
    styles: BTreeSet<String>,
    /// Handlers and styles in attributes, which no hash allows by itself.
    attributes: usize,
}

/// Folders in folders that are looked into.
const DEPTH: usize = 16;

/// Bytes of a page that are read.
const LARGEST: u64 = 16 << 20;

/// The hashes in a file, or in every page below a folder.
pub(super) fn files(path: &Path) -> Result<Hashes, String> {
    let failed = |path: &Path, error: io::Error| format!("cannot read {}: {error}", path.display());
    let (mut hashes, mut pages) = (Hashes::default(), 0);
    let mut waiting = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        // Links below a folder are not followed: they can lead in circles, and out of it.
        let metadata = if depth == 0 { path.metadata() } else { path.symlink_metadata() };
        let metadata = metadata.map_err(|error| failed(&path, error))?;
        if metadata.is_dir() {
            if depth > DEPTH {
                return Err(format!("{}: folders lie too deep", path.display()));
            }
            let entries = fs::read_dir(&path).map_err(|error| failed(&path, error))?;
            let inner: Result<Vec<PathBuf>, _> =
                entries.map(|entry| entry.map(|entry| entry.path())).collect();
            let inner = inner.map_err(|error| failed(&path, error))?;
            waiting.extend(inner.into_iter().map(|path| (path, depth + 1)));
        } else if metadata.is_file() && (depth == 0 || is_html(&path)) {
            if metadata.len() > LARGEST {
                return Err(format!("{} is larger than 16 MiB", path.display()));
            }
            let page = fs::read(&path).map_err(|error| failed(&path, error))?;
            hashes.add(&page).map_err(|what| format!("{} {what}", path.display()))?;
            pages += 1;
        }
    }
    match pages {
        0 => Err(format!("no .html file is below {}", path.display())),
        _ => Ok(hashes),
    }
}

fn is_html(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(extension.to_ascii_lowercase().as_str(), "html" | "htm")
}

/// What a rewriter finds on its way.
#[derive(Default)]
struct Found {
    hashes: Hashes,
    /// The text of the element that is open, if it counts.
    open: Option<String>,
}

impl Hashes {
    /// Adds what is inline in a page; the error is what the page does.
    pub(super) fn add(&mut self, page: &[u8]) -> Result<(), &'static str> {
        let found = Found { hashes: std::mem::take(self), open: None };
        let found = Rc::new(RefCell::new(found));
        let (at_element, at_script, at_style) =
            (Rc::clone(&found), Rc::clone(&found), Rc::clone(&found));
        let memory = MemorySettings::new().with_max_allowed_memory_usage(PAGE_MEMORY);
        let settings = Settings::new()
            .with_strict(false)
            .with_memory_settings(memory)
            .append_element_content_handler(element!("*", move |element| {
                let named = |name: &str| name.starts_with("on") || name == "style";
                let attributes = element.attributes().iter();
                let inline = attributes.filter(|attribute| named(&attribute.name())).count();
                let counts = element.tag_name() == "style"
                    || element.get_attribute("src").is_none()
                        && is_code(element.get_attribute("type").as_deref());
                let mut found = at_element.borrow_mut();
                found.hashes.attributes += inline;
                found.open = counts.then(String::new);
                Ok(())
            }))
            .append_element_content_handler(text!("script", move |chunk| {
                let mut found = at_script.borrow_mut();
                if let Some(hash) = found.take(chunk.as_str(), chunk.last_in_text_node()) {
                    found.hashes.scripts.insert(hash);
                }
                Ok(())
            }))
            .append_element_content_handler(text!("style", move |chunk| {
                let mut found = at_style.borrow_mut();
                if let Some(hash) = found.take(chunk.as_str(), chunk.last_in_text_node()) {
                    found.hashes.styles.insert(hash);
                }
                Ok(())
            }));
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        let read = rewriter.write(page).and_then(|()| rewriter.end());
        *self = found.take().hashes;
        read.map_err(|_| "nests its elements too deeply to be read")
    }

    /// As lines for the configuration, or as JSON.
    pub(super) fn render(&self, as_json: bool) -> String {
        let Self { scripts, styles, attributes } = self;
        if as_json {
            let document = json!({
                "script-src": scripts, "style-src": styles, "inline_attributes": attributes,
            });
            return format!("{document:#}");
        }
        let mut lines = Vec::new();
        for (directive, hashes) in [("script-src", scripts), ("style-src", styles)] {
            let sources = hashes.iter().map(|hash| format!(", \"{hash}\""));
            if !hashes.is_empty() {
                lines
                    .push(format!("csp.{directive} = [\"'self'\"{}]", sources.collect::<String>()));
            }
        }
        if lines.is_empty() {
            lines.push("# no inline script or style".to_owned());
        }
        if *attributes > 0 {
            lines.push(format!(
                "# {attributes} handlers or styles in attributes: no hash allows them"
            ));
        }
        lines.join("\n")
    }
}

impl Found {
    /// The hash of an element's text, once it is whole.
    fn take(&mut self, chunk: &str, last: bool) -> Option<String> {
        let open = self.open.as_mut()?;
        open.push_str(chunk);
        let text = self.open.take_if(|_| last).filter(|text| !text.is_empty())?;
        // As HTML is read: every end of line is a newline, and no character is 0.
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
        Some(format!("'sha256-{}'", BASE64.encode(digest(&SHA256, text.as_bytes()).as_ref())))
    }
}

/// Whether browsers run a script of this type; data in a page is not held against a policy.
fn is_code(kind: Option<&str>) -> bool {
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "" | "module" | "importmap" | "speculationrules")
        || kind.ends_with("javascript")
        || kind.ends_with("ecmascript")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn hashes(page: &str) -> Hashes {
        let mut hashes = Hashes::default();
        hashes.add(page.as_bytes()).unwrap();
        hashes
    }

    #[test]
    fn inline_scripts_and_styles_are_hashed_as_browsers_do() {
        let found = hashes(
            "<script>alert('Hello, world.');</script><script src=x>no</script>\
             <script type=\"application/ld+json\">{}</script><style>p{}\r\n</style>\
             <p onclick='x' style='y'><script></script>",
        );
        // The example of the specification, 8.2.
        let script = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='";
        assert_eq!(found.scripts.iter().collect::<Vec<_>>(), [script]);
        assert_eq!(found.styles, hashes("<style>p{}\n</style>").styles);
        assert_eq!((found.styles.len(), found.attributes), (1, 2));
        assert_eq!(hashes("<script>\0</script>"), hashes("<script>\u{fffd}</script>"));
        let deep = "<a>".repeat(1_000_000);
        assert!(Hashes::default().add(deep.as_bytes()).unwrap_err().contains("too deeply"));
        assert!(
            found
                .render(false)
                .starts_with(&format!("csp.script-src = [\"'self'\", \"{script}\"]"))
        );
    }

    #[test]
    fn a_folder_is_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for (name, page) in [("a.html", "<script>1</script>"), ("sub/b.HTM", "<style>2</style>")] {
            fs::write(folder.path().join(name), page).unwrap();
        }
        fs::write(folder.path().join("c.js"), "<script>3</script>").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/circle")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("link.html")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("socket.html")).unwrap();
        fs::write(folder.path().join("binary.html"), [0xff, 0x00, b'<', 0x80]).unwrap();
        let found = files(folder.path()).unwrap();
        assert_eq!((found.scripts.len(), found.styles.len()), (1, 1));
        assert!(files(&folder.path().join("none")).is_err());
        let large = File::create(folder.path().join("large.html")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert!(files(folder.path()).unwrap_err().ends_with("large.html is larger than 16 MiB"));
    }
}
