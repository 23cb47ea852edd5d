//! Records in the formats that other programs read.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

#[tokio::test]
async fn a_combined_log_is_read_by_the_tools_of_apache_and_nginx() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start_edited(&upstream, "[log]\n", "[log]\nformat = \"combined\"\n");
    let mut client = proxy.client().await;
    let request = client
        .request(Method::GET, "/bytes/5?token=secret&page=2")
        .header("referer", "https://a.example/x?token=secret")
        .header("user-agent", "a \"b\"");
    client.send(request.body(Full::default()).unwrap()).await;
    let log = || std::fs::read_to_string(proxy.log()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !log().ends_with('\n') {
        assert!(Instant::now() < deadline, "no record");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = log();
    let (client, rest) = log.split_once(" - - [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "127.0.0.1");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("00/") && shape.ends_with("/0000:00:00:00 +0000"), "{time}");
    let expected = "\"GET /bytes/5?token&page HTTP/1.1\" 200 5 \"https://a.example/x\" \
                    \"a \\x22b\\x22\"\n";
    assert_eq!(rest, expected);
}
