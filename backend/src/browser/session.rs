//! One browser, and how each step is performed in it.
//!
//! # Why
//! Pages change while they are looked at. So every step but a navigation is attempted again until
//! it succeeds or its patience ends, and what stood in its way last is the reason of its failure.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout_at};

use super::bounds;
use super::driver::Driver;
use super::webdriver::{WebDriver, WebDriverError};
use super::{Browser, BrowserError, PICTURE_MAX};
use crate::domain::step::Step;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a page may load, in milliseconds: the patience of a navigation, held by the driver.
const PAGE_LOAD_MAX_MS: u32 = 10_000;
/// How much longer than a step's patience an attempt may take. An attempt that is cut off costs the
/// connection, and with it the picture of the failure, so only a driver that hangs is.
const GRACE: Duration = Duration::from_secs(5);
/// How much of a page's text a reason quotes, in characters.
const QUOTED_MAX: usize = 300;
/// The window, in pixels, as Chromium's switch takes it.
const WINDOW: &str = "--window-size=1280,800";

/// A browser with an empty profile. Killed when dropped; the profile goes with it.
#[derive(Debug)]
pub(super) struct Session {
    web: WebDriver,
    // Dropped in this order: first the program, then its files.
    driver: Driver,
    folder: TempDir,
}

/// Why an attempt did not succeed.
enum Obstacle {
    /// The page may yet change.
    Yet(String),
    /// It makes no sense to go on.
    Final(String),
}

impl From<WebDriverError> for Obstacle {
    fn from(error: WebDriverError) -> Self {
        if error.is_passing() {
            Self::Yet(error.to_string())
        } else {
            Self::Final(error.to_string())
        }
    }
}

/// The picture that an attempt took, if it is one that takes pictures.
type Attempt = Result<Option<Vec<u8>>, Obstacle>;

impl Session {
    /// Starts driver and browser. The caller bounds the wait.
    pub(super) async fn start(browser: &Browser) -> Result<Self, BrowserError> {
        let folder = tempfile::Builder::new().prefix("nomation-browser-").tempdir();
        let folder = folder.map_err(BrowserError::Folder)?;
        let driver = Driver::start(browser, folder.path()).await.map_err(BrowserError::Driver)?;
        let capabilities = capabilities(browser, folder.path());
        let web = WebDriver::open(&driver, capabilities).await.map_err(BrowserError::Refused)?;
        Ok(Self { web, driver, folder })
    }

    /// Resolves, with the reason, once the browser has taken more of the machine than it may.
    pub(super) fn outgrown(&self) -> impl Future<Output = String> + use<> {
        bounds::outgrown(self.driver.group(), self.folder.path().to_owned())
    }

    /// Performs one step; the error is the reason of its failure, for the test's author.
    pub(super) async fn perform(&mut self, step: &Step) -> Result<Option<Vec<u8>>, String> {
        let patience = step.patience();
        let deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline + GRACE, self.attempt(step)).await {
                Ok(Ok(picture)) => return Ok(picture),
                Ok(Err(Obstacle::Yet(reason))) if Instant::now() >= deadline => {
                    return Err(format!("after {patience:?}: {reason}"));
                }
                Ok(Err(Obstacle::Yet(_))) => sleep(PAUSE).await,
                Ok(Err(Obstacle::Final(reason))) => return Err(reason),
                Err(_elapsed) => return Err("the browser does not answer".to_owned()),
            }
        }
    }

    /// What the page shows, as PNG.
    pub(super) async fn picture(&mut self) -> Result<Vec<u8>, String> {
        let picture = self.web.screenshot().await.map_err(|error| error.to_string())?;
        if picture.len() > PICTURE_MAX {
            return Err(format!("the picture is larger than {PICTURE_MAX} bytes"));
        }
        Ok(picture)
    }

    async fn attempt(&mut self, step: &Step) -> Attempt {
        let web = &mut self.web;
        match step {
            Step::Navigate { url } => {
                web.navigate(url).await?;
                // What the driver passes over, the browser shows as a page of its own.
                if let Some(why) = web.error_page().await {
                    return Err(Obstacle::Final(format!("the page cannot be opened: {why}")));
                }
            }
            Step::Click { selector } => {
                let element = web.find(selector).await?;
                web.click(&element).await?;
            }
            Step::Type { selector, text } => {
                let field = web.find(selector).await?;
                web.clear(&field).await?;
                web.click(&field).await?;
                web.press(text).await?;
            }
            Step::Select { selector, option } => self.select(selector, option).await?,
            Step::WaitFor { selector, .. } => drop(web.find(selector).await?),
            Step::AssertText { selector, text } => {
                let element = web.find(selector).await?;
                let shown = web.text(&element).await?;
                if !shown.contains(text) {
                    let (shown, text) = (quoted(&shown), quoted(text));
                    return Err(Obstacle::Yet(format!("{selector} shows {shown}, not {text}")));
                }
            }
            Step::AssertVisible { selector } => {
                let element = web.find(selector).await?;
                if !web.is_displayed(&element).await? {
                    return Err(Obstacle::Yet(format!("{selector} is not visible")));
                }
            }
            Step::Screenshot {} => return self.picture().await.map(Some).map_err(Obstacle::Final),
        }
        Ok(None)
    }

    async fn select(&mut self, selector: &str, wanted: &str) -> Result<(), Obstacle> {
        let web = &mut self.web;
        let list = web.find(selector).await?;
        for option in web.find_within(&list, "option").await? {
            let is_wanted = web.property(&option, "value").await? == wanted
                || web.property(&option, "label").await? == wanted;
            if is_wanted {
                return Ok(web.click(&option).await?);
            }
        }
        Err(Obstacle::Yet(format!("{selector} has no option {wanted:?}")))
    }
}

/// The text in quotation marks; of a long one, how it begins.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED_MAX).collect();
    let more = if beginning.len() < text.len() { "…" } else { "" };
    format!("{beginning:?}{more}")
}

fn capabilities(browser: &Browser, folder: &std::path::Path) -> Value {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    // Over a pipe, so that the browser exits when the driver does, however that ends.
    let mut switches = vec!["--headless=new", "--remote-debugging-pipe", WINDOW, &profile];
    // Containers give little shared memory, and no browser of a test calls home.
    switches.extend(["--disable-dev-shm-usage", "--disable-background-networking"]);
    switches.extend(["--no-first-run", "--disable-gpu", "--mute-audio"]);
    if rustix::process::geteuid().is_root() {
        // Chromium refuses to run as root with its sandbox.
        switches.push("--no-sandbox");
    }
    json!({
        "browserName": browser.kind(),
        "timeouts": { "pageLoad": PAGE_LOAD_MAX_MS },
        "goog:chromeOptions": {
            "binary": browser.chromium, "args": switches,
            // Windows that nobody clicked for stay closed, as everywhere else.
            "excludeSwitches": ["disable-popup-blocking"],
            // No step looks at a download, and one may be endless.
            "prefs": { "download_restrictions": 3 },
        },
    })
}
