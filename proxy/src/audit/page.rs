//! What an audit has to know of a page's HTML: its scripts, and the policies that it names itself.

use std::cell::RefCell;
use std::rc::Rc;

use http::header;
use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, MemorySettings, Settings, element};

use super::visit::Response;

/// What a page may take besides its own bytes, however deeply its elements lie in each other.
pub(crate) const MEMORY: usize = 64 << 20;

/// A `<script>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// `None` if it is inline.
    pub(super) src: Option<String>,
    /// Whether it has the hash of what is to be loaded (Subresource Integrity).
    pub(super) hashed: bool,
}

/// What a page says of itself.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) is_html: bool,
    pub(super) scripts: Vec<Script>,
    /// `<meta http-equiv="content-security-policy">`.
    pub(super) policies: Vec<String>,
    /// `<meta name="referrer">`.
    pub(super) referrer: Option<String>,
}

impl Page {
    /// Looks through a response.
    pub(super) fn of(response: &Response) -> Self {
        let content_type = response.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let known = ["text/html", "application/xhtml+xml"];
        if !known.iter().any(|html| media.eq_ignore_ascii_case(html)) {
            return Self::default();
        }
        Self::read(response.body.as_deref().unwrap_or_default())
    }

    pub(super) fn read(html: &[u8]) -> Self {
        let found = Rc::new(RefCell::new(Self { is_html: true, ..Self::default() }));
        let (at_script, at_meta) = (Rc::clone(&found), Rc::clone(&found));
        let settings = Settings::new()
            .with_strict(false)
            .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY))
            .append_element_content_handler(element!("script", move |script| {
                let src = script.get_attribute("src").map(|src| src.trim().to_owned());
                let hash = script.get_attribute("integrity").unwrap_or_default();
                let (src, hashed) = (src.filter(|src| !src.is_empty()), !hash.is_empty());
                at_script.borrow_mut().scripts.push(Script { src, hashed });
                Ok(())
            }))
            .append_element_content_handler(element!("meta", move |meta| {
                at_meta.borrow_mut().note(meta);
                Ok(())
            }));
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        // Of a page that is made to take more memory, what came before counts.
        _ = rewriter.write(html).and_then(|()| rewriter.end());
        found.take()
    }

    fn note(&mut self, meta: &Element<'_, '_>) {
        let names = |attribute, name: &str| {
            let value = meta.get_attribute(attribute).unwrap_or_default();
            value.trim().eq_ignore_ascii_case(name)
        };
        let Some(content) = meta.get_attribute("content").filter(|text| !text.is_empty()) else {
            return;
        };
        if names("http-equiv", "content-security-policy") {
            self.policies.push(content);
        } else if names("name", "referrer") {
            self.referrer = Some(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_browsers_read_it() {
        let page = Page::read(
            b"<!doctype html><!-- <script src=/no.js></script> -->\
              <META HTTP-EQUIV=Content-Security-Policy content=\"default-src 'self'\">\
              <meta name=referrer content=origin><meta charset=utf-8>\
              <textarea><script src=/no.js></script></textarea>\
              <script SRC=/own.js></script><script>'<script src=/no.js>'</script>\
              <script src=' //cdn.example/a.js' integrity=sha384-x></script><scripture src=x>",
        );
        let script = |src: Option<&str>, hashed| Script { src: src.map(str::to_owned), hashed };
        assert_eq!(
            page.scripts,
            [
                script(Some("/own.js"), false),
                script(None, false),
                script(Some("//cdn.example/a.js"), true),
            ]
        );
        assert_eq!(page.policies, ["default-src 'self'"]);
        assert_eq!(page.referrer.as_deref(), Some("origin"));
    }

    #[test]
    fn a_page_takes_so_much_memory() {
        let page = "<script src=a></script>".to_owned() + &"<a>".repeat(1_000_000);
        let mut scripts = 0;
        let counted = allocation_counter::measure(|| {
            scripts = Page::read(page.as_bytes()).scripts.len();
        });
        assert_eq!(scripts, 1);
        assert!(counted.bytes_max <= 128 << 20, "{counted:?}");
    }
}
