//! `gatehouse audit`: what a live site shows to the outside, and what to write to mend it.
//!
//! [`visit`] speaks to the site, [`journey`] follows its redirects, [`handshake`] looks at its TLS,
//! [`page`](mod@page) at its HTML, and what judges is a function of what they brought: [`headers`],
//! [`csp`], [`cookies`], [`scripts`], [`redirection`]. Scores are those that the MDN HTTP
//! Observatory publishes, its own code being the oracle of a test; what OWASP's Secure Headers
//! Project adds, and TLS, is said without a score.
//!
//! # Why
//!
//! The Observatory gives 5 points more to hosts on the HSTS preload list of browsers. That list has
//! some megabytes and changes every day, so it is left out: no grade here is better for it.
//! Names below a private suffix (`github.io`) are sites of their own here, as they are in browsers.

mod cookies;
mod csp;
mod handshake;
mod headers;
mod journey;
mod page;
mod redirection;
mod scripts;
mod visit;
mod witness;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Uri;
use serde::Serialize;

use self::journey::Journey;
pub(crate) use self::page::MEMORY as PAGE_MEMORY;
use self::page::Page;
use self::visit::{FOREIGN, Visitor};

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
        Self {
            test,
            result,
            score,
            pass: true,
            found: harmless(&found.into()),
            remedy: String::new(),
        }
    }

    fn bad(
        test: &'static str,
        result: &'static str,
        score: i32,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (found, remedy) = (harmless(&found.into()), remedy.into());
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
    #[error("{0}: {1}")]
    Page(Uri, String),
}

/// Visits the site and judges it.
pub(crate) async fn audit(audit: &Audit) -> Result<Report, Unreachable> {
    let Audit { url, ca, http_port } = audit;
    let visitor = Visitor::new(ca.as_deref())?;
    let secure = Journey::from(&visitor, url.clone()).await?;
    let handshake = visitor.survey(url).await?;
    let last = secure.hops.last().unwrap_or(url);
    let preflight = visitor.preflight(last).await.ok();
    let preflight = preflight.filter(|answer| answer.status.is_success());
    let plain = match plain(url, *http_port) {
        Some(start) => Journey::from(&visitor, start).await.ok(),
        None => None,
    };
    let (headers, page) = (&secure.end.headers, Page::of(&secure.end));
    let mut findings = handshake::judge(&handshake);
    findings.push(redirection::judge(plain.as_ref().map(|way| (&*way.hops, way.trusted))));
    let hsts = headers::transport_security(headers, secure.trusted);
    let has_hsts = hsts.pass;
    findings.push(hsts);
    findings.extend(headers::judge(headers, &page));
    findings.push(headers::sharing(preflight.as_ref().map(|answer| &answer.headers), FOREIGN));
    findings.push(csp::judge(headers, &page));
    findings.push(cookies::judge(&secure.cookies, has_hsts));
    findings.push(scripts::judge(&page, url.host().unwrap_or_default()));
    let score = score(&findings);
    Ok(Report { url: url.to_string(), grade: Grade::of(score), score, findings })
}

/// The host's plain HTTP.
fn plain(url: &Uri, port: Option<u16>) -> Option<Uri> {
    let host = url.host()?;
    let authority = match port? {
        80 => host.to_owned(),
        port => format!("{host}:{port}"),
    };
    format!("http://{authority}/").parse().ok()
}

/// The whole of one page, over a connection that is to be trusted.
pub(crate) async fn page(url: &Uri, ca: Option<&Path>) -> Result<Bytes, Unreachable> {
    let answer = Visitor::new(ca)?.get(url).await?;
    let fail = |what: String| Unreachable::Page(url.clone(), what);
    if let Some(distrust) = answer.distrust {
        return Err(fail(format!("its certificate is not trusted: {distrust}")));
    }
    if !answer.status.is_success() {
        let location = answer.headers.get(http::header::LOCATION);
        let location = location
            .map(|to| format!(", see {}", harmless(&String::from_utf8_lossy(to.as_bytes()))));
        return Err(fail(format!(
            "the answer is {}{}",
            answer.status,
            location.unwrap_or_default()
        )));
    }
    answer.body.ok_or_else(|| fail("the page is longer than 16 MiB, or was cut off".to_owned()))
}

/// What a site says, without what a terminal would act on: a page can have anything in it.
fn harmless(text: &str) -> String {
    // Of those that are no control characters: what turns the direction of a line.
    let turns = |c| {
        matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    text.replace(|c: char| c.is_control() || turns(c), "\u{fffd}")
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
    fn what_a_site_says_does_nothing_to_a_terminal() {
        let page = "<meta name=referrer content='\u{1b}[2J\u{9b}2J\u{7}\u{202e}'>";
        let page = Page::read(page.as_bytes());
        let findings = headers::judge(&HeaderMap::new(), &page);
        let found = &findings.iter().find(|f| f.test == "referrer-policy").unwrap().found;
        assert_eq!(found, "no known policy in `\u{fffd}[2j\u{fffd}2j\u{fffd}\u{fffd}`");
    }

    #[test]
    fn grades_are_read_and_compared() {
        assert!("A+".parse::<Grade>().unwrap() < "a".parse().unwrap());
        assert!("E".parse::<Grade>().is_err());
    }
}
