//! Starting and stopping: sockets, workers, the control thread.
//!
//! Everything that can fail fails in [`Server::start`], in the order of what an operator would want
//! to hear first, and before the first connection is accepted.

mod signals;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::thread::JoinHandle;

use dashmap::DashMap;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};

use self::signals::Signals;
use crate::acme::Issuance;
use crate::admin::{self, AdminSocket, Command, Control};
use crate::application::{Application, Supervised};
use crate::clock::Clock;
use crate::config::{AdminAddress, Config};
use crate::listener::{ListenError, Sockets};
use crate::policy::rate_limit::Limiter;
use crate::ramp::Ramps;
use crate::record::RecordSink;
use crate::reload::{Change, FileWatch, Refused, Reloaded};
use crate::reports::Reports;
use crate::snapshot::Plan;
use crate::supervisor::{self, News};
use crate::telemetry::{self, Counters};
use crate::tls::Policies;
use crate::tls::internal::InternalError;
use crate::upstream::{Kept, Standing};
use crate::worker::{self, Shared};

/// Gatehouse cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificate store, or the development CA in it, cannot be used.
    #[error(transparent)]
    Internal(#[from] InternalError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// rustls refuses the configuration.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Records cannot be written.
    #[error("log.access: {0}")]
    Log(io::Error),
    /// The command of the application cannot be started.
    #[error("cannot start the application: {0}")]
    Application(io::Error),
    /// The operating system gives no thread or no event queue.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// The addresses that a server listens on; where the configuration says port 0, the port that was
/// found.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: Option<AdminAddress>,
}

/// What all threads follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new is accepted; what is in flight may finish.
    Draining,
    /// The workers are done.
    Stopped,
}

/// Commands that may wait for the control thread.
const COMMANDS: usize = 16;

type Thread = JoinHandle<io::Result<()>>;

fn spawn(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<Thread> {
    std::thread::Builder::new().name(name).spawn(run)
}

/// A running Gatehouse.
pub struct Server {
    addresses: Addresses,
    phase: watch::Sender<Phase>,
    commands: mpsc::Sender<Command>,
    workers: Vec<Thread>,
    control: Option<Thread>,
    writers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the store and the sockets and starts the threads. When it returns, connections are
    /// accepted.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left running or listening.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let files = FileWatch::new(&config.files);
        let issuance = Issuance::open(&config, worker::wall_clock())?;
        announce(&config, &issuance);
        let ramps = Ramps::open(&config);
        let tls = Policies::new(&config, &issuance.credentials, None)?;
        let kept = Kept::read(&config).map_err(InternalError::Store)?;
        let standings = Standing::all(&config, None, &kept)?;
        let workers = config.listen.workers;
        let (sockets, listeners) = Sockets::inherit()?.open(&config.listen, workers)?;
        sockets.warn_of_unclaimed();
        let admin = AdminSocket::bind(&config.listen)?;
        let addresses = Addresses {
            http: sockets.addresses(false),
            https: sockets.addresses(true),
            admin: admin.address(),
        };
        let dropped = Arc::new(AtomicU64::new(0));
        let (records, writer) =
            RecordSink::open(&config.log.access, Arc::clone(&dropped)).map_err(StartError::Log)?;
        let (reports, keeper) = Reports::start(config.tls.folder())?;
        let shared = Arc::new(Shared {
            limiter: Limiter::new(config.rate_limits.memory, Limiter::secret()),
            clock: Clock::new(),
            connections: AtomicUsize::new(0),
            peers: DashMap::new(),
            reports,
            standing: config.store.redis.is_some().then(Arc::default),
        });
        let phase = watch::Sender::new(Phase::Serving);
        let https_port = sockets.https_port();
        let challenges = Arc::clone(&issuance.challenges);
        let door = Arc::clone(&issuance.approvals.door);
        let plan = Plan { config, tls, challenges, door, https_port, generation: 0, standings };
        let plan = Arc::new(plan);
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let mut control = Control {
            shared: Arc::clone(&shared),
            plan: RefCell::new(Arc::clone(&plan)),
            sockets: RefCell::new(sockets),
            workers: Vec::new(),
            records: records.clone(),
            commands: commands.clone(),
            counters: Vec::new(),
            issuance,
            ramps: RefCell::new(ramps),
            dropped,
            phase: phase.clone(),
        };
        let mut server = Self {
            addresses,
            phase,
            commands,
            workers: Vec::new(),
            control: None,
            writers: vec![writer, keeper],
        };
        for (index, listeners) in listeners.into_iter().enumerate() {
            let counters = Arc::new(Counters::default());
            control.counters.push(Arc::clone(&counters));
            let (changes, changed) = mpsc::channel(1);
            control.workers.push(changes);
            let (shared, records) = (Arc::clone(&shared), records.clone());
            let (plan, phase) = (Arc::clone(&plan), server.phase.subscribe());
            let first = Change { plan, listeners, done: oneshot::channel().0 };
            let run = move || worker::run(shared, first, changed, counters, records, phase);
            server.workers.push(spawn(format!("worker-{index}"), run)?);
        }
        let run = move || admin::run(control, commanded, files, admin);
        server.control = Some(spawn("control".to_owned(), run)?);
        Ok(server)
    }

    /// Reads the configuration file anew and swaps it in, or refuses it whole.
    ///
    /// # Errors
    ///
    /// See [`Refused`]; the old configuration then stays in use.
    pub async fn reload(&self) -> Result<Reloaded, Refused> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(Command::Reload(reply)).await.map_err(|_| Refused::Stopping)?;
        outcome.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Stops accepting, lets requests in flight finish within `drain_timeout`, writes what is left
    /// of the records.
    ///
    /// # Errors
    ///
    /// When a thread had failed.
    pub fn drain(mut self) -> io::Result<()> {
        self.phase.send_replace(Phase::Draining);
        let ended = |thread: Thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        };
        let mut outcome = self.workers.drain(..).map(ended).fold(Ok(()), Result::and);
        self.phase.send_replace(Phase::Stopped);
        outcome = self.control.take().map_or(Ok(()), ended).and(outcome);
        self.writers.drain(..).for_each(|writer| drop(writer.join()));
        outcome
    }
}

impl Drop for Server {
    /// A server that is dropped drains in the background.
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
    }
}

/// Serves until TERM or INT, then drains. A second signal ends the process at once. The
/// application, if there is one, begins after the listeners and ends after the last request.
///
/// # Errors
///
/// See [`StartError`].
pub fn run(config: Config, application: Option<Application>) -> Result<(), StartError> {
    telemetry::init(config.log.level);
    let patience = config.listen.drain_timeout;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // From here on a signal is heard, however early it comes.
    let mut heard = runtime.block_on(async { Signals::hear() })?;
    let server = Server::start(config)?;
    let application =
        application.map(Application::start).transpose().map_err(StartError::Application)?;
    let Addresses { http, https, admin } = server.addresses();
    tracing::info!(?http, ?https, ?admin, "serving");
    supervisor::tell(News::Ready);
    let stopped_by = runtime.block_on(heard.until_stopped(&server));
    tracing::info!(by = stopped_by, "draining; a second signal ends at once");
    supervisor::tell(News::Stopping);
    let kill = application.as_ref().map(Supervised::killer);
    std::thread::spawn(move || {
        runtime.block_on(signals::second());
        if let Some(kill) = kill {
            kill();
        }
        std::process::exit(130);
    });
    let drained = server.drain();
    if let Some(application) = application {
        application.stop(patience);
    }
    drained?;
    tracing::info!("stopped");
    Ok(())
}

/// What the operator has to know about certificates.
fn announce(config: &Config, issuance: &Issuance) {
    issuance.announce(config);
    if issuance.vault.shared().is_some_and(|shared| !shared.is_sealed()) {
        tracing::warn!("private keys are kept unencrypted in the store; set GATEHOUSE_STORE_KEY");
    }
}
