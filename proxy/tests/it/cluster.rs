//! The contract's `cluster.toml` as it is: several instances behind one address, of which any may
//! be killed at any moment.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::certificate::openssl;
use crate::harness::{Balancer, Fate, Front, Pebble, Redis, TestUpstream, free};

const CONFIGURATION: &str = "tests/config/valid/cluster.toml";

/// A `gatehouse run` with that configuration, killed when dropped.
struct Instance {
    child: Child,
    environment: Vec<(&'static str, String)>,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

impl Instance {
    fn start(common: &[(&'static str, String)]) -> Self {
        let [http, https, admin] = free();
        let mut environment = common.to_vec();
        for (name, port) in [("HTTP_PORT", http), ("HTTPS_PORT", https), ("ADMIN_PORT", admin)] {
            environment.push((name, port.to_string()));
        }
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let child = spawn(&environment);
        Self { child, environment, http: at(http), https: at(https), admin: at(admin) }
    }

    /// Ends it without a warning, and starts it again.
    fn kill(&mut self) {
        self.child.kill().unwrap(); // KILL
        self.child.wait().unwrap();
        self.child = spawn(&self.environment);
    }

    /// What `gatehouse certs` says of it.
    fn certs(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.arg("certs").args(arguments).args(["--admin", &self.admin.to_string()]);
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Its only certificate, while it answers.
    fn certificate(&self) -> Option<Value> {
        let document: Value = serde_json::from_str(&self.certs(&["list", "--json"])).ok()?;
        Some(document["certificates"][0].clone())
    }

    fn has(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.certificate().is_some_and(|certificate| wanted(&certificate))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn spawn(environment: &[(&'static str, String)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.args(["run", "--config", CONFIGURATION]).envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How long other processes may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for something that other processes do.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Three instances, the CA that they ask, and the address at which the CA looks.
struct Cluster {
    instances: Vec<Instance>,
    front: Front,
    root: std::path::PathBuf,
    /// How often one was told to renew when the CA may have issued already.
    late: Cell<usize>,
    _upstream: TestUpstream,
}

impl Cluster {
    async fn start(pebble: &Pebble, redis: &Redis, host: &str, secret: Option<&str>) -> Self {
        let (front, upstream) = (Front::start(pebble), TestUpstream::start().await);
        let mut common = vec![
            ("REDIS_URL", redis.url()),
            ("ACME_DIRECTORY", format!("https://localhost:{}/dir", front.port())),
            ("ACME_ROOT_CA", pebble.own("ca.pem").display().to_string()),
            ("SITE_HOST", host.to_owned()),
            ("BACKEND_PORT", upstream.address.port().to_string()),
        ];
        common.extend(secret.map(|secret| ("GATEHOUSE_STORE_KEY", secret.to_owned())));
        let balancers = [pebble.http(), pebble.https()].map(Balancer::start);
        let instances: Vec<_> = (0..3).map(|_| Instance::start(&common)).collect();
        balancers[0].set(&instances.iter().map(|of| of.http).collect::<Vec<_>>());
        balancers[1].set(&instances.iter().map(|of| of.https).collect::<Vec<_>>());
        let root = pebble.root().await;
        Self { instances, front, root, late: Cell::default(), _upstream: upstream }
    }

    fn all(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.instances.iter().all(|instance| instance.has(&wanted))
    }

    /// Whether every instance has a certificate. What has failed, because nobody was there to
    /// answer the CA, would be tried again in minutes: that is not waited for.
    fn has_obtained(&self) -> bool {
        for instance in &self.instances {
            if instance.has(|of| of["issued"] == false && of["failures"] != 0) {
                instance.certs(&["renew"]);
                // It may have met a certificate that another instance has obtained meanwhile.
                let is_late = !self.front.asked("/finalize-order/").is_empty();
                self.late.update(|late| late + usize::from(is_late));
            }
        }
        self.all(|of| of["issued"] == true)
    }

    /// For whoever reads why a test failed.
    fn tell(&self) -> String {
        let seen: Vec<_> = self.instances.iter().map(Instance::certificate).collect();
        let asked: Vec<_> = self.front.asked("/").into_iter().map(|asked| asked.path).collect();
        format!("{seen:#?} after {asked:?}")
    }

    /// What the CA has done: accounts, orders, certificates.
    fn done(&self) -> [usize; 3] {
        ["/sign-me-up", "/order-plz", "/finalize-order/"].map(|path| self.front.done(path))
    }

    /// The certificate that an instance serves, as its bytes in text.
    fn served(&self, index: usize, host: &str) -> String {
        let (verified, said) = openssl(self.instances[index].https, &self.root, host, &[]);
        assert!(verified, "{said}");
        let begin = said.find("-----BEGIN").unwrap();
        said[begin..said.find("-----END").unwrap()].to_owned()
    }

    fn is_same(&self, host: &str) -> bool {
        let first = self.served(0, host);
        (1..self.instances.len()).all(|index| self.served(index, host) == first)
    }
}

#[tokio::test]
async fn three_instances_obtain_one_certificate_and_renew_it_once() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let host = "app.example.com";
    let cluster = Cluster::start(&pebble, &redis, host, None).await;
    wait("a certificate on every instance", || cluster.all(|of| of["issued"] == true));
    assert_eq!(cluster.done(), [1, 1, 1], "one account, one order, one certificate");
    assert!(cluster.is_same(host));
    // Whichever is told to renew; all of them is once, too.
    let before = cluster.instances[0].certificate().unwrap();
    for instance in &cluster.instances {
        assert!(instance.certs(&["renew"]).contains("renewing 1"));
    }
    wait("another certificate on every instance", || {
        cluster.all(|of| {
            of["not_before"] != before["not_before"] || of["not_after"] != before["not_after"]
        })
    });
    wait("the same on every instance", || cluster.is_same(host));
    assert_eq!(cluster.done(), [1, 2, 2]);
}

#[tokio::test]
async fn instances_that_are_killed_at_random_obtain_one_certificate() {
    let (pebble, redis) = (Pebble::start(3_600), Redis::start());
    let steps =
        ["/sign-me-up", "/order-plz", "/chalZ/", "/my-order/", "/finalize-order/", "/certZ/"];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let secret = "a secret that all instances share";
    for round in 0..2 {
        let host = format!("r{round}.example.com");
        let mut cluster = Cluster::start(&pebble, &redis, &host, Some(secret)).await;
        let mut unheard = 0;
        for _ in 0..2 {
            // One instance hears nothing of what the CA does then, and is killed.
            let step = steps[random.usize(if round == 0 { 0 } else { 1 }..steps.len())];
            let reached = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&reached);
            cluster.front.decide(move |asked| match asked.path.starts_with(step) {
                true => {
                    let seen = Arc::clone(&seen);
                    Fate::Lose(Box::new(move || seen.store(true, Ordering::Relaxed)))
                }
                false => Fate::Pass,
            });
            wait(&format!("{step}, seed {seed}, round {round}"), || {
                reached.load(Ordering::Relaxed) || cluster.has_obtained()
            });
            // It may be any of them: two of three are killed.
            let spared = random.usize(..3);
            for index in (0..3).filter(|index| *index != spared) {
                cluster.instances[index].kill();
            }
            cluster.front.decide(|_| Fate::Pass);
            let is_lost = reached.load(Ordering::Relaxed) && step == "/finalize-order/";
            unheard += usize::from(is_lost);
        }
        let deadline = Instant::now() + PATIENCE;
        while !cluster.has_obtained() {
            assert!(Instant::now() < deadline, "seed {seed}, round {round}: {}", cluster.tell());
        }
        assert!(cluster.is_same(&host), "seed {seed}");
        // An order is made anew if the CA called the one before invalid, or if its answer was
        // lost, which is not among these; and for no other reason.
        let [_, orders, certificates] = cluster.done();
        let what = format!("seed {seed}, round {round}");
        let (invalid, late) = (cluster.front.invalid(), cluster.late.get());
        let told = || format!("{what}, late {late}: {}", cluster.tell());
        assert!((1..=1 + late).contains(&(certificates + unheard)), "certificates, {}", told());
        assert!((1 + invalid..=1 + invalid + late).contains(&orders), "orders, {}", told());
    }
    let values = redis.command(&["KEYS", "*:values"]);
    let values = values.lines().last().unwrap().trim();
    let kept = redis.bytes(&["HGETALL", values]);
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains("r1.example.com.certificate.pem"), "{kept}");
    assert!(!kept.contains("PRIVATE KEY") && !kept.contains("key_pkcs8"), "{kept}");
}

#[test]
fn the_contract_is_clean() {
    for file in ["full.toml", "valid/minimal.toml", "valid/hardened.toml", "valid/cluster.toml"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(["check", "--config"]).arg(Path::new("tests/config").join(file));
        command.env("ACME_DIRECTORY", "https://localhost:14000/dir");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{file}: {said}");
    }
}
