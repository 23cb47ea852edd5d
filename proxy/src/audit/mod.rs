//! `gatehouse audit`: what a live site shows to the outside, and what to write to mend it.
//!
//! [`visit`] speaks to the site, [`handshake`] looks at its TLS, and everything that judges is a
//! function of what they brought: [`headers`], [`csp`], [`cookies`], [`redirection`]. Scores are
//! those that the MDN HTTP Observatory publishes; what OWASP's Secure Headers Project adds, and
//! TLS, is said without a score.
//!
//! # Why
//!
//! Two things of the Observatory need a list that changes every day and are left out: a bonus for
//! hosts on the HSTS preload list, and the public suffixes.

mod cookies;
mod csp;
mod handshake;
mod headers;
mod redirection;
mod scripts;
mod visit;

use std::path::PathBuf;

use http::Uri;
use serde::Serialize;

use self::visit::{Visited, Visitor};

/// What is to be audited, and how.
#[derive(Debug)]
pub(crate) struct Audit {
    /// Of scheme `https`.
    pub(crate) url: Uri,
    /// Certificates in PEM that are trusted beside the machine's own.
    pub(crate) ca: Option<PathBuf>,
    /// The port of plain HTTP; without one there is none to look at.
    pub(crate) http_port: Option<u16>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at: `content-security-policy`, `tls`.
    pub(crate) test: &'static str,
    /// A stable label; the Observatory's where it has one.
    pub(crate) result: &'static str,
    /// The Observatory's modifier; 0 where it has none.
    pub(crate) score: i32,
    /// Whether something is to be mended.
    pub(crate) pass: bool,
    /// What was found, in a sentence.
    pub(crate) found: String,
    /// What to write in gatehouse.toml; empty if nothing, or if that file is not to blame.
    pub(crate) remedy: String,
}

impl Finding {
    fn good(
        test: &'static str,
        result: &'static str,
        score: i32,
        found: impl Into<String>,
    ) -> Self {
        Self { test, result, score, pass: true, found: found.into(), remedy: String::new() }
    }

    fn bad(
        test: &'static str,
        result: &'static str,
        score: i32,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (found, remedy) = (found.into(), remedy.into());
        Self { test, result, score, pass: false, found, remedy }
    }
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What was audited.
    pub(crate) url: String,
    /// `A+` to `F`.
    pub(crate) grade: Grade,
    /// 0 to 100 and beyond.
    pub(crate) score: i32,
    /// Everything that was looked at.
    pub(crate) findings: Vec<Finding>,
}

/// The site cannot be audited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("cannot read {0}: {1}")]
    Ca(PathBuf, String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, std::io::Error),
    #[error("{0} does not answer as HTTP: {1}")]
    Http(String, String),
}

/// Visits the site and judges it.
pub(crate) async fn audit(audit: &Audit) -> Result<Report, Unreachable> {
    let visitor = Visitor::new(audit.ca.as_deref())?;
    let Visited { response, handshake } = visitor.secure(&audit.url).await?;
    let old = visitor.takes_old_tls(&audit.url).await;
    let plain = redirection::follow(&visitor, &audit.url, audit.http_port).await;
    let mut findings = handshake::judge(&handshake, old);
    findings.push(redirection::judge(&plain));
    findings.extend(headers::judge(&response.headers));
    findings.push(csp::judge(&response.headers));
    findings.push(cookies::judge(&response.headers));
    findings.push(scripts::judge(&response));
    let score = score(&findings);
    Ok(Report { url: audit.url.to_string(), grade: Grade::of(score), score, findings })
}

/// 100 and the modifiers; bonuses count from 90 on.
fn score(findings: &[Finding]) -> i32 {
    let sum = |keep: fn(&i32) -> bool| findings.iter().map(|f| f.score).filter(keep).sum::<i32>();
    let score = 100 + sum(|score| *score < 0);
    if score < 90 { score.max(0) } else { score + sum(|score| *score > 0) }
}

/// The Observatory's letters, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub(crate) struct Grade(usize);

const GRADES: [(&str, i32); 13] = [
    ("A+", 100),
    ("A", 90),
    ("A-", 85),
    ("B+", 80),
    ("B", 70),
    ("B-", 65),
    ("C+", 60),
    ("C", 50),
    ("C-", 45),
    ("D+", 40),
    ("D", 30),
    ("D-", 25),
    ("F", 0),
];

impl Grade {
    fn of(score: i32) -> Self {
        let least = GRADES.iter().position(|(_, least)| score >= *least);
        Self(least.unwrap_or(GRADES.len() - 1))
    }
}

impl From<Grade> for &'static str {
    fn from(grade: Grade) -> Self {
        GRADES.get(grade.0).map_or("F", |(name, _)| name)
    }
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad((*self).into())
    }
}

impl std::str::FromStr for Grade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = GRADES.iter().position(|(name, _)| name.eq_ignore_ascii_case(text));
        place.map(Self).ok_or_else(|| "a grade is A+, A, A-, B+ … D-, F".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::*;

    /// The findings on these header fields.
    pub(super) fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        fields.iter().map(parse).collect()
    }

    #[test]
    fn a_bonus_counts_from_90_on() {
        let of = |scores: &[i32]| {
            let finding = |score| Finding::good("test", "result", score, "");
            let score = score(&scores.iter().copied().map(finding).collect::<Vec<_>>());
            (score, Grade::of(score).to_string())
        };
        assert_eq!(of(&[0, 5, 10]), (115, "A+".to_owned()));
        assert_eq!(of(&[-10, 5, 5]), (100, "A+".to_owned()));
        assert_eq!(of(&[-15, 5, 5]), (85, "A-".to_owned()));
        assert_eq!(of(&[-25, -25, -20, -20, -20]), (0, "F".to_owned()));
    }

    #[test]
    fn grades_are_read_and_compared() {
        assert!("A+".parse::<Grade>().unwrap() < "a".parse().unwrap());
        assert!("E".parse::<Grade>().is_err());
    }
}
