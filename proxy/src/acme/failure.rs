//! Why there is no certificate: whose doing it is, what the CA says, how long it asks to wait.

use std::io;
use std::time::{Duration, Instant};

use instant_acme::{Error, Problem};

use super::challenge::ShowError;
use crate::tls::leaf::Unfit;
use crate::tls::store::StoreError;

/// The longest text of a CA that is kept, in characters.
const LONGEST: usize = 600;

/// An attempt that came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// What went wrong, in the CA's own words where it said any.
    pub(super) words: String,
    pub(super) cause: Cause,
    /// What the CA asks for in `Retry-After`.
    pub(super) asked: Option<Duration>,
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The name: other names may do better.
    Name,
    /// The CA cannot be reached, or not understood: no name will do better.
    Authority,
    /// The CA does not know the account.
    Account,
}

impl Failure {
    /// A failure of this name alone.
    pub(super) fn name(words: String) -> Self {
        Self::new(words, Cause::Name)
    }

    /// The same, of one host of the name.
    pub(super) fn of(self, host: &str) -> Self {
        Self { words: format!("{host}: {}", self.words), ..self }
    }

    /// With what the CA asks for, and what is wrong with the clock.
    pub(super) fn told(self, asked: Option<Duration>, clock: Option<String>) -> Self {
        let words = match clock {
            Some(clock) => format!("{} ({clock})", self.words),
            None => self.words,
        };
        Self { words, asked: asked.or(self.asked), ..self }
    }

    fn new(mut words: String, cause: Cause) -> Self {
        // It goes to logs and terminals, and somebody else wrote it.
        let end = words.char_indices().nth(LONGEST).map_or(words.len(), |(end, _)| end);
        words.truncate(end);
        Self { words: words.replace(char::is_control, " "), cause, asked: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // The CA answers: it takes its time with this order.
        if let Error::Timeout(until) = &error {
            let text = "the CA has not come to an end with the order".to_owned();
            let asked = until.map(|until| until.saturating_duration_since(Instant::now()));
            return Self { asked, ..Self::name(text) };
        }
        let cause = if let Error::Api(problem) = &error {
            match problem.status {
                _ if is(problem, "accountDoesNotExist") => Cause::Account,
                Some(500..) => Cause::Authority,
                _ => Cause::Name,
            }
        } else {
            Cause::Authority
        };
        Self::new(error.to_string(), cause)
    }
}

macro_rules! of_the_name {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::name(error.to_string())
            }
        }
    )*};
}

of_the_name!(StoreError, ShowError, rcgen::Error, serde_json::Error, io::Error);

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::name(format!("the certificate that the CA issued is refused: {unfit}"))
    }
}

/// Whether the CA only wants another nonce.
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if is(problem, "badNonce"))
}

fn is(problem: &Problem, kind: &str) -> bool {
    let name = problem.r#type.as_deref().and_then(|name| name.rsplit(':').next());
    name == Some(kind)
}
