//! The configuration that has every section and key once (`tests/config/full.toml`): it has no
//! fault, and means what it says.

use std::fs;
use std::path::Path;

use gatehouse::config::{self, AccessLog, AdminAddress, Faults, LogFormat};

const FILE: &str = "tests/config/full.toml";

fn load(text: &str) -> Result<config::Config, Faults> {
    config::load_text(Path::new(FILE), text, &|_| None)
}

#[test]
fn every_key_means_what_it_says() {
    let config = load(&fs::read_to_string(FILE).unwrap());
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
