//! The link of one thread to the store: up or down, and who finds out.
//!
//! A link is *up* while the store answers. Questions are then pipelined on one connection, each
//! with a deadline, and so many at most at a time. It goes *down* with the connection, with an
//! answer that says that the store cannot do its work (read-only, full, failing over), or with a
//! few deadlines missed in a row; what is asked then fails at once.
//!
//! It comes back by probes: a probe is what a question is, a script that reads and writes. After a
//! failure a few must succeed in a row, each within the deadline of a question, so that a store
//! that comes and goes is left alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Standing;
use super::connect::Connection;
use crate::config::Redis;

/// Questions of one thread that are under way at a time.
const UNDER_WAY: usize = 4_096;

/// Deadlines missed in a row after which a link is down.
const STRIKES: u32 = 3;

/// How long the start of a thread waits for its link.
const START: Duration = Duration::from_secs(1);

/// How often a link that is up says that its instance is alive.
const BEAT: Duration = Duration::from_secs(1);

/// How long an instance counts as alive after its last beat.
const ALIVE: Duration = Duration::from_secs(5);

/// Probes in a row that bring a link back, and the time between them.
const PROBES: u32 = 3;
const BETWEEN_PROBES: Duration = Duration::from_millis(100);

/// How long to wait before connecting again: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A script of the store's, known to it by its digest once it has run.
pub(crate) struct Script {
    text: String,
    digest: String,
}

impl Script {
    /// Of parts that follow one another.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let text = parts.join("\n");
        Self { digest: redis::Script::new(&text).get_hash().to_owned(), text }
    }

    /// A call with `keys`, to which arguments are added.
    pub(crate) fn call(&self, known: bool, keys: usize) -> Cmd {
        let mut command = redis::cmd(if known { "EVALSHA" } else { "EVAL" });
        command.arg(if known { &self.digest } else { &self.text }).arg(keys);
        command
    }
}

/// The store did not answer: not in time, not at all, or with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence;

/// The link of one thread.
pub struct Link {
    redis: Redis,
    standing: Arc<Standing>,
    /// How long a question may take.
    patience: Duration,
    /// There is one while the link is up, and its number.
    connection: RefCell<Option<Connection>>,
    generation: Cell<u64>,
    /// Shared by all instances, so that they hash alike and nobody else does.
    secret: Cell<[u8; 16]>,
    under_way: Cell<usize>,
    strikes: Cell<u32>,
    fell: Notify,
}

/// A question's place among those under way.
struct Place<'a>(&'a Link);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get().saturating_sub(1));
    }
}

impl Link {
    /// A link that is down until [`Self::start`].
    pub(crate) fn new(redis: Redis, patience: Duration, standing: Arc<Standing>) -> Rc<Self> {
        standing.links.fetch_add(1, Ordering::Relaxed);
        Rc::new(Self {
            redis,
            standing,
            patience,
            connection: RefCell::default(),
            generation: Cell::new(0),
            secret: Cell::default(),
            under_way: Cell::new(0),
            strikes: Cell::new(0),
            fell: Notify::new(),
        })
    }

    /// Whether it is worth asking.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// The secret of all instances; known once the link has been up.
    pub(crate) fn secret(&self) -> [u8; 16] {
        self.secret.get()
    }

    /// What the links of this instance know together.
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Runs a script with `keys` keys; `complete` adds them and the arguments. An answer comes
    /// within the store's timeout, or none.
    pub(crate) async fn ask(
        &self,
        script: &Script,
        keys: usize,
        complete: impl Fn(&mut Cmd),
    ) -> Result<Value, Silence> {
        // Timers are late by up to a millisecond.
        let patience = self.patience.saturating_sub(Duration::from_millis(1));
        let by = Instant::now() + patience.max(Duration::from_millis(1));
        let outcome = self.answer(script, keys, complete, by).await;
        let counter =
            if outcome.is_ok() { &self.standing.answers } else { &self.standing.silences };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn answer(
        &self,
        script: &Script,
        keys: usize,
        complete: impl Fn(&mut Cmd),
        by: Instant,
    ) -> Result<Value, Silence> {
        let generation = self.generation.get();
        let connection = self.connection.borrow().clone();
        let (Some(mut connection), true) = (connection, self.under_way.get() < UNDER_WAY) else {
            return Err(Silence);
        };
        self.under_way.set(self.under_way.get() + 1);
        let _place = Place(self);
        for known in [true, false] {
            let mut command = script.call(known, keys);
            complete(&mut command);
            match timeout_at(by, connection.send(&command)).await {
                Ok(Ok(value)) => {
                    self.strikes.set(0);
                    return Ok(value);
                }
                Ok(Err(error)) if known && is_unknown_script(&error) => {}
                Ok(Err(error)) => {
                    self.fall(generation, &error);
                    return Err(Silence);
                }
                Err(_) => {
                    self.strike(generation);
                    return Err(Silence);
                }
            }
        }
        Err(Silence)
    }

    /// A question that was not asked, because the link is down.
    pub(crate) fn not_asked(&self) {
        self.standing.silences.fetch_add(1, Ordering::Relaxed);
    }

    /// A deadline was missed.
    fn strike(&self, generation: u64) {
        self.strikes.set(self.strikes.get() + 1);
        if self.strikes.get() >= STRIKES {
            self.fall(generation, &"no answers in time");
        }
    }

    /// The connection of this generation is of no use any more.
    fn fall(&self, generation: u64, why: &dyn std::fmt::Display) {
        if self.generation.get() == generation && self.connection.take().is_some() {
            self.standing.link_is_down();
            self.standing.tell(why);
            self.fell.notify_one();
        }
    }

    /// Begins to keep the link up, and waits a moment for it: what is counted before, is counted in
    /// this instance alone.
    pub async fn start(self: &Rc<Self>) {
        let (first, linked) = oneshot::channel();
        tokio::task::spawn_local(Rc::clone(self).keep(first));
        _ = timeout(START, linked).await;
    }

    /// Connects, and keeps the link up as well as can be, for ever. `first` is told when it has
    /// been up or has failed for the first time.
    async fn keep(self: Rc<Self>, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let (mut probes, mut pause) = (1, PAUSES.0);
        loop {
            let connected = self.connect(probes).await;
            let is_up = connected.is_ok();
            match connected {
                Ok(connection) => {
                    self.connection.replace(Some(connection));
                    self.generation.set(self.generation.get() + 1);
                    self.strikes.set(0);
                    self.standing.link_is_up();
                    pause = PAUSES.0;
                }
                Err(error) => self.standing.tell(&error),
            }
            _ = first.take().map(|first| first.send(()));
            if is_up {
                self.beat().await;
            }
            probes = PROBES;
            sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// A connection on which so many probes in a row have been answered in time.
    async fn connect(&self, probes: u32) -> Result<Connection, RedisError> {
        let mut connection = Connection::open(&self.redis).await?;
        // The first may have scripts to load and names to look up.
        timeout(Duration::from_secs(1), self.probe(&mut connection)).await.map_err(late)??;
        for _ in 1..probes {
            sleep(BETWEEN_PROBES).await;
            timeout(self.patience, self.probe(&mut connection)).await.map_err(late)??;
        }
        Ok(connection)
    }

    /// Says that this instance is alive, until the link is down.
    async fn beat(&self) {
        let generation = self.generation.get();
        loop {
            if timeout(BEAT, self.fell.notified()).await.is_ok() {
                return;
            }
            let Some(mut connection) = self.connection.borrow().clone() else { return };
            match timeout(self.patience, self.probe(&mut connection)).await {
                Ok(Ok(())) => self.strikes.set(0),
                Ok(Err(error)) => self.fall(generation, &error),
                Err(_) => self.strike(generation),
            }
        }
    }

    /// Says that this instance is alive, and learns how many are and what secret they share.
    async fn probe(&self, connection: &mut Connection) -> Result<(), RedisError> {
        let mut proposed = self.secret.get();
        if proposed == [0; 16] {
            let filled = aws_lc_rs::rand::fill(&mut proposed);
            filled.map_err(|_| (ErrorKind::Io, "there are no random bits"))?;
        }
        let mut command = redis::cmd("EVAL");
        command.arg(include_str!("alive.lua")).arg(2);
        command.arg("{gatehouse}:instances").arg("{gatehouse}:secret");
        command.arg(self.standing.id).arg(ALIVE.as_secs()).arg(&proposed);
        let (instances, secret): (usize, Vec<u8>) =
            redis::from_redis_value(connection.send(&command).await?)?;
        let secret = <[u8; 16]>::try_from(secret);
        let secret = secret.map_err(|_| (ErrorKind::UnexpectedReturnType, "a foreign secret"))?;
        self.standing.instances.store(instances, Ordering::Relaxed);
        self.secret.set(secret);
        Ok(())
    }
}

fn late(_: tokio::time::error::Elapsed) -> RedisError {
    (ErrorKind::Io, "no answer in time").into()
}

/// Whether the store does not have a script, and has to be sent its text.
pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
