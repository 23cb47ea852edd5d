//! HSTS step by step: how long each site has been climbing, in a file of the certificate store.
//!
//! A site climbs while its certificate is renewed without a failure, and rests while it is not:
//! what browsers were told cannot be taken back, so it never comes down. The steps themselves are
//! [`crate::policy::headers`]'. A file that is lost or broken begins anew, which is safe.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::config::Config;
use crate::tls::store::{Store, StoreError};

const FILE: &str = "hsts-ramp.json";

/// The seconds that a site has climbed; one number for all who ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Climbed(Arc<AtomicU64>);

impl Climbed {
    pub(crate) fn seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

/// The ramps of all sites, by their names.
pub(crate) struct Ramps {
    store: Store,
    climbed: BTreeMap<String, u64>,
    /// When they climbed last.
    at: Instant,
}

impl Ramps {
    /// Reads the file in the store of a configuration, and tells its sites how far they are.
    pub(crate) fn open(config: &Config) -> Self {
        let ramps = Self::read(&config.tls.store);
        ramps.adopt(config);
        ramps
    }

    fn read(folder: &Path) -> Self {
        let store = Store::at(folder);
        let climbed = store.read(FILE).ok().flatten().map(|text| serde_json::from_str(&text));
        let climbed = match climbed.transpose() {
            Ok(climbed) => climbed.unwrap_or_default(),
            Err(error) => {
                let path = store.path(FILE);
                tracing::warn!(path = %path.display(), %error, "HSTS begins its ramp anew");
                BTreeMap::new()
            }
        };
        Self { store, climbed, at: Instant::now() }
    }

    /// Tells the sites of a configuration how far they are.
    pub(crate) fn adopt(&self, config: &Config) {
        for site in &config.sites {
            site.climbed.set(self.climbed.get(site.name()).copied().unwrap_or(0));
        }
    }

    /// Lets the sites climb whose certificates are in order, and writes the file if any does.
    pub(crate) fn climb(
        &mut self,
        config: &Config,
        is_failing: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        let passed = now.saturating_duration_since(self.at).as_secs();
        self.at = now;
        let mut any = false;
        let ramps = config.sites.iter().filter(|site| site.has_ramp());
        for site in ramps.filter(|site| !is_failing(site.name())) {
            let climbed = self.climbed.entry(site.name().to_owned()).or_default();
            *climbed = climbed.saturating_add(passed);
            site.climbed.set(*climbed);
            any = true;
        }
        if any && let Err(error) = self.write() {
            tracing::warn!(%error, "HSTS would begin its ramp anew");
        }
    }

    fn write(&self) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(&self.climbed).unwrap_or_default();
        self.store.write(FILE, &text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use http::header::STRICT_TRANSPORT_SECURITY;

    use super::*;
    use crate::config;
    use crate::policy::headers::Circumstances;

    fn config() -> Config {
        let text = "[headers.site]\nhsts = { max_age = \"365d\", ramp = true }\n\
            [[site]]\nhosts = [\"a.example\"]\nupstream = \"http://127.0.0.1:1\"\n\
            headers = \"site\"\n\
            [[site]]\nhosts = [\"b.example\"]\nupstream = \"http://127.0.0.1:1\"\n";
        config::load_text(Path::new("test.toml"), text, &|_| None).unwrap()
    }

    fn max_age(config: &Config, site: usize) -> String {
        let site = &config.sites[site];
        let mut headers = HeaderMap::new();
        let climbed = site.climbed.seconds();
        let with = Circumstances { own: false, secure: true, nonces: None, climbed };
        site.default.headers.apply_with(&mut headers, with);
        let value = headers[STRICT_TRANSPORT_SECURITY].to_str().unwrap();
        value.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_site_climbs_by_days_while_renewals_succeed() {
        let folder = tempfile::tempdir().unwrap();
        let config = config();
        let mut ramps = Ramps::read(folder.path());
        ramps.adopt(&config);
        let (begin, mut day) = (ramps.at, 0);
        let mut found = vec![max_age(&config, 0)];
        for _ in 0..15 {
            day += 1;
            // On its third day, renewal fails.
            let fails = |site: &str| site == "a.example" && day == 3;
            ramps.climb(&config, fails, begin + Duration::from_secs(day * 86_400));
            found.push(max_age(&config, 0));
        }
        let ages = [300, 3_600, 86_400, 86_400, 86_400, 604_800, 604_800, 604_800, 2_592_000];
        let ages = ages.into_iter().chain([2_592_000; 6]).chain([31_536_000]);
        assert_eq!(found, ages.map(|age| format!("max-age={age}")).collect::<Vec<_>>());
        assert_eq!(max_age(&config, 1), "max-age=31536000", "without a ramp");

        // The next process, and the next configuration, go on from there.
        let next = self::config();
        Ramps::read(folder.path()).adopt(&next);
        assert_eq!(max_age(&next, 0), "max-age=31536000");
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        Ramps::read(folder.path()).adopt(&next);
        assert_eq!(max_age(&next, 0), "max-age=300");
    }
}
