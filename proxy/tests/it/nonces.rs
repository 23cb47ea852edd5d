//! A nonce for each page, as clients and a real browser meet it.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use gatehouse::nonce::Rewriter;
use gatehouse::policy::headers::Nonce;
use http::Method;
use http_body_util::Full;

use crate::harness::{Browser, TestProxy, TestUpstream};

const POLICY: &str = "[headers.site]\npreset = \"helmet\"\n\
    csp.script-src = [\"'self'\", \"'nonce'\"]\ncsp.style-src = [\"'nonce'\"]";

const SITE: &str = "headers = \"site\"";

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
    ETag: \"a\"\r\nLast-Modified: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: 96\r\n\
    Cache-Control: public, max-age=60\r\n\r\n\
    <!doctype html><link rel=icon href=x><STYLE nonce=old>p{}</STYLE>\
    <script>a<b</script><p>&lt;</p>";

/// What a policy lets scripts have as a nonce.
fn nonce(csp: &str) -> String {
    let (_, rest) = csp.split_once("script-src 'self' 'nonce-").unwrap_or_else(|| panic!("{csp}"));
    rest.split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_gets_a_nonce_of_its_own() {
    let upstream = TestUpstream::raw(PAGE).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut seen = std::collections::HashSet::new();
    for client in [proxy.client().await, proxy.client_h2().await] {
        let mut client = client.unchecked();
        for _ in 0..3 {
            let reply = client.get("/").await;
            let nonce = nonce(reply.header("content-security-policy"));
            let expected = format!(
                "<!doctype html><link nonce=\"{nonce}\" rel=icon href=x>\
                 <STYLE nonce=\"{nonce}\" nonce=old>p{{}}</STYLE>\
                 <script nonce=\"{nonce}\">a<b</script><p>&lt;</p>"
            );
            assert_eq!(reply.body, expected);
            assert!(
                reply
                    .header("content-security-policy")
                    .contains(&format!("style-src 'nonce-{nonce}'"))
            );
            assert_eq!(reply.header("cache-control"), "private, max-age=60");
            for gone in ["etag", "last-modified"] {
                assert_eq!(reply.header(gone), "", "{gone}");
            }
            let length = reply.header("content-length");
            assert!(length.is_empty() || length == reply.body.len().to_string());
            assert!(seen.insert(nonce), "two responses share a nonce");
        }
        let head = client.request(Method::HEAD, "/").body(Full::default()).unwrap();
        let head = client.send(head).await;
        assert!(seen.insert(nonce(head.header("content-security-policy"))));
        assert_eq!((head.header("content-length"), head.header("etag")), ("", ""));
    }
    proxy.finish().await;
}

#[tokio::test]
async fn a_page_that_the_upstream_compressed_is_coded_again() {
    let page = format!("<!doctype html>{}<script>1</script>", "<p>text</p>".repeat(5_000));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(page.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let answer: &'static [u8] = Box::leak([head.as_bytes(), &body].concat().into_boxed_slice());
    let upstream = TestUpstream::raw(answer).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    assert_eq!(reply.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&*reply.body).read_to_string(&mut text).unwrap();
    let nonce = nonce(reply.header("content-security-policy"));
    assert_eq!(text, page.replace("<script>", &format!("<script nonce=\"{nonce}\">")));
    proxy.finish().await;
}

#[tokio::test]
async fn what_is_no_page_goes_out_without_a_nonce() {
    for answer in [
        "200 OK\r\nContent-Type: text/css\r\nETag: \"a\"\r\nContent-Length: 8\r\n\r\n<script>",
        "200 OK\r\nContent-Type: text/html\r\nContent-Encoding: x-own\r\nContent-Length: 8\r\n\r\n\
         <script>",
        "200 OK\r\nContent-Type: text/html\r\nCache-Control: no-transform\r\nContent-Length: 8\r\n\
         \r\n<script>",
        "206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-7/9\r\n\
         Content-Length: 8\r\n\r\n<script>",
        "304 Not Modified\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\r\n",
    ] {
        let raw: &'static str = Box::leak(format!("HTTP/1.1 {answer}").into_boxed_str());
        let upstream = TestUpstream::raw(raw.as_bytes()).await;
        let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
        let mut client = proxy.client().await.unchecked();
        let reply = client.get("/").await;
        let csp = reply.header("content-security-policy");
        assert!(csp.contains("script-src 'self';") && !csp.contains("nonce"), "{csp}");
        assert!(csp.contains("style-src 'none'"), "{csp}");
        assert_eq!(reply.header("etag").is_empty(), !answer.contains("ETag"));
        assert!(reply.body.is_empty() || reply.body == "<script>");
        proxy.finish().await;
    }
}

#[tokio::test]
async fn an_applications_own_nonce_survives() {
    let upstream = TestUpstream::raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\
          Content-Security-Policy: script-src 'nonce-dGhlaXJz'\r\nContent-Length: 46\r\n\r\n\
          <script nonce=dGhlaXJz>1</script><script>2</sc",
    )
    .await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    assert_eq!(reply.body, "<script nonce=dGhlaXJz>1</script><script>2</sc");
    let policies: Vec<_> = reply.headers.get_all("content-security-policy").iter().collect();
    assert_eq!(policies[0], "script-src 'nonce-dGhlaXJz'");
    assert_eq!(nonce(policies[1].to_str().unwrap()), "dGhlaXJz");
    proxy.finish().await;
}

#[tokio::test]
async fn a_tag_gets_its_nonce_however_long_it_is() {
    let long = format!("<link href=\"{}\"><script>1</script>", "x".repeat(200_000));
    let page = format!("<script>0</script><img src=\"{}\">{long}", "x".repeat(200_000));
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}");
    let upstream = TestUpstream::raw(Box::leak(answer.into_boxed_str()).as_bytes()).await;
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let mut client = proxy.client().await.unchecked();
    let reply = client.get("/").await;
    let given = format!(" nonce=\"{}\"", nonce(reply.header("content-security-policy")));
    let expected = ["<script", "<link"]
        .into_iter()
        .fold(page, |page, tag| page.replace(tag, &format!("{tag}{given}")));
    assert!(reply.body == expected);
    proxy.finish().await;
}

/// What pages are made of, and what confuses those who read them.
const PARTS: [&str; 68] = [
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
    "<svg>",
    "</svg>",
    "<g>",
    "<svg/>",
    "<svg><title>a</title>",
    "<svg><![CDATA[<link>]]>",
    "<![CDATA[",
    "]]>",
    "]",
    "<script",
    "</script",
    "script",
    "<font>",
    "<font color=x>",
    "<b>",
    "</b>",
    "<xmp>",
    "</xmp>",
    "<iframe>",
    "</iframe>",
    "<math>",
    "</math>",
    "<math><mi>a</mi>",
    "<?",
    "<plaintext>",
    "<script-x>",
    "<div a='>' b=\">\" c>",
    "</div>",
    "<a b=c/>",
    "<a/b=c>",
    "<table>",
    "<tr><td>",
    "</table>",
    "<template>",
    "</template>",
    "\u{c}",
    "é",
    "nonce=old",
];

/// Reads pages with and without nonces, and says what is not as it should be: an element without
/// its nonce, or a page that is another one but for the nonces.
const COMPARE: &str = "const read = (text) => new DOMParser().parseFromString(text, 'text/html');\
    const all = (root) => [...root.querySelectorAll('*')].flatMap((element) =>\
      element.localName === 'template' && element.content ? [element, ...all(element.content)]\
      : [element]);\
    const wrong = pages.filter(([before, after]) => {\
      const [one, two] = [read(before), read(after)];\
      const loads = (element) => ['script', 'style', 'link'].includes(element.localName);\
      const loading = all(two).filter(loads);\
      const given = loading.every((element) => element.getAttribute('nonce') === nonce);\
      for (const element of [...all(one), ...all(two)]) element.removeAttribute('nonce');\
      return !given || one.documentElement.outerHTML !== two.documentElement.outerHTML;\
    });\
    document.body.textContent = `${pages.length} pages, wrong: ${JSON.stringify(wrong)}.`;";

#[tokio::test]
async fn a_browser_reads_every_page_as_it_was_but_for_the_nonces() {
    let rewritten = |page: &str| {
        let mut rewriter = Rewriter::new(Nonce::fresh().unwrap());
        // Read first, so that it is known: every page has another nonce.
        rewriter.write(format!("<link>{page}").as_bytes());
        rewriter.end();
        let text = String::from_utf8(rewriter.take().unwrap().to_vec()).unwrap();
        let nonce = text.split('"').nth(1).unwrap();
        text["<link nonce=\"\">".len() + nonce.len()..].replace(nonce, "NONCE")
    };
    let mut random = fastrand::Rng::with_seed(6);
    let pages: Vec<_> = (0..5_000)
        .map(|_| {
            let parts = (0..random.usize(1..14)).map(|_| *random.choice(&PARTS).unwrap());
            let page = parts.collect::<String>();
            let after = rewritten(&page);
            [page, after]
        })
        .collect();
    let pages = serde_json::to_string(&pages).unwrap().replace('<', "\\u003c");
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n\
         <!doctype html><body><script>const nonce = 'NONCE', pages = {pages};{COMPARE}</script>"
    );
    let upstream = TestUpstream::raw(Box::leak(page.into_boxed_str()).as_bytes()).await;
    let proxy = TestProxy::start_with(&upstream, "[headers.site]\npreset = \"none\"", SITE);
    let shown = Browser::find().open(&proxy).await;
    let (_, wrong) = shown.rsplit_once("5000 pages, wrong: ").unwrap_or_else(|| panic!("{shown}"));
    assert!(wrong.starts_with("[]."), "{wrong}");
    proxy.finish().await;
}

/// What the page's own script may do, and what it injects may not.
const SCRIPTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n\
    <!doctype html><title>t</title><body><p id=own></p><p id=injected></p><p id=handler></p>\
    <div id=sink></div><script>\
    document.getElementById('own').textContent = 'ran';\
    var script = document.createElement('script');\
    script.textContent = \"document.getElementById('injected').textContent = 'ran'\";\
    document.body.appendChild(script);\
    document.getElementById('sink').innerHTML = \"<img src=x: onerror=\\\"\
    document.getElementById('handler').textContent = 'ran'\\\">\";\
    </script></body>";

#[tokio::test]
async fn a_browser_runs_the_pages_scripts_and_no_injected_one() {
    let upstream = TestUpstream::raw(SCRIPTED).await;
    let browser = Browser::find();
    // Without a policy, the browser runs all three: then it is the policy that stops two of them.
    let open = TestProxy::start_with(&upstream, "[headers.site]\npreset = \"none\"", SITE);
    let page = browser.open(&open).await;
    for id in ["own", "injected", "handler"] {
        assert!(page.contains(&format!("<p id=\"{id}\">ran</p>")), "{id} in {page}");
    }
    let proxy = TestProxy::start_with(&upstream, POLICY, SITE);
    let page = browser.open(&proxy).await;
    assert!(page.contains("<p id=\"own\">ran</p>"), "{page}");
    for id in ["injected", "handler"] {
        assert!(page.contains(&format!("<p id=\"{id}\"></p>")), "{id} in {page}");
    }
    proxy.finish().await;
}
