//! `cargo xtask bench proxy`: Gatehouse beside Debian's nginx and HAProxy, on this machine.
//!
//! The proxy has core 0 for itself; the load and a cheap upstream share core 1. Every run starts
//! its proxy afresh, and the runs of the proxies alternate, so that a machine that grows slower
//! does so for all of them. What counts is the CPU time of the proxy's process tree: on a small
//! machine wall-clock time measures the load generator.

pub(crate) mod db;
mod lab;
mod load;
mod proxy;
mod scenario;
mod table;
mod usage;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::interrupt::{self, Interrupted};
use crate::process::Running;
use lab::Lab;
use load::named;
use proxy::Proxy;
use scenario::{Load, SCENARIOS, Scenario};
use table::{Results, Sample, figure};
use usage::Meter;

const IDLE_CONNECTIONS: u32 = 5000;
/// A run during which others used more of the proxy's core is repeated.
const MAX_FOREIGN: f64 = 0.08;
const ATTEMPTS: usize = 3;

/// What the command line asked for.
pub(crate) struct Options {
    repetitions: usize,
    seconds: f64,
    scenarios: Vec<&'static Scenario>,
    proxies: Vec<Proxy>,
    json: Option<PathBuf>,
}

pub(crate) fn help() -> String {
    let mut help = "\
cargo xtask bench proxy [OPTIONS]

Measures Gatehouse (release build) beside Debian's nginx and HAProxy. Needs two cores, and a
machine that does nothing else. nginx, haproxy, wrk, nghttp2-client and openssl are installed with
apt-get where that is possible.

  --reps N             runs of each, of which the median is shown (3)
  --secs N             seconds of each run (4)
  --scenarios A,B,..   only these (all)
  --proxies A,B,..     only these of nginx, haproxy, gatehouse (all)
  --json FILE          write every sample there, too

Scenarios:
"
    .to_owned();
    for scenario in &SCENARIOS {
        let _ = writeln!(help, "  {:10} {}", scenario.name, scenario.title);
    }
    help
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            repetitions: 3,
            seconds: 4.0,
            scenarios: SCENARIOS.iter().collect(),
            proxies: Proxy::ALL.to_vec(),
            json: None,
        };
        for pair in args.chunks(2) {
            let [option, value] = pair else { bail!("{} takes a value", pair.concat()) };
            match *option {
                "--reps" => options.repetitions = value.parse().context("--reps takes a number")?,
                "--secs" => options.seconds = value.parse().context("--secs takes a number")?,
                "--scenarios" => options.scenarios = listed(value, &SCENARIOS, |s| s.name)?,
                "--proxies" => {
                    let proxies = listed(value, &Proxy::ALL, |proxy| proxy.name())?;
                    options.proxies = proxies.into_iter().copied().collect();
                }
                "--json" => options.json = Some(PathBuf::from(value)),
                unknown => bail!("no such option of `bench proxy`: {unknown}"),
            }
        }
        if options.repetitions == 0 || !(1.0..=60.0).contains(&options.seconds) {
            bail!("--reps starts at 1, and --secs is from 1 to 60");
        }
        Ok(options)
    }
}

/// The items that a list of names, divided by commas, picks.
fn listed<'a, T>(
    names: &str,
    all: &'a [T],
    name_of: impl Fn(&T) -> &'static str,
) -> anyhow::Result<Vec<&'a T>> {
    let pick = |name: &str| {
        all.iter().find(|item| name_of(item) == name).with_context(|| {
            let known: Vec<&str> = all.iter().map(&name_of).collect();
            format!("{name} is none of {}", known.join(", "))
        })
    };
    names.split(',').map(pick).collect()
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("the bench needs two cores: one for the proxy, one for the load");
    }
    let mut bench = Bench {
        lab: Lab::set_up(options.proxies.contains(&Proxy::Gatehouse))?,
        seconds: options.seconds,
        calibrated: HashMap::new(),
    };
    for proxy in &options.proxies {
        proxy.verify(&bench.lab)?;
    }
    let mut results = Results::default();
    for repetition in 0..options.repetitions {
        for scenario in &options.scenarios {
            // Another order each time: no proxy always runs after the same neighbour.
            let mut order = options.proxies.clone();
            order.rotate_left(repetition % options.proxies.len());
            for proxy in order {
                eprint!("{}/{} ", repetition + 1, options.repetitions);
                eprint!("{} {}: ", scenario.name, proxy.name());
                match bench.measure(proxy, scenario) {
                    Ok(sample) => {
                        eprintln!("{}", line(scenario, &sample));
                        results.add(scenario, proxy, sample);
                    }
                    Err(error) if error.is::<Interrupted>() => return Err(error),
                    Err(error) => {
                        eprintln!("FAILED: {error:#}");
                        results.fail(scenario, proxy, format!("{error:#}"));
                    }
                }
            }
        }
    }
    print!("{}", results.table());
    if let Some(file) = &options.json {
        std::fs::write(file, results.json(options.repetitions, options.seconds))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if results.all_succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(scenario: &Scenario, sample: &Sample) -> String {
    let columns = scenario.columns().iter().zip(&sample.figures);
    let figures = columns.map(|(column, value)| format!("{} {}", figure(*value), column.heading));
    figures.collect::<Vec<_>>().join(", ")
}

struct Bench {
    lab: Lab,
    seconds: f64,
    /// How many requests h2load needs, once tried out.
    calibrated: HashMap<(&'static str, Proxy), u64>,
}

impl Bench {
    fn measure(&mut self, proxy: Proxy, scenario: &Scenario) -> anyhow::Result<Sample> {
        if scenario.load == Load::Idle {
            return self.idle(proxy, scenario);
        }
        let mut best = self.load(proxy, scenario)?;
        for _ in 1..ATTEMPTS {
            if best.foreign < MAX_FOREIGN {
                break;
            }
            eprint!("(others used {:.0} % of its core) ", best.foreign * 100.0);
            let again = self.load(proxy, scenario)?;
            if again.foreign < best.foreign {
                best = again;
            }
        }
        Ok(best)
    }

    fn load(&mut self, proxy: Proxy, scenario: &Scenario) -> anyhow::Result<Sample> {
        let started = proxy.start(&self.lab, scenario.limited)?;
        load::prepare(&self.lab, scenario, started.port)?;
        let key = (scenario.name, proxy);
        let requests = match self.calibrated.get(&key) {
            Some(requests) => *requests,
            None => load::calibrate(&self.lab, scenario, started.port, self.seconds)?,
        };
        self.calibrated.insert(key, requests);
        let meter = Meter::start(started.running.pid());
        let report = load::run(&self.lab, scenario.load, started.port, self.seconds, requests)?;
        let reading = meter.read();
        let report = report.must_be_of(scenario)?;
        #[expect(clippy::cast_precision_loss, reason = "a count of requests, far below 2^53")]
        let requests = report.requests as f64;
        let cpu_us = reading.cpu.as_secs_f64() * 1e6 / requests;
        let rate = requests / report.seconds;
        let figures = vec![rate, report.p50_us, report.p99_us, cpu_us];
        Ok(Sample { figures, foreign: reading.foreign })
    }

    fn idle(&self, proxy: Proxy, scenario: &Scenario) -> anyhow::Result<Sample> {
        let started = proxy.start(&self.lab, scenario.limited)?;
        let (port, pid) = (started.port, started.running.pid());
        load::prepare(&self.lab, scenario, port)?;
        std::thread::sleep(Duration::from_secs(1));
        let before = usage::resident_kib(&usage::tree(pid));

        let mut client = load::generator(&self.lab, self.lab.tls_client());
        client.args(["idle", &port.to_string(), &IDLE_CONNECTIONS.to_string()]);
        let mut client = Running::spawn("tls-client", client.stdout(Stdio::piped()))?;
        let (send, receive) = mpsc::channel();
        client.each_line(move |line| drop(send.send(line.to_owned())));
        let alive = receive_line(&receive).and_then(|line| {
            named(&line, "alive").with_context(|| format!("the TLS client said: {line}"))
        })?;
        let after = usage::resident_kib(&usage::tree(pid));
        if alive < f64::from(IDLE_CONNECTIONS) {
            bail!("only {alive} of {IDLE_CONNECTIONS} connections stayed open");
        }
        #[expect(clippy::cast_precision_loss, reason = "KiB of memory, far below 2^53")]
        let grown = after.saturating_sub(before) as f64;
        // Others cannot disturb a measure of memory.
        Ok(Sample { figures: vec![grown / alive], foreign: 0.0 })
    }
}

/// The next line of a child, unless it ends or the user interrupts.
fn receive_line(lines: &mpsc::Receiver<String>) -> anyhow::Result<String> {
    let start = Instant::now();
    loop {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => return Ok(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it could not open all of them"),
            Err(mpsc::RecvTimeoutError::Timeout) if interrupt::requested() => bail!(Interrupted),
            Err(mpsc::RecvTimeoutError::Timeout) if start.elapsed() > load::BOUND => {
                bail!("it did not open all of them within {:?}", load::BOUND)
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_pick_by_name() {
        let options = Options::parse(&["--scenarios", "h2,idle", "--reps", "5"]).unwrap();
        let names: Vec<&str> = options.scenarios.iter().map(|scenario| scenario.name).collect();
        assert_eq!((names, options.repetitions), (vec!["h2", "idle"], 5));
        assert_eq!(Options::parse(&["--proxies", "nginx"]).unwrap().proxies, [Proxy::Nginx]);
    }

    #[test]
    fn faults_say_what_there_is() {
        let fault = |args: &[&str]| Options::parse(args).err().unwrap().to_string();
        assert!(fault(&["--scenarios", "h3"]).starts_with("h3 is none of h1, h2, full"));
        assert_eq!(fault(&["--json"]), "--json takes a value");
        assert!(fault(&["--secs", "0"]).contains("from 1 to 60"));
        assert!(fault(&["--loud", "yes"]).contains("--loud"));
    }

    #[test]
    fn help_names_every_scenario() {
        assert!(SCENARIOS.iter().all(|scenario| help().contains(scenario.title)));
    }
}
