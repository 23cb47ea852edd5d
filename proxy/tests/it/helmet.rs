//! The preset `helmet` beside npm's helmet.

use crate::harness::{TestProxy, TestUpstream, node};

/// What any response of Gatehouse's may have beside the security headers.
const OTHERS: [&str; 5] = ["content-length", "content-type", "date", "x-app", "x-request-id"];

#[tokio::test]
async fn npms_helmet_and_ours_are_equal() {
    let theirs = node("helmet.mjs", String::new(), None).await;
    let theirs: Vec<(String, String)> = serde_json::from_value(theirs).unwrap();
    let upstream = TestUpstream::start().await;
    let section = "[headers.site]\npreset = \"helmet\"\nstrip = \"owasp\"";
    let proxy = TestProxy::start_with(&upstream, section, "headers = \"site\"");
    let reply = proxy.client().await.get("/").await;
    let fields = reply.headers.iter().filter(|(name, _)| !OTHERS.contains(&name.as_str()));
    let mut ours: Vec<_> = fields
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    ours.sort();
    let mut sorted = theirs;
    sorted.sort();
    for (theirs, ours) in sorted.iter().zip(&ours) {
        println!("{:35} {}\n{:35} {}", theirs.0, theirs.1, ours.0, ours.1);
    }
    assert_eq!(ours, sorted);
    assert_eq!(ours.len(), 12);
    proxy.finish().await;
}
