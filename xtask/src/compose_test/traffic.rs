//! A client that asks without a pause while something is done to the stack, and what it was told.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests at a time.
const CLIENTS: usize = 3;

/// How many requests got which status; 0 is no answer at all.
pub(crate) type Answers = BTreeMap<u16, u32>;

/// Does `work` while clients ask `url`, each request on a connection of its own.
pub(crate) fn during(
    url: &str,
    ca: &str,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Answers> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut answers = Answers::new();
            while !stop.load(Ordering::Relaxed) {
                *answers.entry(status(url, ca)).or_default() += 1;
            }
            answers
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let mut all = Answers::new();
        for answers in clients.into_iter().filter_map(|client| client.join().ok()) {
            for (status, count) in answers {
                *all.entry(status).or_default() += count;
            }
        }
        done.map(|()| all)
    })
}

/// One request, given up after ten seconds.
fn status(url: &str, ca: &str) -> u16 {
    let mut command = Command::new("curl");
    command.args(["--silent", "--output", "/dev/null", "--max-time", "10"]);
    command.args(["--write-out", "%{http_code}", "--cacert", ca, url]).stdin(Stdio::null());
    let answer = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&answer).parse().unwrap_or(0)
}
