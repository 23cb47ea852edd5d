//! Scripts of other hosts: over TLS, and with the hash of what they are meant to be (Subresource
//! Integrity).

use super::Finding;
use super::visit::Response;

/// The worst script decides. Tags are found by a scan that knows no more of HTML than what a
/// `<script>` and its attributes look like, which errs towards a finding.
pub(super) fn judge(response: &Response) -> Finding {
    let test = "subresource-integrity";
    let is_html = response
        .headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if !is_html {
        return Finding::good(test, "sri-not-implemented-response-not-html", 0, "this is no page");
    }
    let page = String::from_utf8_lossy(&response.body);
    let scripts: Vec<_> =
        tags(&page).filter_map(|tag| Some((attribute(tag, "src")?, tag))).collect();
    let others = scripts.iter().filter(|(src, _)| src.starts_with("//") || src.contains("://"));
    let others: Vec<_> = others.collect();
    let say = |src: &str| {
        format!("{} is loaded without a hash", src.chars().take(80).collect::<String>())
    };
    let remedy = "not in gatehouse.toml: give the tag in the page an `integrity` attribute";
    if let Some((src, _)) = others.iter().find(|(src, _)| src.starts_with("http://")) {
        let result = "sri-not-implemented-and-external-scripts-not-loaded-securely";
        let found =
            format!("{} is loaded over plain HTTP", src.chars().take(80).collect::<String>());
        return Finding::bad(test, result, -50, found, remedy);
    }
    if let Some((src, _)) = others.iter().find(|(_, tag)| attribute(tag, "integrity").is_none()) {
        let result = "sri-not-implemented-but-external-scripts-loaded-securely";
        return Finding::bad(test, result, -5, say(src), remedy);
    }
    match (scripts.is_empty(), others.is_empty()) {
        (true, _) => {
            Finding::good(test, "sri-not-implemented-but-no-scripts-loaded", 0, "no scripts")
        }
        (false, true) => {
            let result = "sri-not-implemented-but-all-scripts-loaded-from-secure-origin";
            Finding::good(test, result, 0, "all scripts are the site's own")
        }
        (false, false) => {
            let result = "sri-implemented-and-external-scripts-loaded-securely";
            Finding::good(test, result, 5, "scripts of other hosts have hashes")
        }
    }
}

/// The inside of every `<script …>`.
fn tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').filter_map(|part| {
        let name = part.get(..6)?;
        let rest = part.get(6..)?;
        let ends = rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/');
        let inside = name.eq_ignore_ascii_case("script") && ends;
        inside.then(|| rest.split('>').next().unwrap_or_default())
    })
}

/// The value of an attribute, quoted or not.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let lower = tag.to_ascii_lowercase();
    let at = lower.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = lower.get(..*at).and_then(|s| s.chars().next_back());
        before.is_some_and(|c| c.is_ascii_whitespace() || c == '/')
    })?;
    let value = tag.get(at + name.len()..)?.trim_start().strip_prefix('=')?.trim_start();
    match value.chars().next()? {
        quote @ ('"' | '\'') => value.get(1..)?.split(quote).next(),
        _ => value.split(|c: char| c.is_ascii_whitespace()).next(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn score(page: &'static str) -> i32 {
        let headers = fields(&[("content-type", "text/html; charset=utf-8")]);
        let body = bytes::Bytes::from_static(page.as_bytes());
        judge(&Response { status: http::StatusCode::OK, headers, body }).score
    }

    #[test]
    fn scripts_of_others_need_a_hash() {
        assert_eq!(score("<p>none</p>"), 0);
        assert_eq!(score("<SCRIPT src=/own.js></SCRIPT><script>inline</script>"), 0);
        assert_eq!(score("<script async src='https://cdn.example/a.js'></script>"), -5);
        assert_eq!(score("<script src=//cdn.example/a.js></script>"), -5);
        assert_eq!(score("<script src=\"http://cdn.example/a.js\"></script>"), -50);
        let hashed = "<script src=\"https://cdn.example/a.js\" integrity=\"sha384-x\"></script>";
        assert_eq!(score(hashed), 5);
        assert_eq!(score("<scripture src=\"http://cdn.example/a.js\">"), 0);
    }
}
