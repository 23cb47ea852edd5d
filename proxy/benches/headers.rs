//! What security headers cost: nanoseconds and allocations of a response that is dressed, and
//! megabytes of HTML that get their nonces in a second.
//!
//! `cargo bench -p gatehouse --bench headers`. Budgets: no allocation where the policy is static,
//! 300 MB/s of rewriting on one core, on every page but the last, which becomes six times as long.
//! Beside each rate stands that of `lol_html` with a selector that matches nothing, in the same
//! run: what it costs to read for selectors.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use gatehouse::nonce::Rewriter;
use gatehouse::policy::headers::{HeaderPolicy, Nonce, Preset};
use http::{HeaderMap, HeaderName, HeaderValue};
use lol_html::{HtmlRewriter, Settings, element};

/// As `gatehouse` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each thing is measured.
const LONG: Duration = Duration::from_secs(2);

fn main() {
    for (name, preset) in
        [("helmet", Preset::Helmet), ("owasp", Preset::Owasp), ("api", Preset::Api)]
    {
        dress(name, preset);
    }
    for (what, page) in pages() {
        rewrite(what, &page);
    }
}

/// A response of an application, with room for what comes on top: its map is the one that hyper
/// has used for the request before.
fn dress(name: &str, preset: Preset) {
    let policy = HeaderPolicy::preset(preset);
    let mut fields = HeaderMap::with_capacity(32);
    let own = [("content-type", "application/json"), ("content-length", "2"), ("etag", "\"a\"")];
    let own =
        own.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let (mut rounds, started) = (0_u32, Instant::now());
    while started.elapsed() < LONG {
        for _ in 0..1_000 {
            fields.clear();
            for (name, value) in &own {
                fields.insert(name, value.clone());
            }
            policy.apply(black_box(&mut fields), true);
            rounds += 1;
        }
    }
    let nanoseconds = started.elapsed().as_nanos() / u128::from(rounds);
    println!("a response dressed by {name:10} {nanoseconds:>10} ns");
}

/// Pages of a megabyte or so: what they are made of decides how fast they are.
fn pages() -> [(&'static str, String); 6] {
    let article = "<div class=\"row\"><p>Lorem ipsum dolor sit amet, consectetur adipiscing \
                   elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. \
                   <a href=\"/page/7?sort=name\">Ut enim</a> ad minim veniam, quis nostrud \
                   exercitation ullamco laboris.</p></div>\n";
    let head = "<!doctype html><html><head><link rel=stylesheet href=/a.css><script src=/a.js>\
                </script><style>p { color: red }</style></head><body>";
    let table = "<tr><td class=a>1</td><td>2</td><td><b>3</b></td><td>4</td></tr>\n";
    let script = "<script>if (a < b) { document.title = \"x\"; }</script><p>text</p>\n";
    let card = "<section class=\"card wide\" id=\"c7\" data-kind='chart'><h2>Requests</h2>\
                <svg viewBox=\"0 0 24 24\"><title>Up</title><path d=\"M4 12l6-6 6 6z\"/></svg>\
                <p>1,234 <small>per second</small></p><canvas width=300 height=80></canvas>\
                <script>chart(\"c7\", [1, 5, 2, 8, 3, 9], { unit: \"req/s\", max: 10 });</script>\
                <!-- end of card --></section>\n";
    let code = "  const value = items.filter((item) => item < 7 && item.name !== \"</p>\");\n";
    [
        ("an article", format!("{head}{}", article.repeat(4_000))),
        ("a table", format!("{head}{}", table.repeat(16_000))),
        ("one long script", format!("{head}<script>{}</script>", code.repeat(14_000))),
        ("a script every 64 bytes", format!("{head}{}", script.repeat(16_000))),
        ("a dashboard", format!("{head}{}", card.repeat(3_000))),
        ("nothing but links", "<link>".repeat(160_000)),
    ]
}

fn rewrite(what: &str, page: &str) {
    let ours = rate(page, |page| {
        let mut rewriter = Rewriter::new(Nonce::fresh().unwrap());
        for piece in page.chunks(Rewriter::PIECE) {
            rewriter.write(piece);
            if rewriter.len() >= Rewriter::FULL {
                black_box(rewriter.take());
            }
        }
        rewriter.end();
        black_box(rewriter.take());
    });
    let bare = rate(page, |page| {
        let handler = element!("nothing", |_| Ok(()));
        let settings = Settings::new().with_strict(false).append_element_content_handler(handler);
        let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| _ = black_box(chunk.len()));
        page.chunks(8 << 10).for_each(|piece| rewriter.write(piece).unwrap());
        rewriter.end().unwrap();
    });
    let times = ours / bare;
    println!("nonces in {what:24} {ours:>8.0} MB/s, bare lol_html {bare:>5.0}, {times:.1} times");
}

/// Megabytes of a page in a second.
fn rate(page: &str, rewrite: impl Fn(&[u8])) -> f64 {
    let (mut bytes, started) = (0, Instant::now());
    while started.elapsed() < LONG {
        rewrite(black_box(page.as_bytes()));
        bytes += page.len();
    }
    bytes as f64 / started.elapsed().as_secs_f64() / 1e6
}
