//! The configuration that has every section and key once (`tests/config/full.toml`): what this
//! version knows of it is read and means what it says, and nothing else is missing than what is
//! named here.

use std::fs;
use std::path::Path;

use gatehouse::config::{self, AccessLog, AdminAddress, Faults, LogFormat, Severity};

/// How the lines begin that belong to later versions.
const LATER: [&str; 5] = ["root_ca ", "challenges ", "profile ", "[telemetry]", "otlp "];

const FILE: &str = "tests/config/full.toml";

fn load(text: &str) -> Result<config::Config, Faults> {
    config::load_text(Path::new(FILE), text, &|_| None)
}

#[test]
fn only_what_later_versions_bring_is_at_fault() {
    let text = fs::read_to_string(FILE).unwrap();
    let Err(faults) = load(&text) else { return };
    for fault in faults.iter().filter(|fault| fault.severity == Severity::Error) {
        let line = fault.spot.as_ref().and_then(|spot| text.lines().nth(spot.line - 1)).unwrap();
        let later = LATER.iter().any(|key| line.starts_with(key));
        assert!(later, "{fault:?}");
    }
}

#[test]
fn everything_else_means_what_it_says() {
    let text = fs::read_to_string(FILE).unwrap();
    let kept = text.lines().filter(|line| !LATER.iter().any(|key| line.starts_with(key)));
    let config = load(&kept.collect::<Vec<_>>().join("\n"));
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert_eq!(config.listen.admin, AdminAddress::Tcp("127.0.0.1:9180".parse().unwrap()));
    assert_eq!(config.listen.workers, std::thread::available_parallelism().unwrap().get());
    assert_eq!(config.admin.token, None, "an empty token is none");
    assert_eq!(config.tls.store, Path::new("certs"));
    let site = &config.sites[0];
    assert_eq!((site.hosts.len(), site.redirect_http), (2, true));
    let codings = site.default.compression.codings.iter().map(|coding| format!("{coding:?}"));
    assert_eq!(codings.collect::<Vec<_>>(), ["Zstd", "Brotli", "Gzip"]);
    let (pattern, uploads) = &site.routes[0];
    assert_eq!((pattern.as_str(), uploads.limits.body_bytes), ("/api/uploads/{*rest}", 1 << 30));
    assert_eq!(uploads.compression, site.default.compression, "what is not said is the site's");
    assert_eq!(config.rules.len(), 2);
    assert_eq!((&config.log.access, config.log.format), (&AccessLog::Stdout, LogFormat::Json));
}
