//! A new configuration for a running Gatehouse: checked whole, then swapped in; or refused, and
//! nothing changes.
//!
//! It begins with HUP, `gatehouse reload`, `POST /api/reload`, or a change of a configuration file
//! that has settled. Each worker swaps its snapshot between two requests: those in flight end as
//! they began, and open connections live on. Runs on the control thread, one reload at a time.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::oneshot;

use crate::admin::Control;
use crate::config::{self, Config, Faults};
use crate::listener::{ListenError, Opened};
use crate::record::Output;
use crate::snapshot::Plan;
use crate::supervisor::{self, News};
use crate::tls::Policies;
use crate::tls::internal::InternalError;
use crate::upstream::{Kept, Standing};
use crate::{telemetry, worker};

/// What a worker is given.
pub(crate) struct Change {
    pub(crate) plan: Arc<Plan>,
    /// Listeners that it did not have.
    pub(crate) listeners: Vec<Opened>,
    pub(crate) done: oneshot::Sender<()>,
}

/// A new configuration is in use.
#[derive(Debug, Clone, Serialize)]
pub struct Reloaded {
    /// How many reloads this process has seen.
    pub generation: u64,
    /// Keys whose new values wait for the next start.
    pub restart_for: Vec<&'static str>,
    /// What probably does not mean what it says.
    pub warnings: Faults,
}

/// Why the old configuration stays in use.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The new one has faults.
    #[error("{0}")]
    Faults(Faults),
    /// An address that it adds cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A certificate for it cannot be made.
    #[error(transparent)]
    Certificates(#[from] InternalError),
    /// rustls refuses it.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Its access log cannot be opened.
    #[error("log.access: {0}")]
    Log(#[from] io::Error),
    /// Gatehouse is stopping.
    #[error("Gatehouse is stopping")]
    Stopping,
}

/// How long a worker may take to swap; it does so between two events.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the configuration anew and puts it to use.
pub(crate) async fn reload(control: &Control) -> Result<Reloaded, Refused> {
    supervisor::tell(News::Reloading);
    let outcome = swap(control).await;
    supervisor::tell(News::Ready);
    match &outcome {
        Ok(Reloaded { generation, restart_for, warnings }) => {
            tracing::info!(generation, "configuration reloaded");
            if !restart_for.is_empty() {
                tracing::warn!(?restart_for, "these keys take effect at the next start");
            }
            if !warnings.is_empty() {
                tracing::warn!("{warnings}");
            }
        }
        Err(refused) => {
            tracing::error!("configuration not reloaded, the old one stays in use: {refused}");
        }
    }
    outcome
}

/// Opens and makes everything first; from the first thing that is swapped, nothing refuses.
async fn swap(control: &Control) -> Result<Reloaded, Refused> {
    let before = control.plan();
    let path = before.config.files.first().cloned().unwrap_or_default();
    let config = config::load(&path, &config::environment).map_err(Refused::Faults)?;
    let restart_for = restart_for(&before.config, &config);
    let kept = Kept::read(&config).map_err(InternalError::Store)?;
    let standings = Standing::all(&config, Some(&before), &kept)?;
    let log = Output::open(&config.log.access)?;
    let sockets = control.sockets.borrow().clone();
    let (sockets, mut listeners) = sockets.open(&config.listen, control.workers.len())?;
    let tls = Policies::new(&config, &control.issuance.credentials, Some(&before.tls))?;
    let certificates = control.issuance.prepare(&config, worker::wall_clock())?;
    control.records.redirect(log)?;
    control.issuance.serve(&config, &certificates);
    telemetry::set_level(config.log.level);
    control.shared.limiter.adopt(&config);
    let (generation, warnings) = (before.generation + 1, config.warnings.clone());
    let https_port = sockets.https_port();
    let (challenges, door) = (Arc::clone(&before.challenges), Arc::clone(&before.door));
    control.ramps.borrow().adopt(&config);
    let plan = Plan { config, tls, challenges, door, https_port, generation, standings };
    let plan = Arc::new(plan);
    control.plan.replace(Arc::clone(&plan));
    if let Err(error) = kept.follow(&plan) {
        tracing::error!(%error, "which groups are active cannot be kept");
    }
    control.sockets.replace(sockets);
    for worker in &control.workers {
        let (done, swapped) = oneshot::channel();
        let listeners = listeners.pop().unwrap_or_default();
        let change = Change { plan: Arc::clone(&plan), listeners, done };
        let swap = async { worker.send(change).await.is_ok() && swapped.await.is_ok() };
        if !tokio::time::timeout(PATIENCE, swap).await.unwrap_or(false) {
            tracing::error!("a worker did not take the new configuration");
        }
    }
    Ok(Reloaded { generation, restart_for, warnings })
}

/// What a running process cannot change.
fn restart_for(before: &Config, after: &Config) -> Vec<&'static str> {
    let kept = |config: &Config| (config.tls.store.clone(), config.tls.shared);
    let changed = [
        ("listen.admin", before.listen.admin != after.listen.admin),
        ("listen.workers", before.listen.workers != after.listen.workers),
        ("store.redis", before.store.redis != after.store.redis),
        ("store.timeout", before.store.timeout != after.store.timeout),
        ("store.encryption_key", before.store.encryption_key != after.store.encryption_key),
        ("tls.store", kept(before) != kept(after)),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

/// Notices that a configuration file has changed.
#[derive(Debug, Default)]
pub(crate) struct FileWatch {
    loaded: Vec<State>,
    last: Vec<State>,
}

/// A file's modification, length and inode; `None` if there is no file.
type State = (PathBuf, Option<(SystemTime, u64, u64)>);

impl FileWatch {
    /// Of files that have just been read.
    pub(crate) fn new(files: &[PathBuf]) -> Self {
        let mut watch = Self::default();
        watch.loaded(files);
        watch
    }

    /// The files have just been read.
    pub(crate) fn loaded(&mut self, files: &[PathBuf]) {
        self.loaded = states(files);
        self.last.clone_from(&self.loaded);
    }

    /// Whether they have changed, and not again since this was last asked: an editor, or a volume
    /// that is being updated, is given time to finish.
    pub(crate) fn has_settled(&mut self, files: &[PathBuf]) -> bool {
        let now = states(files);
        let settled = now != self.loaded && now == self.last;
        self.last = now;
        settled
    }
}

fn states(files: &[PathBuf]) -> Vec<State> {
    let state = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.iter().map(|file| (file.clone(), state(file))).collect()
}
