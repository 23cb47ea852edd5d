//! What it costs to decide by the store that instances share: decisions a second that one thread
//! and one Redis come to, and how long each waits.
//!
//! `cargo bench -p gatehouse --bench shared` starts a `redis-server` of its own. Budgets, with a
//! core for each of the two: 50,000 decisions a second, and a 99th percentile of 1 ms.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse::config;
use gatehouse::policy::rate_limit::{Facts, Limiter, Rules, Verdict};
use gatehouse::store::{self, Link};
use http::{HeaderMap, Method};
use tokio::runtime::{Builder, LocalOptions};

#[path = "../tests/it/harness/redis.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod redis;

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SITE: &str = "[[site]]\nhosts = [\"localhost\"]\nupstream = \"http://127.0.0.1:1\"\n";

/// None of them rejects: a rejection is remembered here, and not asked for again.
const RULES: &str = "[[rate_limit]]\nname = \"global\"\nlimit = 900\nwindow = \"60s\"\n\
                     [[rate_limit]]\nname = \"project\"\nlimit = 100\nwindow = \"10s\"\n\
                     key = [\"ip\", \"path\"]\n\
                     [[rate_limit]]\nname = \"everybody\"\nlimit = 1000000\nwindow = \"1s\"\n\
                     key = \"global\"\n";

const CLIENTS: u32 = 10_000;
const DECISIONS: u32 = 200_000;

fn main() {
    let one = RULES.split_inclusive('\n').take(4).collect::<String>();
    for (rules, text) in [(1, &*one), (3, RULES)] {
        for under_way in [1, 16, 256] {
            measure(rules, text, under_way);
        }
    }
}

fn measure(count: usize, text: &str, under_way: usize) {
    let redis = redis::Redis::start();
    let text = format!("{SITE}[store]\nredis = \"{}\"\n{text}", redis.url());
    let config = config::load_text(Path::new("bench"), &text, &|_| None).unwrap();
    let limiter = Limiter::new(64 << 20, [7; 16]);
    let rules = Rules::new(&config, &limiter, None);
    let link = store::link(&config.store, Some(&Arc::default())).unwrap();
    let started = Instant::now();
    let (next, waits) = (Cell::new(0), RefCell::default());
    let asking = Rc::new(Asking { limiter, rules, link, started, next, waits });
    let options = LocalOptions::default();
    let runtime = Builder::new_current_thread().enable_all().build_local(options).unwrap();
    let elapsed = runtime.block_on(async {
        Rc::clone(&asking.link).start().await;
        assert!(asking.link.is_up(), "there is no link to Redis");
        let started = Instant::now();
        let ask = |_| tokio::task::spawn_local(Rc::clone(&asking).ask());
        let tasks: Vec<_> = (0..under_way).map(ask).collect();
        for task in tasks {
            task.await.unwrap();
        }
        started.elapsed()
    });
    let mut waits = asking.waits.take();
    waits.sort_unstable();
    let wait = |percent: usize| waits.get(waits.len() * percent / 100).unwrap().as_micros();
    println!(
        "{count} rules, {under_way:>3} under way: {:>7.0} decisions/s, p50 {:>5} µs, p99 {:>5} µs",
        f64::from(DECISIONS) / elapsed.as_secs_f64(),
        wait(50),
        wait(99),
    );
}

struct Asking {
    limiter: Limiter,
    rules: Rules,
    link: Rc<Link>,
    started: Instant,
    /// The next request.
    next: Cell<u32>,
    waits: RefCell<Vec<Duration>>,
}

impl Asking {
    /// Has one request decided after the other.
    async fn ask(self: Rc<Self>) {
        while self.next.get() < DECISIONS {
            let request = self.next.replace(self.next.get() + 1);
            let asked = Instant::now();
            assert!(self.decide(request % CLIENTS).await, "request {request} was rejected");
            self.waits.borrow_mut().push(asked.elapsed());
        }
    }

    async fn decide(&self, client: u32) -> bool {
        let Self { limiter, rules, link, .. } = self;
        let client = IpAddr::V4(Ipv4Addr::from_bits(client));
        let fields = HeaderMap::new();
        let facts = Facts {
            ip: client,
            client,
            method: &Method::GET,
            host: "localhost",
            path: "/api/projects/7",
            fields: &fields,
            site: 0,
            route: None,
        };
        let now = || u64::try_from(self.started.elapsed().as_nanos()).unwrap();
        let decision = match limiter.consult(rules, &facts, link, now()) {
            Verdict::Decided(decision) => decision,
            Verdict::Ask(question) => {
                let answer = question.ask(link).await;
                assert!(answer.is_ok(), "the store does not answer");
                limiter.conclude(rules, &facts, question, answer, link, now())
            }
        };
        decision.unwrap().admits()
    }
}
