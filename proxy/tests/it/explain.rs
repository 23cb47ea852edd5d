//! `gatehouse explain` against what really happens.

use std::net::IpAddr;
use std::process::Command;

use bytes::Bytes;
use gatehouse::explain::{Explanation, Outcome, explain};
use http::Request;
use http_body_util::Full;

use crate::harness::{TestProxy, TestUpstream};

/// Something of everything that a request can meet.
fn configuration(upstream: &TestUpstream) -> String {
    format!(
        "redirect_http = false\ndeny = [\"198.51.100.0/24\"]\n\
         [[site.route]]\npath = \"/upload/{{name}}\"\n\
         [[site.route.rate_limit]]\nname = \"upload\"\nlimit = 900001\nwindow = \"1d\"\n\
         [[site.rate_limit]]\nname = \"site\"\nlimit = 900002\nwindow = \"1d\"\nkey = \"path\"\n\
         [[site]]\nhosts = [\"b.example\"]\nissuer = \"internal\"\n\
         upstream = \"http://{0}\"\nredirect_http = false\nambiguous_paths = true\n\
         allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
         [[site]]\nhosts = [\"c.example\"]\nissuer = \"internal\"\nupstream = \"http://{0}\"\n\
         [[rate_limit]]\nname = \"api\"\nlimit = 900003\nwindow = \"1d\"\n\
         match = {{ path = \"/api/{{*rest}}\", not_methods = [\"POST\"] }}\n\
         [[rate_limit]]\nname = \"posts\"\nlimit = 900004\nwindow = \"1d\"\n\
         match = {{ methods = [\"POST\", \"PUT\"], not_path = \"/\" }}\n\
         [[rate_limit]]\nname = \"b\"\nlimit = 900005\nwindow = \"1d\"\n\
         match = {{ hosts = \"b.example\" }}\nkey = [\"header:x-a\", \"cookie:c\"]\n\
         [[rate_limit]]\nname = \"headers\"\nlimit = 900006\nwindow = \"1d\"\n\
         match = {{ headers = [\"x-a: 1\", \"x-b\"], not_headers = \"x-c\" }}\n\
         [[rate_limit]]\nname = \"clients\"\nlimit = 900007\nwindow = \"1d\"\n\
         match = {{ clients = \"192.0.2.0/25\", not_clients = \"192.0.2.7\" }}\n\
         [[rate_limit]]\nname = \"shadow\"\nlimit = 900008\nwindow = \"1d\"\nmode = \"shadow\"\n\
         [[rate_limit]]\nname = \"at-once\"\nin_flight = 1000\n\
         match = {{ not_hosts = \"b.example\" }}\n\
         [rate_limits]\nexempt = [{{ path = \"/exempt\" }}, {{ headers = \"x-exempt\" }}]",
        upstream.address
    )
}

const METHODS: [&str; 6] = ["GET", "GET", "POST", "PUT", "OPTIONS", "TRACE"];
const HOSTS: [&str; 7] =
    ["localhost", "LOCALHOST:80", "b.example", "b.example", "c.example", "d.example", "127.0.0.1"];
const PATHS: [&str; 14] = [
    "/",
    "/api",
    "/api/",
    "/api/x?y=z",
    "/api/%2fx",
    "/API/x",
    "/a/../api/x",
    "//api//x",
    "/%61pi/x",
    "/upload/a",
    "/upload/a/b",
    "/exempt",
    "/%zz",
    "/../x",
];
const FIELDS: [(&str, &str); 6] =
    [("x-a", "1"), ("x-a", "2"), ("x-b", "1"), ("x-c", "1"), ("x-exempt", "1"), ("cookie", "c=d")];
const CLIENTS: [&str; 8] = [
    "192.0.2.1",
    "192.0.2.7",
    "192.0.2.200",
    "198.51.100.7",
    "203.0.113.9, 127.0.0.1",
    "2001:db8:1:2:3:4:5:6",
    "nobody",
    "",
];

/// A request with an absolute URL, as it is explained.
fn random(random: &mut fastrand::Rng) -> Request<()> {
    let host = random.choice(HOSTS).unwrap();
    let path = random.choice(PATHS).unwrap();
    let mut request = Request::builder()
        .method(random.choice(METHODS).unwrap())
        .uri(format!("http://{host}{path}"));
    for _ in 0..random.usize(..3) {
        let (name, value) = random.choice(FIELDS).unwrap();
        request = request.header(name, value);
    }
    let client = random.choice(CLIENTS).unwrap();
    if !client.is_empty() {
        request = request.header("x-forwarded-for", client);
    }
    request.body(()).unwrap()
}

/// The same as it is sent.
fn sent(request: &Request<()>) -> Request<Full<Bytes>> {
    let mut sent = Request::builder()
        .method(request.method())
        .uri(request.uri().path_and_query().unwrap().as_str())
        .header("host", request.uri().authority().unwrap().as_str());
    for (name, value) in request.headers() {
        sent = sent.header(name, value);
    }
    sent.body(Full::default()).unwrap()
}

fn status(explanation: &Explanation) -> u16 {
    match explanation.outcome {
        Outcome::Forwarded => 200,
        Outcome::Redirected => 308,
        Outcome::Rejected { status, .. } => status,
    }
}

#[tokio::test]
async fn what_is_explained_is_what_happens_to_ten_thousand_requests() {
    let upstream = TestUpstream::start().await;
    let trusting = "[client]\ntrusted_proxies = [\"127.0.0.1\"]";
    let proxy = TestProxy::start_with(&upstream, trusting, &configuration(&upstream));
    let config = proxy.config();
    let mut client = proxy.client_plain().await;
    let mut expected = std::collections::HashMap::new();
    let mut generator = fastrand::Rng::with_seed(7);
    let peer: IpAddr = "127.0.0.1".parse().unwrap();
    for _ in 0..10_000 {
        let request = random(&mut generator);
        let reply = client.send(sent(&request)).await;
        let explanation = explain(&config, request, peer);
        assert_eq!(reply.status.as_u16(), status(&explanation), "{explanation:#?}");
        let counting = explanation.rules.iter().filter(|rule| rule.counts && rule.enforces);
        let counting: Vec<_> = counting.map(|rule| format!("\"{}\"", rule.name)).collect();
        let policies = reply.header("ratelimit-policy").split(", ").filter(|item| !item.is_empty());
        let told: Vec<_> = policies.map(|item| item.split(';').next().unwrap()).collect();
        assert_eq!(told, counting, "{explanation:#?}");
        for (name, value) in &explanation.headers {
            assert_eq!(reply.header(name), value, "{explanation:#?}");
        }
        if reply.header("connection") == "close" {
            client = proxy.client_plain().await;
        }
        expected.insert(reply.header("x-request-id").to_owned(), explanation);
    }
    for record in proxy.finish().await {
        let explanation = &expected[record["request_id"].as_str().unwrap()];
        assert_eq!(record["client"], explanation.client.address.to_string());
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        assert_eq!(text(&record["route"]), explanation.route, "{explanation:#?}");
        assert_eq!(text(&record["host"]), explanation.host, "{explanation:#?}");
        let reason = match explanation.outcome {
            Outcome::Rejected { reason, .. } => Some(reason.to_owned()),
            Outcome::Forwarded | Outcome::Redirected => None,
        };
        assert_eq!(text(&record["reason"]), reason, "{explanation:#?}");
    }
}

/// Runs the program; its exit code, standard output and standard error.
fn gatehouse(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/valid");
    let output = command.args(arguments).current_dir(folder).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_request_is_explained_to_people_and_machines() {
    let login = "https://localhost/api/%61uth//login";
    let arguments =
        ["explain", "--config", "hardened.toml", "--ip", "2001:db8::7", "--header", "X-A: 1"];
    let (code, text, _) = gatehouse(&[&arguments[..], &["POST", login]].concat());
    assert_eq!(code, Some(0));
    for line in [
        "client     2001:db8::7: the peer; not a trusted proxy, so nothing else is believed",
        "           counted as 2001:db8::/64",
        "path       /api/auth/login",
        "upstream   http://127.0.0.1:3002",
        "outcome    forwarded, unless a limit is used up",
        "  login                5 per 1m         matches; counted by ip: 2001:db8::/64",
        "  register             3 per 1h         does not match by `path` or `not_path`",
        "  x-frame-options: DENY",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let (code, json, _) = gatehouse(&[&arguments[..], &["--json", "GET", "http://x/"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["outcome"]["reason"]), (Some(0), &"host_unknown".into()));
    for wrong in [&["explain"][..], &["explain", "GET"], &["explain", "GET", "/login"]] {
        assert_eq!(gatehouse(wrong).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_rule_of_another_site_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let site = |host: &str| {
        let more = "issuer = \"internal\"\nupstream = \"http://127.0.0.1:1\"\n";
        format!("[[site]]\nhosts = [\"{host}\"]\n{more}")
    };
    let rule = "[[site.rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\n";
    let config = folder.path().join("gatehouse.toml");
    std::fs::write(&config, site("a.example") + rule + &site("b.example")).unwrap();
    let config = config.to_str().unwrap();
    let (code, text, _) = gatehouse(&["explain", "--config", config, "GET", "https://b.example/"]);
    let sentence = "does not match because it stands in another site or route\n";
    assert!(code == Some(0) && text.contains(sentence), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_explained_by_its_id() {
    let upstream = TestUpstream::start().await;
    let rule = "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"";
    let proxy = TestProxy::start(&upstream, rule);
    let admin = proxy.admin().to_string();
    let explain = |id: &str, more: &[&str]| {
        gatehouse(&[&["explain", "--id", id, "--admin", &admin], more].concat())
    };
    for mut client in [proxy.client().await, proxy.client_h2().await] {
        client.get("/").await;
        let reply = client.get("/secret?token=1").await;
        assert_eq!(reply.status, 429);
        let problem = reply.problem();
        let id = problem["instance"].as_str().unwrap();
        assert_eq!(id, format!("urn:uuid:{}", reply.header("x-request-id")));
        let (code, text, _) = explain(reply.header("x-request-id"), &[]);
        assert_eq!(code, Some(0));
        let lines: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        for line in
            [["rule", "one"], ["cause", "limit"], ["path", "/secret"], ["client", "127.0.0.1"]]
        {
            assert!(lines.iter().any(|found| *found == line), "{line:?} in\n{text}");
        }
        let (_, json, _) = explain(&id.to_uppercase(), &["--json"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["method"], "GET");
    }
    let (code, _, error) = explain("urn:uuid:nothing", &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no rate limit of this instance"), "{error}");
    proxy.finish().await;
}
