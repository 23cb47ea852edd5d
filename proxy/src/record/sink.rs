//! The way of the lines to where they are kept.

use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::line::ClockText;
use crate::config::AccessLog;

/// The records of one worker that have not been handed to the writer yet.
pub(crate) struct RecordBuffer {
    sink: RecordSink,
    enabled: Cell<bool>,
    lines: RefCell<(Vec<u8>, u64)>,
    clock: RefCell<ClockText>,
}

impl RecordBuffer {
    /// Bytes that are handed over at once.
    const FULL: usize = 64 << 10;

    pub(crate) fn new(sink: RecordSink, enabled: bool) -> Self {
        Self {
            sink,
            enabled: Cell::new(enabled),
            lines: RefCell::default(),
            clock: RefCell::default(),
        }
    }

    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>, &mut ClockText)) {
        if !self.enabled.get() {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        if lines.0.capacity() == 0 {
            lines.0.reserve(Self::FULL + 4_096);
        }
        write(&mut lines.0, &mut self.clock.borrow_mut());
        lines.1 += 1;
        if lines.0.len() >= Self::FULL {
            drop(lines);
            self.flush();
        }
    }

    /// Whether records are written from now on.
    pub(crate) fn enable(&self, enabled: bool) {
        self.enabled.set(enabled);
    }

    /// Hands over what is there.
    pub(crate) fn flush(&self) {
        let (bytes, count) = std::mem::take(&mut *self.lines.borrow_mut());
        if count > 0 {
            self.sink.send(bytes, count);
        }
    }
}

impl Drop for RecordBuffer {
    /// The last records are those of the connections that a drain had to cut off.
    fn drop(&mut self) {
        self.flush();
    }
}

/// What the writer is told.
enum Message {
    Lines(Vec<u8>),
    /// Write to this from now on.
    Output(Output),
}

/// What records are written to.
pub(crate) struct Output(Box<dyn Write + Send>);

/// The way to the writer thread.
#[derive(Clone)]
pub(crate) struct RecordSink {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl RecordSink {
    /// Buffers that may wait for the writer: 4 MiB.
    const QUEUE: usize = 64;

    /// Opens the sink and starts its writer. The handle ends when every clone is gone.
    pub(crate) fn open(
        log: &AccessLog,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let output = Output::open(log)?;
        let (queue, buffers) = sync_channel(Self::QUEUE);
        let lost = Arc::clone(&dropped);
        let writer = std::thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || write_all(output, &buffers, &lost))?;
        Ok((Self { queue, dropped }, writer))
    }

    /// Writes to another output from now on.
    pub(crate) fn redirect(&self, output: Output) -> io::Result<()> {
        let stuck = |_| io::Error::other("the access log takes no more records");
        self.queue.try_send(Message::Output(output)).map_err(stuck)
    }

    fn send(&self, bytes: Vec<u8>, count: u64) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Message::Lines(bytes))
        {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Output {
    /// Opens what is configured; the same file anew, if it was moved away.
    pub(crate) fn open(log: &AccessLog) -> io::Result<Self> {
        let append = |path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(match log {
            AccessLog::Off => Box::new(io::sink()),
            AccessLog::Stdout => Box::new(io::stdout()),
            AccessLog::File(path) => Box::new(append(path)?),
        }))
    }
}

/// Writes until every worker is gone. A sink that fails is named once, until it works again.
fn write_all(mut output: Output, messages: &Receiver<Message>, dropped: &AtomicU64) {
    let mut failing = false;
    while let Ok(message) = messages.recv() {
        let bytes = match message {
            Message::Lines(bytes) => bytes,
            Message::Output(next) => {
                output = next;
                continue;
            }
        };
        match output.0.write_all(&bytes).and_then(|()| output.0.flush()) {
            Ok(()) => failing = false,
            Err(error) => {
                let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
                dropped.fetch_add(lines, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "records cannot be written; dropped and counted");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_does_not_keep_up_costs_records_and_nothing_else() {
        let (queue, buffers) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = RecordSink { queue, dropped: Arc::clone(&dropped) };
        for _ in 0..5 {
            sink.send(b"{}\n{}\n".to_vec(), 2);
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 8);
        assert_eq!(buffers.try_iter().count(), 1);
    }
}
