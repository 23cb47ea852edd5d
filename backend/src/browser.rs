//! A test's steps, performed in a real headless Chromium that is driven over WebDriver.
//!
//! [`Browser::find`] looks where the programs are. [`Browser::run`] performs one test in a browser
//! of its own: it starts `chromedriver` ([`driver`]), opens one session ([`webdriver`]), performs
//! step by step ([`session`]), and sends each [`StepResult`] as it is there. The first step that
//! fails ends the run; a picture shows what the page looked like.
//!
//! # Bounds
//! A step has its [`patience`](Step::patience), the start of the browser [`START_MAX`], a picture
//! [`PICTURE_MAX`] bytes, and all pictures of a run [`PICTURES_MAX`]; the browser may take so much
//! memory and disk and no more ([`bounds`]). The bound of the whole run is the caller's: a run that
//! is dropped kills its browser, whatever it is doing.
//!
//! # Where it must not run
//! The browser opens any page of the web that the test's author names, also those of the network
//! around it and of this machine; no files, and it keeps no downloads. Give the worker a network
//! from which nothing is reached that its users may not see.

mod bounds;
mod driver;
mod session;
mod webdriver;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::failure::Failure;
use crate::domain::step::{Step, Steps};
use crate::domain::timestamp::Timestamp;
use session::Session;
pub use webdriver::WebDriverError;

/// How long the driver and the browser may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// Largest picture that is kept, in bytes.
pub const PICTURE_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of all pictures of one run; they are kept for as long as the execution is.
pub const PICTURES_MAX: usize = 32 * 1024 * 1024;
/// How long the picture of a failure may take.
const LAST_PICTURE: Duration = Duration::from_secs(5);

/// What the browser is called in Debian and elsewhere; `chrome` is upstream's own name. Last the
/// ones without windows: half the size and the same engine, but nothing keeps a page from opening
/// others, and errors have no names.
const BROWSERS: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
    "chromium-headless-shell",
    "chrome-headless-shell",
];

/// Why there is no browser to run a test in.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A program is not installed.
    #[error("{0} is not installed where the worker runs (Debian: apt-get install {1})")]
    Missing(&'static str, &'static str),
    /// There is nowhere to put the browser's files.
    #[error("the browser's files cannot be written: {0}")]
    Folder(std::io::Error),
    /// The driver did not start.
    #[error("chromedriver does not start: {0}")]
    Driver(std::io::Error),
    /// The browser did not start.
    #[error("Chromium does not start: {0}")]
    Refused(WebDriverError),
    /// Neither started in time.
    #[error("the browser did not start within {START_MAX:?}")]
    Slow,
}

/// How one step went.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Which step, from 0.
    pub index: usize,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed; nothing if it passed.
    pub failure: Option<Failure>,
    /// What the page looked like, as PNG: after a `screenshot`, and after a failure.
    pub picture: Option<Vec<u8>>,
}

/// The programs that run a test.
#[derive(Clone, Debug)]
pub struct Browser {
    setpriv: PathBuf,
    driver: PathBuf,
    chromium: PathBuf,
}

impl Browser {
    /// Finds all programs where `PATH` says.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_in_path() -> Result<Self, BrowserError> {
        Self::find(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// Finds all programs among the folders of `path`, the value of `PATH`.
    ///
    /// # Errors
    /// [`BrowserError::Missing`], which names what is missing.
    pub fn find(path: &std::ffi::OsStr) -> Result<Self, BrowserError> {
        let find = |program: &str| {
            std::env::split_paths(path).map(|folder| folder.join(program)).find(|f| f.is_file())
        };
        let chromium = BROWSERS.iter().find_map(|name| find(name));
        let chromium = chromium.ok_or(BrowserError::Missing("Chromium", "chromium"))?;
        let driver = find("chromedriver");
        let driver = driver.ok_or(BrowserError::Missing("chromedriver", "chromium-driver"))?;
        let setpriv = find("setpriv").ok_or(BrowserError::Missing("setpriv", "util-linux"))?;
        Ok(Self { setpriv, driver, chromium })
    }

    /// What the driver calls this kind of browser. For one without windows it asks for a first
    /// page, which the others open by themselves.
    fn kind(&self) -> &'static str {
        let name = self.chromium.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b"headless-shell") { "chrome-headless-shell" } else { "chrome" }
    }

    /// Performs `steps` in a new browser and sends each result as it is there. Whether the test
    /// passed is the last result's to say. Ends early when nobody receives any more.
    ///
    /// # Errors
    /// When there is no browser to perform them in; then there was no result.
    pub async fn run(
        &self,
        steps: &Steps,
        results: mpsc::Sender<StepResult>,
    ) -> Result<(), BrowserError> {
        let start = Session::start(self);
        let mut session = tokio::time::timeout(START_MAX, start)
            .await
            .map_err(|_elapsed| BrowserError::Slow)??;
        let outgrown = session.outgrown();
        tokio::pin!(outgrown);
        let mut room = PICTURES_MAX;
        for (index, step) in steps.as_slice().iter().enumerate() {
            let start = (index, Timestamp::now(), Instant::now());
            let outcome = tokio::select! {
                biased;
                reason = &mut outgrown => Err((reason, None)),
                outcome = perform(&mut session, step, room) => outcome,
            };
            let result = StepResult::of(start, outcome);
            room = room.saturating_sub(result.picture.as_ref().map_or(0, Vec::len));
            let failed = result.failure.is_some();
            if results.send(result).await.is_err() || failed {
                break;
            }
        }
        Ok(())
    }
}

/// The picture that a step took, or why it failed and what the page looked like then.
type Outcome = Result<Option<Vec<u8>>, (String, Option<Vec<u8>>)>;

/// Performs a step whose picture may have `room` bytes.
async fn perform(session: &mut Session, step: &Step, room: usize) -> Outcome {
    match session.perform(step).await {
        Ok(Some(picture)) if picture.len() > room => {
            Err((format!("the pictures of this test are larger than {PICTURES_MAX} bytes"), None))
        }
        Ok(picture) => Ok(picture),
        Err(reason) => {
            let picture = tokio::time::timeout(LAST_PICTURE, session.picture()).await;
            let picture = picture.ok().and_then(Result::ok);
            Err((reason, picture.filter(|picture| picture.len() <= room)))
        }
    }
}

impl StepResult {
    fn of((index, started_at, started): (usize, Timestamp, Instant), outcome: Outcome) -> Self {
        let (failure, picture) = match outcome {
            Ok(picture) => (None, picture),
            Err((reason, picture)) => (Some(Failure::new(&reason)), picture),
        };
        Self { index, started_at, duration: started.elapsed(), failure, picture }
    }
}
