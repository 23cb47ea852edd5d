//! `gatehouse audit` beside the MDN HTTP Observatory's own code, which both look at the same sites.

use serde_json::{Value, json};

use crate::audit::{audit, findings};
use crate::harness::{TestProxy, TestUpstream, node};

/// What sites answer to everything: fields and a page. Each line differs from the others in as many
/// tests as can be told apart.
const SITES: [(&str, &str); 16] = [
    ("", "<p>nothing"),
    (
        "Content-Security-Policy: default-src 'none'; form-action 'self'; \
         frame-ancestors 'none'\r\n\
         Strict-Transport-Security: max-age=15552000\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         Set-Cookie: a=1; Secure; SameSite=Lax\r\n",
        "<script src=/own.js></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'\r\nX-Frame-Options: DENY\r\n\
         Strict-Transport-Security: max-age=86400\r\nX-Content-Type-Options: sniff\r\n\
         Referrer-Policy: unsafe-url\r\nCross-Origin-Resource-Policy: same-site\r\n\
         Set-Cookie: a=1; Secure\r\n",
        "<script src=https://cdn.example/a.js></script>",
    ),
    (
        "Content-Security-Policy: script-src 'self'\r\nX-Frame-Options: ALLOW-FROM https://a\r\n\
         Strict-Transport-Security: includeSubDomains\r\nReferrer-Policy: whatever\r\n\
         Cross-Origin-Resource-Policy: cross-origin\r\nSet-Cookie: sessid=1; HttpOnly\r\n\
         Access-Control-Allow-Origin: *\r\n",
        "<script src=//cdn.example/a.js></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self' 'unsafe-inline'\r\nX-Frame-Options: ALLOW\r\n\
         Strict-Transport-Security: max-age=31536000\r\n\
         Referrer-Policy: no-referrer, strict-origin-when-cross-origin, future\r\n\
         Cross-Origin-Resource-Policy: nobody\r\nSet-Cookie: sessid=1; HttpOnly\r\n\
         Access-Control-Allow-Origin: https://a.example\r\n",
        "<script src=http://cdn.example/a.js></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; script-src 'nonce-x' 'unsafe-inline'\r\n\
         Set-Cookie: sessid=1; Secure\r\n",
        "<script src=https://cdn.example/a.js integrity=sha384-x></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'\r\n\
         Set-Cookie: csrftoken=1; Secure\r\n",
        "<script src=//cdn.example/a.js integrity=sha384-x></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; script-src 'self' 'unsafe-eval'\r\n\
         Set-Cookie: a=1; Secure; SameSite=maybe\r\n",
        "<script src=/own.js integrity=sha384-x></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; img-src http://a; \
         upgrade-insecure-requests\r\n\
         Set-Cookie: a=1; SameSite=None\r\n",
        "<script src=https://a.example/x></script><script src=//b.example integrity=x></script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; font-src http://a\r\n\
         Set-Cookie: a=1; Secure; SameSite=None\r\n",
        "<!-- <script src=http://cdn.example/a.js></script> -->",
    ),
    (
        "Content-Security-Policy: default-src 'self'; default-src 'none'\r\nSet-Cookie: a=1\r\n",
        "<script>'<script src=http://cdn.example/>'</script>",
    ),
    (
        "Content-Security-Policy: default-src 'self'; script-src 'strict-dynamic'\r\n\
         Set-Cookie: a=1\r\nStrict-Transport-Security: max-age=31536000\r\n",
        "",
    ),
    (
        "Content-Security-Policy: script-src 'nonce-x' 'strict-dynamic' https: 'unsafe-inline'; \
         object-src 'none'; style-src 'self'; report-uri /a; report-uri /b\r\n\
         Set-Cookie: heroku-session-affinity=1\r\n",
        "",
    ),
    (
        "Content-Security-Policy: default-src 'self'; script-src 'self' data:\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: a=1; Secure; SameSite=Strict\r\n",
        "",
    ),
    (
        "Content-Security-Policy-Report-Only: default-src 'none'\r\n\
         Referrer-Policy: no-referrer\r\n",
        "<meta name=referrer content=origin>",
    ),
    ("", "<meta http-equiv=content-security-policy content=\"default-src 'self'\">"),
];

/// Where a newer Observatory than npm has says otherwise: a result, and what ours scores.
const RESCORED: (&str, i64) = ("x-frame-options-sameorigin-or-deny", 5);

async fn serve(fields: &str, page: &str, policy: &str) -> TestProxy {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{fields}Content-Length: {}\
         \r\n\r\n{page}",
        page.len()
    );
    let upstream = TestUpstream::raw(Box::leak(answer.into_boxed_str()).as_bytes()).await;
    TestProxy::start_with(&upstream, policy, "headers = \"site\"")
}

/// What the Observatory says of them; the development CAs are trusted.
async fn scan(proxies: &[TestProxy], trusted: bool) -> Value {
    let ports =
        proxies.iter().map(|p| json!({ "http": p.http().port(), "https": p.https().port() }));
    let folder = tempfile::tempdir().unwrap();
    let roots = proxies.iter().map(|proxy| std::fs::read_to_string(proxy.root()).unwrap());
    let bundle = folder.path().join("roots.pem");
    std::fs::write(&bundle, roots.collect::<String>()).unwrap();
    let ports = Value::from(ports.collect::<Vec<_>>()).to_string();
    node("observatory.mjs", ports, trusted.then_some(bundle)).await
}

/// Holds a report of ours against one of theirs, test by test.
async fn hold(proxy: &TestProxy, theirs: &Value, trusted: bool, what: &str) {
    let root = proxy.root().display().to_string();
    let arguments = if trusted { &["--json", "--ca", &root][..] } else { &["--json"] };
    let output = audit(proxy, arguments).await;
    let (_, find) = findings(&output);
    let tests = theirs["tests"].as_object().unwrap();
    assert_eq!(tests.len(), 10, "{theirs:#}");
    for (name, judged) in tests {
        let ours = find(name);
        let result = judged["result"].as_str().unwrap();
        assert_eq!(ours["result"], result, "{name} of {what}");
        match RESCORED {
            (rescored, score) if rescored == result => assert_eq!(ours["score"], score, "{what}"),
            _ => assert_eq!(ours["score"], judged["score"], "{name} of {what}"),
        }
    }
}

#[tokio::test]
async fn the_observatorys_own_code_scores_the_same() {
    let mut proxies = Vec::new();
    for (fields, page) in SITES {
        proxies
            .push(serve(fields, page, "[headers.site]\npreset = \"none\"\ncookies = false").await);
    }
    let theirs = scan(&proxies, true).await;
    for ((proxy, theirs), site) in proxies.iter().zip(theirs.as_array().unwrap()).zip(SITES) {
        hold(proxy, theirs, true, &format!("{site:?}")).await;
    }
    let [first, second, ..] = &proxies[..] else { panic!("there are sites") };
    let theirs = scan(std::slice::from_ref(second), false).await;
    hold(second, &theirs[0], false, "a site whose certificate is not trusted").await;
    assert_ne!(first.https(), second.https());
}

#[tokio::test]
async fn by_the_observatorys_own_code_the_presets_are_a_plus() {
    let mut proxies = Vec::new();
    let presets = ["helmet", "owasp", "api"];
    for preset in presets {
        let policy = format!("[headers.site]\npreset = \"{preset}\"\ncookies = {{}}");
        let fields = "Set-Cookie: sessid=1\r\nX-Powered-By: x\r\n";
        proxies.push(serve(fields, "<p>page", &policy).await);
    }
    let theirs = scan(&proxies, true).await;
    for ((proxy, theirs), preset) in proxies.iter().zip(theirs.as_array().unwrap()).zip(presets) {
        assert_eq!(theirs["grade"], "A+", "{preset}: {theirs:#}");
        hold(proxy, theirs, true, preset).await;
    }
}
