//! `gatehouse csp hash`: the hashes of inline scripts and styles (CSP Level 3, 2.3.1).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use lol_html::{HtmlRewriter, Settings, element, text};
use serde_json::json;

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

/// Every page in a file or below a folder, with its name.
pub(super) fn files(path: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let failed = |path: &Path, error| format!("cannot read {}: {error}", path.display());
    let mut pages = Vec::new();
    let mut waiting = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(|error| failed(&path, error))?;
            let mut inner: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            inner.sort();
            let inner = inner.into_iter().filter(|path| !path.is_symlink() && depth < DEPTH);
            waiting.extend(inner.rev().map(|path| (path, depth + 1)));
        } else if depth == 0 || is_html(&path) {
            let page = fs::read(&path).map_err(|error| failed(&path, error))?;
            pages.push((path.display().to_string(), page));
        }
    }
    match pages.is_empty() {
        true => Err(format!("no .html file is below {}", path.display())),
        false => Ok(pages),
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
    pub(super) fn of(pages: &[(String, Vec<u8>)]) -> Self {
        let found = Rc::new(RefCell::new(Found::default()));
        for (_, page) in pages {
            let (at_element, at_script, at_style) =
                (Rc::clone(&found), Rc::clone(&found), Rc::clone(&found));
            let settings = Settings::new()
                .with_strict(false)
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
            // Without a bound on memory, nothing can fail.
            _ = rewriter.write(page).and_then(|()| rewriter.end());
        }
        found.take().hashes
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
        // As HTML is read: every end of line is a newline.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
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
    use super::*;

    fn hashes(page: &str) -> Hashes {
        Hashes::of(&[("page".to_owned(), page.as_bytes().to_vec())])
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
        let found = Hashes::of(&files(folder.path()).unwrap());
        assert_eq!((found.scripts.len(), found.styles.len()), (1, 1));
        assert!(files(&folder.path().join("none")).is_err());
    }
}
