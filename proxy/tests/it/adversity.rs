//! The program under adversity: killed at every step of an order, a store that cannot be written, a
//! clock that is wrong, a renewal in the middle of many handshakes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::acme::{certs, text, text_with};
use crate::harness::certificate::{self, openssl, until};
use crate::harness::{Fate, Front, Pebble, TestProxy, TestUpstream};

/// `gatehouse run` with a configuration whose store is in `directory`.
fn spawn(directory: &TempDir, text: &str, wrapper: &[&str]) -> Child {
    let file = directory.path().join("gatehouse.toml");
    let text = text.replace("DIRECTORY", &directory.path().display().to_string());
    std::fs::write(&file, text).unwrap();
    let program = [env!("CARGO_BIN_EXE_gatehouse"), "run", "--config"];
    let mut words = wrapper.iter().copied().chain(program);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for something that another process does.
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn killed_at_any_step_of_an_order_it_goes_on_where_it_was() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let text = text_with(&pebble, &upstream, &front.keys());
    for step in [
        "/sign-me-up",
        "/order-plz",
        "/authZ/",
        "/chalZ/",
        "/my-order/",
        "/finalize-order/",
        "/certZ/",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (accounts, orders) = (front.done("/sign-me-up"), front.done("/order-plz"));
        let invalid = front.invalid();
        let reached = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&reached);
        front.decide(move |asked| match asked.path.starts_with(step) {
            true => {
                let seen = Arc::clone(&seen);
                Fate::Lose(Box::new(move || seen.store(true, Ordering::Relaxed)))
            }
            false => Fate::Pass,
        });
        let mut first = spawn(&directory, &text, &[]);
        wait(step, || reached.load(Ordering::Relaxed));
        first.kill().unwrap(); // KILL
        first.wait().unwrap();
        front.decide(|_| Fate::Pass);
        let mut second = spawn(&directory, &text, &[]);
        let file = directory.path().join("certs/app.example.com.certificate.pem");
        wait(step, || file.exists());
        second.kill().unwrap();
        second.wait().unwrap();
        // What the CA did and nobody heard of has to be asked for again, and nothing else.
        let made = (front.done("/sign-me-up") - accounts, front.done("/order-plz") - orders);
        // A proof that the CA looked for in vain makes an order that nobody can go on with.
        let in_vain = front.invalid() - invalid;
        assert!(in_vain == 0 || step == "/chalZ/", "{step}");
        assert_eq!(made, (1, 1 + in_vain), "{step}");
    }
}

#[tokio::test]
async fn what_a_clock_that_is_hours_behind_calls_not_valid_yet_is_not_ordered_again() {
    let (pebble, upstream) = (Pebble::start(86_400), TestUpstream::start().await);
    let front = Front::start(&pebble);
    let text = text_with(&pebble, &upstream, &front.keys());
    let directory = tempfile::tempdir().unwrap();
    let library = "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1";
    let behind = ["env", library, "FAKETIME=-3h", "DONT_FAKE_MONOTONIC=1"];
    let mut child = spawn(&directory, &text, &behind);
    let admin = admin(&mut child);
    for times in 1..=2 {
        let failed = format!("failed {times}x");
        wait("a failure", || ask(&admin, &["list"]).contains(&failed));
        let said = ask(&admin, &["list"]);
        assert!(said.contains("it is not valid yet"), "{said}");
        let clock = said.contains("the clock here is 180 minutes behind")
            || said.contains("the clock here is 179 minutes behind");
        assert!(clock, "apt-get install faketime? {said}");
        ask(&admin, &["renew"]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The clock is right again.
    let mut child = spawn(&directory, &text, &[]);
    let file = directory.path().join("certs/app.example.com.certificate.pem");
    wait("a certificate", || file.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((front.done("/order-plz"), front.done("/finalize-order/")), (1, 1));
}

/// What the program says last before it ends, and its exit code.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Makes files that the program writes end after so many bytes, as on a full disk.
fn limit(child: &Child, bytes: &str) {
    let pid = child.id().to_string();
    let status =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}")]).status();
    assert!(status.unwrap().success());
}

/// The program keeps what it is told here when it is started by `sh`.
const FULL_DISK_IS_AN_ERROR: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

/// The address of the admin listener, by the file that the test reads it from.
fn admin(child: &mut Child) -> String {
    use std::io::BufRead as _;
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended before it served");
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let (_, rest) = line.split_once("Some(").unwrap();
    rest.split_once(')').unwrap().0.to_owned()
}

fn ask(admin: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    let output = command.arg("certs").args(arguments).args(["--admin", admin]).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Asks for a renewal until there is another certificate than `before`: the CA rejects nonces at
/// random, and what fails by that would be tried again in minutes.
fn renew(admin: &str, file: &Path, before: &[u8]) {
    ask(admin, &["renew"]);
    wait("a renewal", || {
        if ask(admin, &["list"]).contains("failed") {
            ask(admin, &["renew"]);
        }
        std::fs::read(file).unwrap() != before
    });
}

#[tokio::test]
async fn a_disk_that_is_full_is_said_at_once_and_survived_later() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let text = text(&pebble, &upstream, "");
    let directory = tempfile::tempdir().unwrap();
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let (code, said) = end(spawn(&directory, &text, &["sh", "-c", full, "sh"]));
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("certificate store: cannot write"), "{said}");

    let mut child = spawn(&directory, &text, &FULL_DISK_IS_AN_ERROR);
    let admin = admin(&mut child);
    let file = directory.path().join("certs/app.example.com.certificate.pem");
    wait("a first certificate", || file.exists());
    let before = std::fs::read(&file).unwrap();
    limit(&child, "0:unlimited");
    ask(&admin, &["renew"]);
    wait("a failure", || ask(&admin, &["list"]).contains("certificate store: cannot write"));
    assert_eq!(std::fs::read(&file).unwrap(), before, "never half a file");
    limit(&child, "unlimited:unlimited");
    renew(&admin, &file, &before);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The files of a directory belong to a user who is not root, whom no mode binds.
fn give_away(directory: &Path) {
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(directory).status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn a_store_that_may_only_be_read_is_said_at_once_and_survived_later() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let text = text(&pebble, &upstream, "");
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("certs");
    std::fs::create_dir(&store).unwrap();
    let mode = |mode: &str| {
        let status = Command::new("chmod").arg(mode).arg(&store).status();
        assert!(status.unwrap().success());
    };
    let is_root =
        std::fs::metadata("/proc/self").map(|of| std::os::unix::fs::MetadataExt::uid(&of));
    let wrapper: &[&str] = match is_root.unwrap() {
        0 => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        _ => &[],
    };
    if !wrapper.is_empty() {
        std::fs::write(directory.path().join("gatehouse.toml"), "").unwrap();
        std::fs::set_permissions(
            pebble.own(""),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        give_away(directory.path());
    }
    mode("500");
    let (code, said) = end(spawn(&directory, &text, wrapper));
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("certificate store: cannot write"), "{said}");
    mode("700");
    let mut child = spawn(&directory, &text, wrapper);
    let admin = admin(&mut child);
    let file = store.join("app.example.com.certificate.pem");
    wait("a first certificate", || file.exists());
    let before = std::fs::read(&file).unwrap();
    mode("500");
    ask(&admin, &["renew"]);
    wait("a failure", || ask(&admin, &["list"]).contains("certificate store: cannot write"));
    mode("700");
    renew(&admin, &file, &before);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_said_with_what_failed() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let front = Front::start(&pebble);
    front.decide(|asked| match asked.path.as_str() {
        // As if it were five hours later there, and nothing could be ordered.
        "/order-plz" => Fate::Say(403, vec![("date", later())], "{}".to_owned()),
        _ => Fate::Edit(Box::new(|headers, _| {
            headers.insert("date", later().parse().unwrap());
        })),
    });
    let proxy = TestProxy::start_text(&text_with(&pebble, &upstream, &front.keys()));
    let failed = until(&proxy, |of| of["failures"] != 0).await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("minutes behind that of the CA"), "{error}");
    proxy.finish().await;
}

fn later() -> String {
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(5);
    later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn a_renewal_drops_no_handshake_and_no_request_of_many_at_once() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let proxy = Arc::new(TestProxy::start_text(&text(&pebble, &upstream, "")));
    let first = until(&proxy, |of| of["issued"] == true).await;
    let root = pebble.root().await;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            let (address, root) = (proxy.https(), root.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    certificate::visit(address, &root, "app.example.com").await.unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut obtained_at = first["obtained_at"].clone();
    for _ in 0..3 {
        let before = served.load(Ordering::Relaxed);
        let asking = Arc::clone(&proxy);
        let asked = tokio::task::spawn_blocking(move || certs(&asking, &["renew"])).await;
        assert!(asked.unwrap().0);
        let state = until(&proxy, |of| of["obtained_at"] != obtained_at).await;
        obtained_at = state["obtained_at"].clone();
        let more = async {
            while served.load(Ordering::Relaxed) < before + 100 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), more).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap(); // none of them saw a failure
    }
    assert!(served.load(Ordering::Relaxed) >= 300);
    let metrics = crate::admin::get(proxy.admin(), "/metrics", "").await;
    assert!(metrics.contains("gatehouse_certificate_not_after_seconds{name=\"app.example.com\"} "));
    assert!(metrics.contains("\ngatehouse_tls_handshakes_failed_total 0\n"), "{metrics}");
    assert!(openssl(proxy.https(), &root, "app.example.com", &[]).0);
}
