//! The control thread: the admin listener and the chores that no request waits for.
//!
//! What the listener answers stands in [`api`]; who may ask it, in [`access`].

mod access;
mod activate;
mod api;
mod checks;
mod dashboard;
mod limits;
mod metrics;
mod socket;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::checks::Checks;
pub(crate) use self::socket::AdminSocket;
use self::socket::{Accepting, Stream};
use crate::acme::{Issuance, due, follow};
use crate::listener::Sockets;
use crate::policy::rate_limit::Limiter;
use crate::ramp::Ramps;
use crate::record::RecordSink;
use crate::reload::{Change, FileWatch, Refused, Reloaded, reload};
use crate::server::Phase;
use crate::snapshot::Plan;
use crate::supervisor::Watchdog;
use crate::telemetry::Counters;
use crate::worker::{self, Shared};

/// What the control thread looks after.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: RefCell<Arc<Plan>>,
    pub(crate) sockets: RefCell<Sockets>,
    /// How each worker learns of a new plan.
    pub(crate) workers: Vec<mpsc::Sender<Change>>,
    pub(crate) records: RecordSink,
    /// To this thread itself.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) issuance: Issuance,
    pub(crate) ramps: RefCell<Ramps>,
    /// Records that the sink did not take.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) phase: watch::Sender<Phase>,
}

/// What the control thread is told to do.
pub(crate) enum Command {
    /// Read the configuration anew, and say what came of it.
    Reload(oneshot::Sender<Result<Reloaded, Refused>>),
}

impl Control {
    /// What the configuration comes to now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    /// The moment by the limiter's clock.
    fn now(&self) -> u64 {
        self.shared.clock.at(Instant::now())
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }
}

/// Connections to the admin listener that are served at a time.
const CONNECTIONS: usize = 64;

/// Runs until the workers are done: while they drain, `/readyz` says so.
pub(crate) fn run(
    control: Control,
    mut commands: mpsc::Receiver<Command>,
    mut files: FileWatch,
    socket: AdminSocket,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let control = Rc::new(control);
        tokio::task::spawn_local(listen(Rc::clone(&control), socket.accepting()?));
        tokio::task::spawn_local(follow::follow(Rc::clone(&control)));
        let mut phase = control.phase.subscribe();
        let started = control.shared.clock.started();
        let mut checks = Checks::start(&control.plan(), started);
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watchdog = Watchdog::new(Instant::now());
        for turn in 0_usize.. {
            tokio::select! {
                _ = ticks.tick() => {
                    chores(&control, turn);
                    watchdog.feed(&control.counters, Instant::now());
                    if turn.is_multiple_of(4) && files.has_settled(&control.plan().config.files) {
                        tracing::info!("the configuration file has changed");
                        _ = reload(&control).await;
                        files.loaded(&control.plan().config.files);
                    }
                }
                Some(Command::Reload(reply)) = commands.recv() => {
                    _ = reply.send(reload(&control).await);
                    files.loaded(&control.plan().config.files);
                }
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => break,
            }
            checks.follow(&control.plan(), started);
        }
        control.issuance.retire().await;
        Ok(())
    })
}

/// Sweeps a sixteenth of the limiter's table, so that a round takes four seconds; and begins the
/// renewals that are due.
fn chores(control: &Rc<Control>, turn: usize) {
    let shared = &control.shared;
    shared.clock.tick();
    let now = control.now();
    let share = Limiter::turns() / 16;
    (0..share)
        .for_each(|part| shared.limiter.sweep(turn.wrapping_mul(share).wrapping_add(part), now));
    if turn.is_multiple_of(4) {
        control.issuance.follow(&control.plan().config, worker::wall_clock());
    }
    if turn.is_multiple_of(240) {
        shared.limiter.warn_of_shortage();
        let failing = |site: &str| control.issuance.is_failing(site);
        control.ramps.borrow_mut().climb(&control.plan().config, failing, Instant::now());
    }
    // A CA that looks for a proof would meet nobody.
    if !control.is_draining() {
        due::tick(control, worker::wall_clock());
    }
}

async fn listen(control: Rc<Control>, listener: Accepting) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        let (Ok(stream), Ok(permit)) = (accepted, Arc::clone(&room).try_acquire_owned()) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let control = Rc::clone(&control);
        tokio::task::spawn_local(async move {
            let _permit = permit;
            match stream {
                Stream::Tcp(stream) => serve(control, stream).await,
                Stream::Unix(stream) => serve(control, stream).await,
            }
        });
    }
}

async fn serve(control: Rc<Control>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request| {
        let control = Rc::clone(&control);
        async move { Ok::<_, Infallible>(api::answer(&control, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection");
    }
}
