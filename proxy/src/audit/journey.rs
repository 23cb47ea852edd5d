//! Following redirects, as a browser does, and keeping what is handed out on the way.

use http::{HeaderValue, StatusCode, Uri, header};

use super::Unreachable;
use super::visit::{Response, Visitor};

/// Redirects that are followed.
const HOPS: usize = 10;

/// Where a URL leads.
#[derive(Debug)]
pub(super) struct Journey {
    /// Every URL that was asked for, in order; the last may not have answered.
    pub(super) hops: Vec<Uri>,
    /// Whether each certificate on the way is to be trusted.
    pub(super) trusted: bool,
    /// Every `Set-Cookie` on the way.
    pub(super) cookies: Vec<HeaderValue>,
    /// What the last that answered said.
    pub(super) end: Response,
}

impl Journey {
    /// Asks for a URL, and then for wherever the answers point.
    ///
    /// # Errors
    ///
    /// When the first does not answer.
    pub(super) async fn from(visitor: &Visitor, start: Uri) -> Result<Self, Unreachable> {
        let end = visitor.get(&start).await?;
        let mut journey = Self { hops: vec![start], trusted: true, cookies: Vec::new(), end };
        loop {
            journey.note();
            let Some(next) = journey.next().filter(|_| journey.hops.len() <= HOPS) else { break };
            let answer = visitor.get(&next).await;
            journey.hops.push(next);
            let Ok(answer) = answer else { break };
            journey.end = answer;
        }
        Ok(journey)
    }

    fn note(&mut self) {
        self.trusted &= self.end.distrust.is_none();
        self.cookies.extend(self.end.headers.get_all(header::SET_COOKIE).iter().cloned());
    }

    /// Where the last answer points.
    fn next(&self) -> Option<Uri> {
        let is_redirect = matches!(
            self.end.status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = self.end.headers.get(header::LOCATION).filter(|_| is_redirect)?;
        resolve(self.hops.last()?, location.to_str().ok()?)
    }
}

/// A `Location` (RFC 9110, 10.2.2), if it is a URL of http or https.
fn resolve(here: &Uri, there: &str) -> Option<Uri> {
    let there = match there.strip_prefix("//") {
        Some(rest) => format!("{}://{rest}", here.scheme_str()?),
        None if there.starts_with('/') => {
            format!("{}://{}{there}", here.scheme_str()?, here.authority()?)
        }
        None if there.contains("://") => there.to_owned(),
        None => {
            let folder = here.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{}://{}{folder}/{there}", here.scheme_str()?, here.authority()?)
        }
    };
    there.parse().ok().filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let here = "http://a:8080/x/y".parse().unwrap();
        let to = |there| resolve(&here, there).map(|uri| uri.to_string());
        assert_eq!(to("/y").as_deref(), Some("http://a:8080/y"));
        assert_eq!(to("z?q=1").as_deref(), Some("http://a:8080/x/z?q=1"));
        assert_eq!(to("//b/y").as_deref(), Some("http://b/y"));
        assert_eq!(to("https://a/").as_deref(), Some("https://a/"));
        assert_eq!(to("ftp://a/"), None);
    }
}
