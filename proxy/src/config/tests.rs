//! The fixtures of `proxy/tests/config`, the shipped configuration, and properties of the reader.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::{
    AccessLog, Bound, Ca, Config, Faults, Issuer, KeyPart, LogFormat, Mode, Route, RouteLimits,
    Scheme, Scope, Server, Severity, TlsVersion, UpstreamId, load, load_text,
};

/// The fixtures of a folder. Tests run in the folder of the crate, and short paths keep the
/// expected renderings free of the machine's.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/config").join(folder);
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|name| name == "toml")).collect();
    paths.sort();
    paths
}

fn environment(name: &str) -> Option<String> {
    match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        "ACME_DIRECTORY" => Some("https://localhost:14000/dir".to_owned()),
        _ => None,
    }
}

fn valid(path: &str) -> Config {
    load(Path::new(path), &environment).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(text: &str) -> Faults {
    load_text(Path::new("test.toml"), text, &environment).unwrap_err()
}

const SITE: &str = "[[site]]\nhosts = [\"a.example.com\"]\nupstream = \"http://127.0.0.1:1\"\n";

#[test]
fn valid_fixtures_load_without_a_warning() {
    for path in fixtures("valid") {
        let config = valid(path.to_str().unwrap());
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }
}

/// Every invalid fixture renders as the `.expected` file beside it says. `BLESS=1` in the
/// environment writes those files; read the difference before it is committed.
#[test]
fn invalid_fixtures_render_as_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut mismatches = String::new();
    for path in fixtures("invalid") {
        let rendered = match load(&path, &environment) {
            Ok(_) => "no fault\n".to_owned(),
            Err(faults) => faults.render(false),
        };
        let expected_path = path.with_extension("expected");
        if bless {
            fs::write(&expected_path, &rendered).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if rendered != expected {
            let name = path.display();
            let _ = writeln!(mismatches, "{name}, expected:\n{expected}\ngot:\n{rendered}");
        }
    }
    assert!(mismatches.is_empty(), "{mismatches}");
}

#[test]
fn certificates_may_be_shared() {
    let config = valid("tests/config/valid/shared_certificates.toml");
    assert!(config.tls.shared && config.store.encryption_key.is_some());
    assert_eq!(config.tls.store, Path::new("/srv/gatehouse"));
    assert!(!format!("{:?}", config.store).contains("secret"));
    // The environment has the key where the file has none, and a short one is none.
    let text = format!("[tls]\nstore = \"redis\"\n[store]\nredis = \"redis://10.0.0.1\"\n{SITE}");
    let with = |key: &'static str| {
        let environment = move |name: &str| (name == "GATEHOUSE_STORE_KEY").then(|| key.to_owned());
        load_text(Path::new("test.toml"), &text, &environment)
    };
    assert!(with("a secret that all instances share").unwrap().store.encryption_key.is_some());
    let short = with("s3cret").unwrap_err().to_string();
    assert!(short.contains("GATEHOUSE_STORE_KEY is too short") && !short.contains("s3cret"));
    assert!(faults(&text).to_string().contains("unencrypted"));
}

#[test]
fn minimal_is_the_defaults() {
    let config = valid("tests/config/valid/minimal.toml");
    let (listen, limits) = (&config.listen, &config.limits);
    let seconds = Duration::from_secs;
    assert_eq!(listen.http, ["[::]:80".parse().unwrap()]);
    assert_eq!(listen.https, ["[::]:443".parse().unwrap()]);
    assert_eq!(listen.admin, "127.0.0.1:9180".parse().unwrap());
    assert_eq!(listen.workers, std::thread::available_parallelism().unwrap().get());
    assert_eq!(listen.drain_timeout, seconds(30));
    assert_eq!(config.admin.token, None);
    assert_eq!(config.tls.store, Path::new("/var/lib/gatehouse/certs"));
    assert_eq!(config.tls.min_version, TlsVersion::V1_2);
    assert_eq!(config.acme.cas[0].directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(config.acme.cas[0].email.as_deref(), Some("ops@example.com"));
    assert_eq!((limits.connections, limits.connections_per_client), (20_000, 256));
    assert_eq!(limits.handshake_timeout, seconds(10));
    assert_eq!(limits.header_timeout, seconds(10));
    assert_eq!(limits.idle_timeout, seconds(75));
    assert_eq!((limits.header_bytes, limits.header_count), (32 << 10, 100));
    assert_eq!((limits.route.body_bytes, limits.route.body_min_rate), (10 << 20, 500));
    assert_eq!((limits.response_min_rate, limits.route.answer_timeout), (500, None));
    assert_eq!(limits.response_write_timeout, seconds(60));
    assert_eq!(limits.http2_streams, 100);
    assert_eq!((limits.http2_resets, limits.http2_control_frames), (500, 10_000));
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.name, "http://127.0.0.1:3000");
    assert_eq!(
        upstream.servers,
        [Server::Tcp { host: "127.0.0.1".to_owned(), port: 3000, scheme: Scheme::Http }]
    );
    assert_eq!((upstream.connect_timeout, upstream.answer_timeout), (seconds(2), seconds(60)));
    assert_eq!((upstream.max_in_flight, upstream.max_queued), (1024, 256));
    assert_eq!(upstream.queue_timeout, seconds(1));
    let site = &config.sites[0];
    assert_eq!(site.hosts, ["app.example.com"]);
    assert_eq!((site.issuer, site.redirect_http), (Issuer::Acme, true));
    assert_eq!((&*site.default.label, site.default.limits.body_bytes), ("*", 10 << 20));
    assert!(site.routes.is_empty() && config.rules.is_empty());
    assert_eq!((&config.log.access, config.log.level), (&AccessLog::Stdout, tracing::Level::INFO));
}

#[test]
fn every_key_has_its_effect() {
    let config = valid("tests/config/valid/everything.toml");
    assert_eq!(config.files.len(), 5, "two files, and three pages");
    assert!(config.listen.https.is_empty() && config.listen.share_ports);
    assert_eq!((config.listen.workers, config.listen.drain_timeout), (3, Duration::ZERO));
    assert_eq!(config.admin.token.as_deref(), Some("a-long-enough-token"));
    assert_eq!(config.tls.min_version, TlsVersion::V1_3);
    assert_eq!((config.limits.header_bytes, config.limits.route.body_min_rate), (8192, 0));
    assert_eq!(config.limits.response_min_rate, 2 << 10);
    let two = &config.upstreams[0];
    assert_eq!((two.max_queued, two.queue_timeout), (0, Duration::from_secs(2)));
    assert_eq!(two.slow_start, Duration::from_secs(30));
    let sticky = two.sticky.as_ref().unwrap();
    assert_eq!((&*sticky.cookie, sticky.max_age), ("srv", Some(Duration::from_secs(43_200))));
    assert!(!format!("{two:?}").contains("long-enough"), "secrets are not shown");
    assert_eq!(
        two.servers[0],
        Server::Tcp { host: "app_1.internal".to_owned(), port: 80, scheme: Scheme::Http }
    );
    assert_eq!(
        two.servers[1],
        Server::Tcp { host: "::1".to_owned(), port: 3001, scheme: Scheme::Http }
    );
    assert_eq!(config.upstreams.len(), 3, "one URL is one upstream");
    let [ca, fallback] = config.acme.cas.as_slice() else { panic!("{:?}", config.acme) };
    let key_id = |ca: &Ca| ca.eab.as_ref().map(|eab| eab.key_id.clone());
    assert_eq!(
        (key_id(ca).as_deref(), key_id(fallback).as_deref()),
        (Some("kid-1"), Some("kid-2"))
    );
    assert_eq!(fallback.email.as_deref(), Some("other@example.com"));
    assert!(!format!("{:?}", config.acme).contains("hmac_key"));
    let site = &config.sites[0];
    assert_eq!(site.hosts, ["app.example.com", "::1"]);
    let (pattern, uploads) = &site.routes[0];
    assert_eq!((pattern.as_str(), &*uploads.label), ("/uploads/{*rest}", "/uploads/{*rest}"));
    assert_eq!((uploads.upstream, uploads.limits.body_bytes), (UpstreamId(2), 1 << 30));
    assert_eq!(uploads.headers, site.default.headers);
    let RouteLimits { body_min_rate, websocket_idle_timeout, answer_timeout, .. } = uploads.limits;
    assert_eq!((body_min_rate, websocket_idle_timeout), (10 << 10, Duration::from_secs(300)));
    assert_eq!(answer_timeout, Some(Duration::from_secs(90)), "as the site");
    assert_eq!(config.sites[2].default.limits.answer_timeout, None);
    let codings = |route: &Route| route.compression.codings.iter().map(|c| c.name()).collect();
    let compressed: [Vec<_>; 2] = [codings(&site.default), codings(uploads)];
    assert_eq!(compressed, [vec!["br", "gzip"], vec!["zstd"]]);
    assert!(uploads.compression.padding && !site.default.compression.padding);
    let groups = config.upstreams[1].groups.as_ref().unwrap();
    assert_eq!((groups.configured(), groups.groups[1].servers.clone()), ("green", 2..3));
    let (_, page) = &site.routes[2];
    assert_eq!((page.upstream, page.limits.body_bytes), (UpstreamId(0), 2 << 10));
    assert_eq!((config.sites[1].issuer, config.tls.certificates.len()), (Issuer::Files, 1));
    assert_eq!(config.sites[2].default.upstream, UpstreamId(2));
    let names: Vec<_> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    let expected = ["everything", "costly", "at-once", "included", "of-the-site", "uploads"];
    assert_eq!(names, expected, "a rule that is off is gone");
    let rule = &config.rules[0];
    let window = |bound: &Bound| match bound {
        Bound::Window { limit, window, .. } => Some((*limit, *window)),
        Bound::InFlight(_) => None,
    };
    assert_eq!(window(&rule.bound), Some((5, Duration::from_secs(60))));
    assert_eq!((rule.mode, rule.scope), (Mode::Shadow, Scope::All));
    assert_eq!(rule.key, [KeyPart::Ip, KeyPart::Host, KeyPart::Path, KeyPart::Method]);
    assert_eq!(rule.matches.methods, [Method::POST, Method::PUT]);
    assert_eq!(rule.matches.not_methods, [Method::PUT]);
    assert_eq!((rule.matches.paths.len(), rule.matches.not_paths.len()), (2, 1));
    assert_eq!(rule.matches.hosts, ["app.example.com", "::1"]);
    assert_eq!(rule.matches.not_hosts, ["b.example.com"]);
    assert_eq!(config.log.access, AccessLog::File(PathBuf::from("./access.log")));
    assert_eq!(config.log.format, LogFormat::Combined);
}

/// Everything a configuration says but the names of its files.
fn effect(config: Config) -> String {
    format!("{:#?}", Config { files: Vec::new(), ..config })
}

#[test]
fn the_shipped_configuration_is_the_hardened_one() {
    let shipped = valid("../config/gatehouse.toml");
    assert!(shipped.warnings.is_empty(), "{}", shipped.warnings);
    assert_eq!(effect(shipped), effect(valid("tests/config/valid/hardened.toml")));
}

/// The lines of the reference, those that are commented out made active, but for `skipped` keys and
/// what names files that only an operator has.
fn uncommented(skipped: &[&str]) -> String {
    let text = fs::read_to_string("../config/gatehouse.toml").unwrap();
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c))
    };
    let activate = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let key = rest.split_once('=').map(|(key, _)| key.trim());
        let has_files =
            rest.contains("tls.certificate") || rest.contains("/etc/ssl/") || rest.contains("dns_");
        let active = !has_files && (rest.starts_with('[') || key.is_some_and(is_key));
        (active && !key.is_some_and(|key| skipped.contains(&key))).then(|| rest.to_owned())
    };
    text.lines().map(|line| activate(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn what_the_reference_comments_out_can_be_commented_in() {
    let path = Path::new("../config/gatehouse.toml");
    let config = load_text(path, &uncommented(&[]), &environment).unwrap_or_else(|f| panic!("{f}"));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert_eq!(config.files.len(), 2, "rate_limits.toml is included");
    assert_eq!(config.rules.len(), 10);
    assert_eq!((config.sites[0].routes.len(), config.upstreams.len()), (2, 3));
}

#[test]
fn what_the_reference_comments_out_is_the_default() {
    let path = Path::new("../config/gatehouse.toml");
    let text = uncommented(&["include", "set", "remove"]);
    let mut config = load_text(path, &text, &environment).unwrap_or_else(|f| panic!("{f}"));
    // The examples of routes, of the upstreams that they name, and of rules.
    config.sites[0].routes.clear();
    config.upstreams.drain(..2);
    config.rules.truncate(3);
    config.acme.cas.truncate(1); // of a fallback
    config.sites[0].default.upstream = UpstreamId(0);
    // The upstream's, unless it is said.
    config.sites[0].default.limits.answer_timeout = None;
    assert_eq!(effect(config), effect(valid("tests/config/valid/hardened.toml")));
}

#[test]
fn faults_are_documents_for_machines() {
    let faults = faults(&format!("{SITE}upstrem = 1\n[upstream.spare]\nservers = [\"x\"]\n"));
    let json = serde_json::to_value(&faults).unwrap();
    let expected = serde_json::json!({
        "severity": "error",
        "message": "unknown key `upstrem` in [[site]]",
        "remedy": "did you mean `upstream`?",
        "file": "test.toml",
        "line": 4,
        "column": 1,
        "width": 7,
        "source": "upstrem = 1",
    });
    assert_eq!(json[0], expected);
    assert_eq!(json[1]["severity"], "warning");
    assert_eq!((faults.count(Severity::Error), faults.count(Severity::Warning)), (2, 1));
}

#[test]
fn colours_come_only_when_asked_for() {
    let faults = faults("[listen]\nhtps = []\n");
    assert!(!faults.render(false).contains('\u{1b}'));
    assert!(faults.render(true).contains("\u{1b}[1;31merror\u{1b}[0m"));
}

#[test]
fn columns_count_characters_and_long_lines_are_cut() {
    let line = format!("\"é\" = \"{}\" x", "ü".repeat(500));
    let faults = faults(&format!("# ß\n{line}\n"));
    let spot = faults.iter().next().unwrap().spot.clone().unwrap();
    assert_eq!((spot.line, spot.column), (2, line.chars().count()));
    assert!(faults.render(false).lines().all(|line| line.chars().count() < 200));
}

#[test]
fn secrets_stay_out_of_faults() {
    for token in [
        r#""hunter2hunter2 hunter2""#,
        r#"["hunter2"]"#,
        r#""hunter2""#,
        r#""hunter2"#,
        r#"hunter2"#,
        r#""hunter2" "hunter2""#,
        "'''hunter2\n\n'''",
    ] {
        let faults = faults(&format!("[listen]\nadmin = \"[::]:1\"\n[admin]\ntoken = {token}\n"));
        assert!(!format!("{faults} {faults:?}").contains("hunter"), "{faults}");
        assert!(faults.iter().any(|fault| fault.spot.as_ref().is_some_and(|s| s.line >= 4)));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    for (path, message) in [("tests/none.toml", "cannot read"), ("tests", "directory")] {
        let faults = load(Path::new(path), &environment).unwrap_err();
        assert!(faults.to_string().contains(message), "{faults}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        if let Err(faults) = load_text(Path::new("test.toml"), &text, &environment) {
            prop_assert!(!faults.render(true).is_empty());
        }
    }

    /// Texts that are nearly right reach further than random ones.
    #[test]
    fn no_change_of_a_configuration_panics(
        cuts in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..6_usize, "[a-z0-9\"'=\\[\\]{}.$ \n-]{0,3}"),
            1..4,
        ),
    ) {
        let whole = fs::read_to_string("tests/config/valid/everything.toml").unwrap();
        let mut characters: Vec<char> = whole.chars().collect();
        for (at, length, insert) in cuts {
            let start = at.index(characters.len());
            let end = (start + length).min(characters.len());
            characters.splice(start..end, insert.chars());
        }
        let text: String = characters.into_iter().collect();
        let path = Path::new("tests/config/valid/changed.toml");
        if let Err(faults) = load_text(path, &text, &environment) {
            prop_assert!(faults.count(Severity::Error) > 0);
            prop_assert!(!faults.render(true).is_empty());
        }
    }
}
