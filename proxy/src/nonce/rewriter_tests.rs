//! What the rewriter makes of pages, and what that costs.

use std::cell::RefCell;
use std::rc::Rc;

use lol_html::{HtmlRewriter, Settings, element};
use proptest::prelude::*;

use super::*;

/// Rewrites a page in pieces, handing on what comes out.
fn rewrite(page: &[u8]) -> usize {
    let mut rewriter = Rewriter::new(Nonce::fresh().unwrap());
    let mut length = 0;
    for piece in page.chunks(Rewriter::PIECE) {
        rewriter.write(piece);
        if rewriter.len() >= Rewriter::FULL {
            length += rewriter.take().map_or(0, |bytes| bytes.len());
        }
    }
    rewriter.end();
    length + rewriter.take().map_or(0, |bytes| bytes.len())
}

/// What becomes of a page that arrives so many bytes at a time, with `NONCE` for its nonce.
fn rewritten(page: &str, piece: usize) -> String {
    let nonce = Nonce::fresh().unwrap();
    let value = nonce.as_str().to_owned();
    let mut rewriter = Rewriter::new(nonce);
    let mut out = Vec::new();
    for piece in page.as_bytes().chunks(piece) {
        rewriter.write(piece);
        out.extend(rewriter.take().unwrap_or_default());
    }
    rewriter.end();
    out.extend(rewriter.take().unwrap_or_default());
    String::from_utf8(out).unwrap().replace(&value, "NONCE")
}

const GIVEN: &str = " nonce=\"NONCE\"";

/// Pages with a `@` where a nonce comes.
const GIVEN_A_NONCE: &[&str] = &[
    "<SCRIPT@/src=/a.js></SCRIPT>",
    "<script@ nonce=old>1</script>",
    "<script@ NONCE='' nonce=b>1</script>",
    "<script@\n\x0csrc=a>",
    "<svg><script@>1<style@>a</style></script></svg>",
    "<svg><script@>'</script>'</svg><script@>'<link>'</script>",
    "<svg/><script@>'<link>'</script>",
    "<svg><svg></svg><script@><link@></script></svg><title><link></title>",
    "<svg><title><b></b></title><script@><link@></script></svg>",
    "<svg><p><script@>'<link>'</script>",
    "<svg><font x><style@><link@></style><font color=x><style@><link></style>",
    "<math><script@><link@></script><mi><script@><link></script></mi></math>",
    "<math><annotation-xml encoding='Text/HTML'><style@><link></style></annotation-xml>",
    "<math><annotation-xml x='encoding=text/html'><style@><link@></style></annotation-xml>",
    "<svg><![CDATA[<link>]] ><link></svg>]]]><link@></svg><link@><![CDATA[><link@>]]>",
    "<template><script@>1</script></template>",
    "<link@ rel=preload href=x as=script>",
    "<link@/>",
    "<a b='c'd=\"><link>\"e=f/><link@>",
    "<a =\"><link@ x=\">",
    "<script@>'<!--<script>'</script>'--></script><link@>",
    "<script@>'<!--<script>'</script>'</script><link@>'--></script><link@>",
    "<script@><!-->'<script>'</script><link@>",
    "<script@></scripty></script ><link@>",
    "<!--><link@><!---><link@><!-- a --!><link@><!-- a --- b --><link@>",
    "<!doctype html '><link@><?x ><link@></ ><link@></><link@>",
    "é<script@>ü</script>",
    // Never a tag, in the end; who knows.
    "text <script@ src='",
    "<base href=/x><meta charset=utf-8><link@>",
    "<meta http-equiv=content-security-policy content=\"script-src 'self'\"><link@>",
    "<meta http-equiv=refresh content=\"1; 'nonce-x'\"><link@>",
];

#[test]
fn what_is_a_script_to_a_browser_gets_a_nonce_however_it_is_cut() {
    for page in GIVEN_A_NONCE {
        let expected = page.replace('@', GIVEN);
        let page = page.replace('@', "");
        for piece in [1, 2, 3, 7, page.len()] {
            assert_eq!(rewritten(&page, piece), expected, "{page} by {piece}");
        }
    }
}

#[test]
fn what_is_none_stays_as_it_is() {
    for page in [
        "<!-- <script>1</script> --><p>",
        "<textarea><script>1</textarea>",
        "<title><script></title>",
        "<style-x><script-x></script-x><scripts></script>",
        "<p title=\"<script>\">",
        "<![CDATA[<script>",
        "<svg><![CDATA[<script>1</script>]]></svg>",
        "<iframe srcdoc=\"<script>1</script>\"></iframe>",
        "<xmp><script>1</xmp>",
        // Text, to whoever runs scripts.
        "<noscript><style>a</style></noscript>",
        "text <",
        "text <script",
        "< script><\u{e9}script></\u{e9}script>",
        "<meta http-equiv=content-security-policy content=\"script-src 'nonce-x'",
        "<plaintext><script>1</script></plaintext><script>",
        "\0<\0>",
    ] {
        for piece in [1, 2, 3, 7, page.len()] {
            assert_eq!(rewritten(page, piece), page, "by {piece}");
        }
    }
}

/// What follows a policy of the application's own, with a `@` where a nonce comes.
const UNDER_A_POLICY: &[(&str, &str)] = &[
    (
        "<meta HTTP-EQUIV=content-security-policy content=\"script-src 'nonce-old' *\">",
        "<script@ nonce=old>1</script><script>2</script><script nonce=other>3</script>\
         <link@ a NONCE='old'/><style nonce=OLD></style><script data-nonce=old></script>",
    ),
    (
        "<meta content='x' content=\"'nonce-old'\" http-equiv=Content-Security-Policy>",
        "<script@>1</script>",
    ),
    (
        "<meta content=\"script-src 'Nonce-a' 'nonce-b';style-src\t'nonce-c'\" \
         http-equiv=' Content-Security-Policy '/>",
        "<script@ nonce=a></script><script@ nonce=b></script><style@ nonce=c></style>\
         <meta http-equiv=content-security-policy content=\"script-src 'nonce-b' 'nonce-d'\">\
         <script nonce=a></script><script@ nonce=b></script><script nonce=d></script>",
    ),
];

#[test]
fn a_policy_in_the_page_trusts_whom_it_trusted() {
    for (policy, after) in UNDER_A_POLICY {
        let renewed = |text: &str| {
            let words = text.split_inclusive([' ', '\t', ';', '"']);
            let renewed = words.map(|word| match word.trim_start_matches('"').to_lowercase() {
                nonce if nonce.starts_with("'nonce-") && text.contains("olicy") => {
                    let (_, end) = word.rsplit_once('\'').unwrap();
                    let quote = if word.starts_with('"') { "\"" } else { "" };
                    format!("{quote}'nonce-NONCE'{end}")
                }
                _ => word.to_owned(),
            });
            renewed.collect::<String>()
        };
        let changes = !policy.contains("content='x'");
        let before = if changes { renewed(policy) } else { (*policy).to_owned() };
        let expected = before + &renewed(after).replace('@', GIVEN);
        let page = (*policy).to_owned() + &after.replace('@', "");
        for piece in [1, 2, 3, 7, page.len()] {
            assert_eq!(rewritten(&page, piece), expected, "{page} by {piece}");
        }
    }
}

#[test]
fn a_page_costs_no_more_than_64_kib() {
    let policy = "<meta http-equiv=content-security-policy content=\"'nonce-a' ";
    let pages = [
        ("text", "<p>text</p>".repeat(50_000), 0),
        ("many scripts", "<script src=/a.js></script>".repeat(20_000), 20_000),
        ("nothing but links", "<link>".repeat(60_000), 60_000),
        ("only scripts", "<script>".repeat(60_000), 1),
        ("open elements", "<div>".repeat(100_000), 0),
        ("open drawings", "<svg>".repeat(100_000), 0),
        ("a long tag", format!("<script src=\"{}\">", "x".repeat(500_000)), 1),
        ("a tag that never ends", format!("<link {}", "x=y ".repeat(200_000)), 1),
        ("a long comment", format!("<!-- {} -->", "<script>".repeat(50_000)), 0),
        ("a long meta", format!("{policy}{}\"><link>", "x ".repeat(50_000)), 1),
        ("many metas", "<meta a><link>".repeat(50_000), 50_000),
        ("a long tag in a drawing", format!("<svg><font {}>", "x=y ".repeat(200_000)), 0),
        ("what no policy trusts", format!("{policy}\">{}", "<link nonce=b>".repeat(50_000)), 0),
    ];
    for (what, page, nonces) in pages {
        let mut length = 0;
        let counted = allocation_counter::measure(|| length = rewrite(page.as_bytes()));
        assert!(counted.bytes_max <= 64 << 10, "{what}: {counted:?}");
        let nonce = " nonce=\"\"".len() + 22;
        let renewed = if what == "what no policy trusts" { 22 - "a".len() } else { 0 };
        assert_eq!(length, page.len() + nonces * nonce + renewed, "{what}");
    }
}

/// Where `lol_html` finds the tags that are to get a nonce.
fn found_by_another_parser(page: &str) -> Vec<usize> {
    let found = Rc::new(RefCell::new(Vec::new()));
    let places = Rc::clone(&found);
    let handler = element!("script, style, link", move |element| {
        places.borrow_mut().push(element.source_location().bytes().start);
        Ok(())
    });
    let settings = Settings::new().with_strict(false).append_element_content_handler(handler);
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    rewriter.write(page.as_bytes()).unwrap();
    rewriter.end().unwrap();
    found.take()
}

/// Where we do.
fn found(page: &str) -> Vec<usize> {
    let rewritten = rewritten(page, page.len());
    let pieces: Vec<_> = rewritten.split(GIVEN).collect();
    assert_eq!(pieces.concat(), page);
    let mut length = 0;
    let mut places = Vec::new();
    for piece in &pieces[..pieces.len() - 1] {
        length += piece.len();
        places.push(page[..length].rfind('<').unwrap());
    }
    places
}

/// What pages are made of, and what confuses those who read them; without SVG and MathML, which a
/// browser judges better (`a_browser_reads_every_page_as_it_was_but_for_the_nonces`).
const PARTS: [&str; 54] = [
    "<script>",
    "</script>",
    "<SCRIPT a=b>",
    "<style>",
    "</style>",
    "<link>",
    "<link/>",
    "<!--",
    "-->",
    "--!>",
    "-",
    "<!",
    "!",
    ">",
    "<",
    "</",
    "/",
    "a",
    " ",
    "\n",
    "'",
    "\"",
    "=",
    "<p>",
    "</p>",
    "<p ",
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<![CDATA[",
    "]]>",
    "]",
    "<script",
    "</script",
    "script",
    "<font>",
    "<font color=x>",
    "<b>",
    "<xmp>",
    "</xmp>",
    "<iframe>",
    "</iframe>",
    "<noscript>",
    "</noscript>",
    "<?",
    "<plaintextx>",
    "<script-x>",
    "<div a='>' b=\">\" c>",
    "<a b=c/>",
    "<a/b=c>",
    "\0",
    "\u{c}",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn another_parser_finds_the_same_tags(
        parts in proptest::collection::vec(proptest::sample::select(PARTS.to_vec()), 1..16),
        piece in 1..9_usize,
    ) {
        // A tag that has no end is none to it.
        let page = parts.concat() + "\"'>";
        prop_assert_eq!(found(&page), found_by_another_parser(&page), "{}", page);
        prop_assert_eq!(rewritten(&page, piece), rewritten(&page, page.len()));
    }
}
