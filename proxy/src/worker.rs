//! A worker: one thread, one current-thread runtime, its own listeners, upstream links, deadlines
//! and records.
//!
//! Whatever a request touches is either here or in [`Shared`], which holds what has to be one for
//! the whole process: the limiter, the certificates, the connection counts.

mod admission;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::body::Bounds;
use crate::clock::Clock;
use crate::compression;
use crate::config::{AccessLog, Limits, RouteLimits};
use crate::connection;
use crate::deadline::{Deadlines, TICK};
use crate::listener::{self, Key, Opened};
use crate::nonce;
use crate::policy::rate_limit::{Limiter, Ring};
use crate::record::{RecordBuffer, RecordSink};
use crate::reload::Change;
use crate::reports::{Intake, Reports};
use crate::server::Phase;
use crate::snapshot::{Plan, Snapshot};
use crate::store::{self, Link, Standing};
use crate::telemetry::Counters;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) limiter: Limiter,
    /// What the limiter goes by.
    pub(crate) clock: Clock,
    pub(crate) connections: AtomicUsize,
    pub(crate) peers: DashMap<IpAddr, usize>,
    pub(crate) reports: Reports,
    /// How the shared store is, if there is one.
    pub(crate) standing: Option<Arc<Standing>>,
}

/// The state of one worker.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    snapshot: RefCell<Rc<Snapshot>>,
    /// Of the snapshot.
    limits: Cell<Limits>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) records: RecordBuffer,
    pub(crate) rejections: Arc<Ring>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) draining: Cell<bool>,
    pub(crate) link: Option<Rc<Link>>, // to the shared store
    pub(crate) encoders: Rc<compression::Room>,
    pub(crate) pages: Rc<nonce::Room>,
    pub(crate) intake: Intake,
    /// Where heads are read to before they are anybody's, and what nobody wants.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// The same moment on both clocks, at the last tick.
    clocks: Cell<(Instant, SystemTime)>,
    /// The `Date` of responses, then.
    date: RefCell<HeaderValue>,
}

impl Worker {
    /// Bytes that a connection buffers in each place: what is read from the upstream, and what is
    /// to be encrypted. A client that takes nothing costs some 160 KiB.
    pub(crate) const BUFFER: usize = 62 << 10;

    /// Bytes that a connection buffers encrypted: what is read from the upstream at once, in frames
    /// and TLS records. They fit into the 64 KiB that the kernel sends as one packet (GSO); what is
    /// left over would become a packet of its own, and a large response cost a quarter more. Twice
    /// as much makes it no cheaper.
    pub(crate) const ENCRYPTED: usize = 63 << 10;

    fn new(
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        sink: RecordSink,
        plan: Arc<Plan>,
    ) -> Self {
        let deadlines = Deadlines::new(shared.clock.started());
        let limits = Cell::new(plan.config.limits);
        let records = RecordBuffer::new(sink, plan.config.log.access != AccessLog::Off);
        let link = store::link(&plan.config.store, shared.standing.as_ref());
        let snapshot = Snapshot::new(plan, None, &shared.limiter, &deadlines);
        Self {
            snapshot: RefCell::new(Rc::new(snapshot)),
            limits,
            link,
            records,
            rejections: shared.limiter.recent.ring(),
            draining: Cell::new(false),
            encoders: compression::Room::new(&counters),
            pages: nonce::Room::new(&counters),
            intake: Intake::new(shared.reports.clone(), Instant::now()),
            scratch: RefCell::new(vec![0; 16 << 10].into()),
            clocks: Cell::new((Instant::now(), wall_clock())),
            date: RefCell::new(http_date(wall_clock())),
            deadlines,
            counters,
            shared,
        }
    }

    /// What the configuration comes to now.
    pub(crate) fn snapshot(&self) -> Rc<Snapshot> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// Takes over a new plan, between two requests.
    fn swap(&self, plan: Arc<Plan>) {
        self.limits.set(plan.config.limits);
        self.records.enable(plan.config.log.access != AccessLog::Off);
        let (before, limiter) = (self.snapshot(), &self.shared.limiter);
        let next = Snapshot::new(plan, Some(&before), limiter, &self.deadlines);
        self.snapshot.replace(Rc::new(next));
    }

    /// The limits now; connections follow a reload.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// What a request body may cost on a route.
    pub(crate) fn bounds(&self, route: &RouteLimits) -> Bounds {
        let grace = self.limits().header_timeout;
        Bounds { bytes: route.body_bytes, min_rate: route.body_min_rate, grace }
    }

    /// A moment by the limiter's clock.
    pub(crate) fn now(&self, at: Instant) -> u64 {
        self.shared.clock.at(at)
    }

    /// The wall clock at a recent moment, for records: one clock is read per request, not two. A
    /// clock that is set shows after a tick.
    pub(crate) fn wall_clock(&self, at: Instant) -> SystemTime {
        let (instant, wall) = self.clocks.get();
        wall + at.saturating_duration_since(instant)
    }

    /// The `Date` of a response (RFC 9110, 6.6.1), as of the last tick.
    pub(crate) fn date(&self) -> HeaderValue {
        self.date.borrow().clone()
    }
}

/// Runs a worker until the drain begins and its connections are done.
pub(crate) fn run(
    shared: Arc<Shared>,
    change: Change,
    changes: mpsc::Receiver<Change>,
    counters: Arc<Counters>,
    sink: RecordSink,
    phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let worker = Rc::new(Worker::new(shared, counters, sink, Arc::clone(&change.plan)));
    runtime.block_on(work(worker, change, changes, phase))
}

async fn work(
    worker: Rc<Worker>,
    first: Change,
    mut changes: mpsc::Receiver<Change>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let mut accepting = Vec::new();
    if let Some(link) = &worker.link {
        link.start().await;
    }
    listen(&worker, &mut accepting, first.listeners).await?;
    _ = first.done.send(());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => tick(&worker),
            Some(change) = changes.recv() => {
                worker.swap(change.plan);
                listen(&worker, &mut accepting, change.listeners).await?;
                _ = change.done.send(());
            }
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
        }
    }
    for (_, task) in accepting {
        task.abort();
    }
    worker.draining.set(true);
    worker.deadlines.wake_all();
    let deadline = Instant::now() + worker.snapshot().plan.config.listen.drain_timeout;
    while worker.counters.open() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
        worker.deadlines.tick(Instant::now());
        worker.records.flush();
    }
    if worker.counters.open() > 0 {
        tracing::warn!(
            connections = worker.counters.open(),
            "drain_timeout is over; closing what is left"
        );
    }
    Ok(())
}

/// Accepts on new listeners, and no longer on those that the snapshot does not have.
async fn listen(
    worker: &Rc<Worker>,
    accepting: &mut Vec<(Key, JoinHandle<()>)>,
    opened: Vec<Opened>,
) -> io::Result<()> {
    for Opened { key, socket } in opened {
        let accepts = accept(Rc::clone(worker), TcpListener::from_std(socket)?, key.secure);
        accepting.push((key, tokio::task::spawn_local(accepts)));
    }
    let wanted: Vec<Key> = listener::keys(&worker.snapshot().plan.config.listen).collect();
    for (_, task) in accepting.extract_if(.., |(key, _)| !wanted.contains(key)) {
        task.abort();
        _ = task.await; // its socket is closed now
    }
    Ok(())
}

/// The chores of a worker: deadlines four times a second; records and idle links as often, which
/// costs next to nothing.
fn tick(worker: &Worker) {
    let (now, wall) = (Instant::now(), wall_clock());
    worker.clocks.set((now, wall));
    worker.date.replace(http_date(wall));
    worker.deadlines.tick(now);
    worker.counters.beats.add(1);
    worker.records.flush();
    worker.snapshot.borrow().tick();
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, secure: bool) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let serving = connection::serve(Rc::clone(&worker), stream, peer, secure);
                tokio::task::spawn_local(connection::Contained::new(&worker, serving));
            }
            // The client has gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // There are no descriptors left, most likely: that may not end the listener.
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "cannot accept connections; trying on");
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn http_date(wall: SystemTime) -> HeaderValue {
    let moment = Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
    date.ok()
        .and_then(|date| HeaderValue::try_from(date).ok())
        .unwrap_or(HeaderValue::from_static(""))
}

/// The wall clock, for records and certificates; decisions never look at it.
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
