//! What browsers report of a Content-Security-Policy: received on the site itself, kept for
//! `/api/csp` and `gatehouse csp`.
//!
//! Anybody can send a report, so nothing in one is trusted: it must name a page of the site that it
//! was sent to, its strings are cut, queries and fragments are left out. A worker takes so many in
//! ten seconds, in all and of one client; the table holds so many distinct ones, and forgets what
//! was reported least for what is new. What is forgotten, or not taken, is counted.
//!
//! Workers read and parse; a thread of its own merges, and adds what is new to a file in the
//! directory of the certificate store every few seconds. Requests wait for neither. Where the store
//! is no directory, reports are kept in memory only.

mod file;
mod parse;
mod receive;
mod table;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use self::file::{File, OLDEST};
pub(crate) use self::receive::{Intake, Receiving};
pub(crate) use self::table::{Entry, Table, Violation};

/// Reports that may wait for the thread.
const WAITING: usize = 1_024;

/// How often the file is brought up to date.
const PERIOD: Duration = Duration::from_secs(5);

/// What everybody who has to do with reports shares.
#[derive(Clone)]
pub(crate) struct Reports {
    violations: SyncSender<Violation>,
    table: Arc<Mutex<Table>>,
    /// Those that were too many.
    dropped: Arc<AtomicU64>,
}

/// What `/api/csp` says.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    reports: Vec<Entry>,
    dropped: u64,
}

impl Reports {
    /// Starts the thread, which ends when nobody is left to report to it. The file, if there is to
    /// be one, is in `folder`.
    pub(crate) fn start(folder: Option<&Path>) -> io::Result<(Self, JoinHandle<()>)> {
        let (violations, reported) = sync_channel(WAITING);
        let (table, dropped) = (Arc::<Mutex<Table>>::default(), Arc::default());
        let reports = Self { violations, table: Arc::clone(&table), dropped: Arc::clone(&dropped) };
        let file = folder.map(File::new).transpose()?;
        let run = move || keep(&reported, &table, &dropped, file);
        let thread = std::thread::Builder::new().name("csp-reports".to_owned()).spawn(run)?;
        Ok((reports, thread))
    }

    /// Hands a violation over, or counts it.
    fn report(&self, violation: Violation) {
        if self.violations.try_send(violation).is_err() {
            self.drop(1);
        }
    }

    fn drop(&self, number: u64) {
        self.dropped.fetch_add(number, Ordering::Relaxed);
    }

    /// Everything that is known, the most frequent first.
    pub(crate) fn overview(&self) -> Overview {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        Overview { reports: table.entries(), dropped: self.dropped.load(Ordering::Relaxed) }
    }
}

/// The life of the thread.
fn keep(
    reported: &Receiver<Violation>,
    table: &Mutex<Table>,
    dropped: &AtomicU64,
    mut file: Option<File>,
) {
    let lock = || table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = &mut file {
        file.load(&mut lock(), now());
    }
    let mut written = Instant::now();
    loop {
        let ended = match reported.recv_timeout(PERIOD) {
            Ok(violation) => {
                if !lock().add(violation, now()) {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if ended || written.elapsed() >= PERIOD {
            lock().forget(now().saturating_sub(OLDEST));
            let batch = lock().unsaved();
            if let Some(file) = file.as_mut().filter(|_| !batch.is_empty())
                && file.add(&batch, now())
            {
                lock().saved();
            }
            written = Instant::now();
        }
        if ended {
            return;
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
