//! `[store]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::expand::Environment;
use crate::config::model::{OnFailure, Redis, Secret, Store};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::values::At;

/// Requests wait for it: a second is too long already.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

/// Who keeps the encryption key here, if the file does not name it.
const ENCRYPTION_KEY: &str = "GATEHOUSE_STORE_KEY";

/// The shortest encryption key, in characters.
const SHORTEST_KEY: usize = 32;

/// Reads the section.
pub(super) fn read(mut section: Section<'_>, environment: Environment<'_>) -> Store {
    let url = section.text("redis").filter(|at| !at.value.is_empty());
    let redis = url.and_then(|at| match Redis::parse(at.value) {
        Ok(redis) => Some(redis),
        Err(remedy) => {
            // The URL may hold a password: it is not repeated.
            section.error(&at.place, "`redis` in [store] is not the URL of a store", remedy);
            None
        }
    });
    let ca = section.parsed("ca", "file", certificates);
    let timeout = section.duration("timeout", TIMEOUT);
    let on_failure = on_failure(&mut section);
    let encryption_key = encryption_key(&mut section, environment);
    section.finish();
    Store {
        redis: redis.map(|redis| redis.trusting(ca.and_then(|at| at.value))),
        timeout: timeout.unwrap_or(Duration::from_millis(25)),
        on_failure: on_failure.unwrap_or_default(),
        encryption_key,
    }
}

/// What the file says, else the environment; neither is repeated.
fn encryption_key(section: &mut Section<'_>, environment: Environment<'_>) -> Option<Secret> {
    let written = section.text("encryption_key").filter(|at| !at.value.is_empty());
    let (key, place, what) = match written {
        Some(At { value, place }) => (value.to_owned(), place, "`encryption_key` in [store]"),
        None => {
            let key = environment(ENCRYPTION_KEY).filter(|key| !key.is_empty())?;
            (key, section.place.clone(), ENCRYPTION_KEY)
        }
    };
    if key.chars().count() < SHORTEST_KEY {
        let message = format!("{what} is too short");
        let remedy = format!("write {SHORTEST_KEY} random characters or more");
        section.error(&place, message, remedy);
    }
    Some(Secret(key))
}

/// `on_failure` of a rule, which is the section's if it does not say.
pub(super) fn of_rule(section: &mut Section<'_>, store: &Store) -> OnFailure {
    on_failure(section).unwrap_or(store.on_failure)
}

fn on_failure(section: &mut Section<'_>) -> Option<OnFailure> {
    let chosen = section.parsed("on_failure", "choice", |text| match text {
        "local" => Ok(OnFailure::Local),
        "allow" => Ok(OnFailure::Allow),
        "deny" => Ok(OnFailure::Deny),
        other => Err(suggestion(other, ["local", "allow", "deny"])),
    });
    chosen.map(|at| at.value)
}

/// The text of a PEM file with a certificate in it; an empty path is no file.
fn certificates(path: &str) -> Result<Option<Vec<u8>>, String> {
    super::upstream::certificates(path)?;
    match path {
        "" => Ok(None),
        path => std::fs::read(path).map(Some).map_err(|error| error.to_string()),
    }
}
