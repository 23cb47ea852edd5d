//! What the rewriter makes of pages, and what that costs.

use super::*;

/// Rewrites a page in pieces, handing on what comes out.
fn rewrite(page: &[u8]) -> usize {
    let mut rewriter = Rewriter::new(Nonce::fresh().unwrap());
    let mut length = 0;
    for piece in page.chunks(Rewriter::PIECE) {
        rewriter.write(piece).unwrap();
        length += rewriter.take().map_or(0, |bytes| bytes.len());
    }
    rewriter.end().unwrap();
    length + rewriter.take().map_or(0, |bytes| bytes.len())
}

/// What becomes of a page that arrives so many bytes at a time, with `NONCE` for its nonce.
fn rewritten(page: &str, piece: usize) -> String {
    let nonce = Nonce::fresh().unwrap();
    let value = nonce.as_str().to_owned();
    let mut rewriter = Rewriter::new(nonce);
    let mut out = Vec::new();
    for piece in page.as_bytes().chunks(piece) {
        rewriter.write(piece).unwrap();
        out.extend(rewriter.take().unwrap_or_default());
    }
    rewriter.end().unwrap();
    out.extend(rewriter.take().unwrap_or_default());
    String::from_utf8(out).unwrap().replace(&value, "NONCE")
}

#[test]
fn what_is_a_script_to_a_browser_gets_a_nonce_however_it_is_cut() {
    for (page, expected) in [
        ("<SCRIPT/src=/a.js></SCRIPT>", "<SCRIPT src=/a.js nonce=\"NONCE\"></SCRIPT>"),
        ("<script nonce=old>1</script>", "<script nonce=\"NONCE\">1</script>"),
        ("<script nonce>1</script>", "<script nonce=\"NONCE\">1</script>"),
        ("<script NONCE='' nonce=b>1</script>", "<script NONCE=\"NONCE\" nonce=b>1</script>"),
        (
            "<svg><script>1</script><style>a</style></svg>",
            "<svg><script nonce=\"NONCE\">1</script><style nonce=\"NONCE\">a</style></svg>",
        ),
        (
            "<template><script>1</script></template>",
            "<template><script nonce=\"NONCE\">1</script></template>",
        ),
        (
            "<link rel=preload href=x as=script>",
            "<link rel=preload href=x as=script nonce=\"NONCE\">",
        ),
        ("<link href=x />", "<link href=x nonce=\"NONCE\" />"),
        (
            "<script>'<!--<script>'</script>1</script>",
            "<script nonce=\"NONCE\">'<!--<script>'</script>1</script>",
        ),
        ("é<script>ü</script>", "é<script nonce=\"NONCE\">ü</script>"),
        (
            "<meta HTTP-EQUIV=content-security-policy content=\"script-src 'nonce-old' *\">\
             <script nonce=old>1</script>",
            "<meta HTTP-EQUIV=content-security-policy content=\"script-src 'nonce-NONCE' *\">\
             <script nonce=\"NONCE\">1</script>",
        ),
    ] {
        for piece in [1, 2, 3, 7, page.len()] {
            assert_eq!(rewritten(page, piece), expected, "{page} by {piece}");
        }
    }
}

#[test]
fn what_is_none_stays_as_it_is() {
    for page in [
        "<!-- <script>1</script> --><p>",
        "<textarea><script>1</textarea>",
        "<title><script></title>",
        "<style-x><script-x></script-x><scripts>",
        "<p title=\"<script>\">",
        "<![CDATA[<script>",
        "<svg><![CDATA[<script>1</script>]]></svg>",
        "<iframe srcdoc=\"<script>1</script>\"></iframe>",
        "<xmp><script>1</xmp>",
        // Text, to whoever runs scripts.
        "<noscript><style>a</style></noscript>",
        "<base href=/x><meta charset=utf-8>",
        "<meta http-equiv=content-security-policy content=\"script-src 'self'\">",
        "<meta http-equiv=refresh content=\"1; 'nonce-x'\">",
        "text <",
        "text <script",
        "text <script src='",
        "<plaintext><script>1</script>",
        "\0<\0>",
    ] {
        for piece in [1, 2, 3, 7, page.len()] {
            assert_eq!(rewritten(page, piece), page, "by {piece}");
        }
    }
}

#[test]
fn a_page_costs_no_more_than_64_kib() {
    let pages = [
        ("text", "<p>text</p>".repeat(50_000), 0),
        ("many scripts", "<script src=/a.js></script>".repeat(20_000), 20_000),
        ("only scripts", "<script>".repeat(60_000), 1),
        ("open elements", "<div>".repeat(100_000), 0),
        ("a long tag", format!("<script src=\"{}\">", "x".repeat(500_000)), 0),
        ("a tag that never ends", format!("<link {}", "x=y ".repeat(200_000)), 0),
        ("a long comment", format!("<!-- {} -->", "<script>".repeat(50_000)), 0),
        ("tags as they may be", "<link href=\"".to_owned() + &"x".repeat(17_000) + "\">", 1),
    ];
    for (what, page, nonces) in pages {
        let mut length = 0;
        let counted = allocation_counter::measure(|| length = rewrite(page.as_bytes()));
        assert!(counted.bytes_max <= 64 << 10, "{what}: {counted:?}");
        let nonce = " nonce=\"\"".len() + 22;
        assert_eq!(length, page.len() + nonces * nonce, "{what}");
    }
}
