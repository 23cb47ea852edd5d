//! Heads before and after.

use http::Request;

use super::*;

fn forwarded(request: http::request::Builder) -> Parts {
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    let value = HeaderValue::from_static;
    let told = Told {
        host: &value("localhost:8443"),
        forwarded: &value("for=192.0.2.7"),
        forwarded_for: &value("192.0.2.7"),
        secure: true,
        switches: false,
        request_id: &value("id"),
        certificate: None,
        dropped: &Counter::default(),
    };
    super::request(&mut head, &told);
    head
}

#[test]
fn a_head_is_rewritten() {
    let head = forwarded(
        Request::get("https://localhost:8443/a?b=c")
            .version(Version::HTTP_2)
            .header("te", "trailers")
            .header("x-forwarded-for", "203.0.113.9")
            .header("accept", "*/*"),
    );
    assert_eq!(head.uri, "/a?b=c");
    assert_eq!(head.version, Version::HTTP_11);
    let mut fields: Vec<_> =
        head.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "accept: */*",
            "connection: te",
            "forwarded: for=192.0.2.7",
            "host: localhost:8443",
            "te: trailers",
            "via: 2.0 gatehouse",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: localhost:8443",
            "x-forwarded-proto: https",
            "x-request-id: id",
        ]
    );
}

#[test]
fn a_target_begins_with_its_path() {
    for (target, expected) in [
        ("http://localhost?b=c", "/?b=c"),
        ("http://localhost", "/"),
        ("/?b=c", "/?b=c"),
        ("*", "*"),
    ] {
        let head = forwarded(Request::options(target));
        assert_eq!(head.uri.path_and_query().unwrap().as_str(), expected, "{target}");
    }
}

#[test]
fn every_spelling_of_a_claim_is_dropped() {
    for name in [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X.Forwarded.Proto",
        "X-Forwarded",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "Remote.User",
        "X-Request-Id",
        "True-Client-IP",
        "Client-Cert",
        "Client_Cert",
        "Client-Cert-Chain",
        "X-Client-Subject",
    ] {
        let head = forwarded(Request::get("/").header(name, "evil"));
        assert!(!head.headers.values().any(|value| value == "evil"), "{name}");
    }
    for name in ["x-requested-with", "x-forward", "from", "range", "x-csrf-token"] {
        let head = forwarded(Request::get("/").header(name, "kept"));
        assert_eq!(head.headers.get(name).unwrap(), "kept", "{name}");
    }
}

#[test]
fn connection_removes_what_it_names_but_nothing_that_matters() {
    let head = forwarded(
        Request::get("/")
            .header("connection", "close, X-Hop, x-forwarded-for, Authorization")
            .header("x-hop", "1")
            .header("authorization", "Bearer x"),
    );
    assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("x-hop"));
    assert_eq!(head.headers.get("x-forwarded-for").unwrap(), "192.0.2.7");
    assert!(head.headers.contains_key("authorization"));
}
