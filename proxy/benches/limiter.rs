//! What the limiter costs: nanoseconds of a decision, bytes of a key, the longest pause of a sweep,
//! and what fifty million keys that come once do to it.
//!
//! `cargo bench -p gatehouse --bench limiter`; with `-- FLOOD`, that many keys instead of fifty
//! million. Budgets: a decision of three rules 400 ns, a sweep 1 ms at a million keys, memory flat
//! in a flood. Times are of this thread on a processor: what else the machine does is not in them,
//! except for what it takes of the caches.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use gatehouse::config;
use gatehouse::policy::rate_limit::{Facts, Limiter, Rules};
use http::{HeaderMap, Method};
use rustix::time::{ClockId, clock_gettime};

/// The program's: what it costs to let go of a million keys is the allocator's doing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECOND: u64 = 1_000_000_000;
const SECRET: [u8; 16] = [7; 16];

fn main() {
    let flood = std::env::args().find_map(|argument| argument.parse().ok());
    decisions();
    live_keys();
    one_shot_keys(flood.unwrap_or(50_000_000));
}

/// A limiter with the rules of a file.
fn limiter(memory: u64, rules: &str) -> (Limiter, Rules) {
    let site = "[[site]]\nhosts = [\"localhost\"]\nupstream = \"http://127.0.0.1:1\"\n";
    let config = config::load_text(Path::new("bench"), &format!("{site}{rules}"), &|_| None);
    let limiter = Limiter::new(memory, SECRET);
    let rules = Rules::new(&config.unwrap(), &limiter, None);
    (limiter, rules)
}

struct Asking {
    method: Method,
    fields: HeaderMap,
}

impl Asking {
    fn new() -> Self {
        Self { method: Method::GET, fields: HeaderMap::new() }
    }

    fn facts(&self, client: u32) -> Facts<'_> {
        let client = IpAddr::V4(Ipv4Addr::from_bits(client));
        Facts {
            ip: client,
            client,
            method: &self.method,
            host: "localhost",
            path: "/api/projects/7",
            fields: &self.fields,
            site: 0,
            route: None,
        }
    }
}

/// Three rules hold each request of one, a hundred or ten thousand clients. The counts of the last
/// do not fit into a core's cache.
fn decisions() {
    for clients in [1, 100, 10_000] {
        let (nanoseconds, admitted) = decision(clients);
        println!(
            "a decision of three rules, {clients:>6} clients {nanoseconds:>6} ns   ({admitted} \
             admitted)"
        );
    }
}

fn decision(clients: u32) -> (u128, u32) {
    const REQUESTS: u32 = 5_000_000;
    let (limiter, rules) = limiter(
        64 << 20,
        "[[rate_limit]]\nname = \"global\"\nlimit = 100\nwindow = \"60s\"\n\
         [[rate_limit]]\nname = \"project\"\nlimit = 20\nwindow = \"10s\"\n\
         key = [\"ip\", \"path\"]\n\
         match = { path = \"/api/projects/{id}\" }\n\
         [[rate_limit]]\nname = \"everybody\"\nlimit = 1000000\nwindow = \"1s\"\n\
         key = \"global\"\n",
    );
    let asking = Asking::new();
    let mut admitted = 0_u32;
    // A client comes every second; after the first minute nothing is made any more.
    let mut run = |requests: std::ops::Range<u32>| {
        let started = cpu();
        for request in requests.clone() {
            let now = u64::from(request) * SECOND / u64::from(clients);
            let decision = limiter.decide(&rules, &asking.facts(request % clients), now);
            admitted += u32::from(decision.admits());
        }
        (cpu() - started).as_nanos() / u128::from(requests.end - requests.start)
    };
    run(0..1_000_000);
    let nanoseconds = run(1_000_000..1_000_000 + REQUESTS);
    (nanoseconds, admitted)
}

/// A million clients of a `100 per minute` rule, at their fullest.
fn live_keys() {
    const KEYS: u32 = 1_000_000;
    let before = resident();
    let rule = "[[rate_limit]]\nname = \"global\"\nlimit = 100\nwindow = \"60s\"\n";
    let (limiter, rules) = limiter(2 << 30, rule);
    let asking = Asking::new();
    for (seen, requests) in [("counted once", 1), ("at their fullest", 99)] {
        for client in 0..KEYS {
            for _ in 0..requests {
                assert!(limiter.decide(&rules, &asking.facts(client), SECOND).admits());
            }
        }
        let counted = limiter.bytes() as u64 / u64::from(KEYS);
        let resident = (resident() - before) / u64::from(KEYS);
        println!("bytes a key, {seen:16}     {counted:>12} counted, {resident} resident");
    }
    assert!(!limiter.decide(&rules, &asking.facts(7), SECOND).admits());
    assert_eq!((limiter.keys(), limiter.evicted()), (KEYS as usize, 0));
    for (what, now) in [("sweep, nothing expired", 2), ("sweep, all expired", 100)] {
        let pauses = (0..Limiter::turns()).map(|turn| {
            let started = cpu();
            limiter.sweep(turn, now * SECOND);
            cpu() - started
        });
        let longest = pauses.max().unwrap_or(Duration::ZERO).as_micros();
        println!("longest pause, {what:22} {longest:>8} µs");
    }
    assert_eq!(limiter.keys(), 0);
}

/// Keys that come once, and one honest client among them that uses up its limit.
fn one_shot_keys(flood: u32) {
    let rule = "[[rate_limit]]\nname = \"global\"\nlimit = 100\nwindow = \"1h\"\n";
    let (limiter, rules) = limiter(64 << 20, rule);
    let asking = Asking::new();
    let mut honest = 0;
    let started = cpu();
    for client in 0..flood {
        let now = u64::from(client) * 1_000; // a million a second
        assert!(limiter.decide(&rules, &asking.facts(client), now).admits());
        // The table is full when it comes.
        if client >= 1_000_000 && client % 1_000 == 0 {
            let decision = limiter.decide(&rules, &asking.facts(u32::MAX), now);
            honest += u32::from(decision.admits());
        }
        if client % 10_000_000 == 9_999_999 {
            let (keys, resident) = (limiter.keys(), resident() >> 20);
            let millions = client / 1_000_000 + 1;
            println!("after {millions:>3} million one-shot keys  {keys:>12} keys, {resident} MiB");
        }
    }
    let each = (cpu() - started).as_nanos() / u128::from(flood.max(1));
    println!("a one-shot key in a full table    {each:>12} ns   ({} given up)", limiter.evicted());
    println!("of one client, 100 an hour        {honest:>12} admitted");
}

/// What this thread has used of a processor.
fn cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Bytes of resident memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
