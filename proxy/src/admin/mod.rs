//! The control thread: the admin listener and the chores that no request waits for.
//!
//! `GET /healthz` · `GET /readyz` · `GET /metrics` (Prometheus text) · `GET /api/status` (JSON) ·
//! `POST /api/reload` · `POST /api/drain` · `GET /api/certificates` ·
//! `POST /api/certificates/renew`. A token, where one is configured, is required on every
//! path but the first two, which say nothing about the configuration.

mod checks;
mod metrics;
mod socket;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::checks::Checks;
pub(crate) use self::socket::AdminSocket;
use self::socket::{Accepting, Stream};
use crate::acme::{self, Issuance};
use crate::listener::Sockets;
use crate::policy::rate_limit::Limiter;
use crate::record::RecordSink;
use crate::reload::{Change, FileWatch, Refused, Reloaded, reload};
use crate::server::Phase;
use crate::snapshot::Plan;
use crate::telemetry::Counters;
use crate::worker::{self, Shared};

/// What the control thread looks after.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: RefCell<Arc<Plan>>,
    pub(crate) sockets: RefCell<Sockets>,
    /// How each worker learns of a new plan.
    pub(crate) workers: Vec<mpsc::Sender<Change>>,
    pub(crate) records: RecordSink,
    /// To this thread itself.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) issuance: Issuance,
    /// Records that the sink did not take.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) phase: watch::Sender<Phase>,
}

/// What the control thread is told to do.
pub(crate) enum Command {
    /// Read the configuration anew, and say what came of it.
    Reload(oneshot::Sender<Result<Reloaded, Refused>>),
}

impl Control {
    /// What the configuration comes to now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }
}

/// Connections to the admin listener that are served at a time.
const CONNECTIONS: usize = 64;

/// Runs until the workers are done: while they drain, `/readyz` says so.
pub(crate) fn run(
    control: Control,
    mut commands: mpsc::Receiver<Command>,
    mut files: FileWatch,
    socket: AdminSocket,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let control = Rc::new(control);
        tokio::task::spawn_local(listen(Rc::clone(&control), socket.accepting()?));
        let mut phase = control.phase.subscribe();
        let mut checks = Checks::start(&control.plan());
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0_usize.. {
            tokio::select! {
                _ = ticks.tick() => {
                    chores(&control, turn);
                    if turn.is_multiple_of(4) && files.has_settled(&control.plan().config.files) {
                        tracing::info!("the configuration file has changed");
                        _ = reload(&control).await;
                        files.loaded(&control.plan().config.files);
                    }
                }
                Some(Command::Reload(reply)) = commands.recv() => {
                    _ = reply.send(reload(&control).await);
                    files.loaded(&control.plan().config.files);
                }
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => break,
            }
            checks.follow(&control.plan());
        }
        Ok(())
    })
}

/// Sweeps a sixteenth of the limiter's table, so that a round takes four seconds; and begins the
/// renewals that are due.
fn chores(control: &Rc<Control>, turn: usize) {
    let shared = &control.shared;
    let now = Instant::now().saturating_duration_since(shared.started);
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let share = Limiter::turns() / 16;
    (0..share)
        .for_each(|part| shared.limiter.sweep(turn.wrapping_mul(share).wrapping_add(part), now));
    if turn.is_multiple_of(4) {
        control.issuance.follow(&control.plan().config, worker::wall_clock());
    }
    acme::tick(control, worker::wall_clock());
}

async fn listen(control: Rc<Control>, listener: Accepting) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        let (Ok(stream), Ok(permit)) = (accepted, Arc::clone(&room).try_acquire_owned()) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let control = Rc::clone(&control);
        tokio::task::spawn_local(async move {
            let _permit = permit;
            match stream {
                Stream::Tcp(stream) => serve(control, stream).await,
                Stream::Unix(stream) => serve(control, stream).await,
            }
        });
    }
}

async fn serve(control: Rc<Control>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request| {
        let control = Rc::clone(&control);
        async move { Ok::<_, Infallible>(answer(&control, &request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection");
    }
}

async fn answer(control: &Control, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let open = matches!(path, "/healthz" | "/readyz");
    if !open && !authorised(control.plan().config.admin.token.as_deref(), request) {
        return text(
            StatusCode::UNAUTHORIZED,
            "text/plain",
            "a bearer token is required\n".to_owned(),
        );
    }
    let wanted = if matches!(path, "/api/reload" | "/api/drain" | "/api/certificates/renew") {
        "POST"
    } else {
        "GET"
    };
    if request.method() != wanted && (wanted, request.method()) != ("GET", &Method::HEAD) {
        let allowed = format!("{wanted} only\n");
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", allowed);
    }
    let draining = control.is_draining();
    match path {
        "/healthz" => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" if draining => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned())
        }
        "/readyz" => text(StatusCode::OK, "text/plain", "ready\n".to_owned()),
        "/metrics" => {
            text(StatusCode::OK, "text/plain; version=0.0.4", metrics::prometheus(control))
        }
        "/api/reload" => reloaded(control).await,
        "/api/drain" => {
            control.phase.send_if_modified(|phase| {
                let serving = *phase == Phase::Serving;
                *phase = if serving { Phase::Draining } else { *phase };
                serving
            });
            text(StatusCode::ACCEPTED, "application/json", "{\"draining\":true}\n".to_owned())
        }
        "/api/certificates" => {
            let certificates = control.issuance.overview(&control.plan().config);
            let document = json!({ "certificates": certificates });
            text(StatusCode::OK, "application/json", format!("{document:#}\n"))
        }
        "/api/certificates/renew" => renewal(control, request.uri().query()),
        "/api/status" => text(StatusCode::OK, "application/json", metrics::status(control)),
        _ => text(StatusCode::NOT_FOUND, "text/plain", "no such page\n".to_owned()),
    }
}

/// `POST /api/reload`: 200 and what changed, or 422 and every fault.
async fn reloaded(control: &Control) -> Response<Full<Bytes>> {
    let (reply, outcome) = oneshot::channel();
    _ = control.commands.send(Command::Reload(reply)).await;
    let (status, document) = match outcome.await.unwrap_or(Err(Refused::Stopping)) {
        Ok(reloaded) => (StatusCode::OK, json!({ "ok": true, "reloaded": reloaded })),
        Err(Refused::Faults(faults)) => {
            let message = "the configuration has faults";
            let document = json!({
                "ok": false, "message": message, "faults": faults, "text": faults.render(false),
            });
            (StatusCode::UNPROCESSABLE_ENTITY, document)
        }
        Err(other) => {
            let message = other.to_string();
            let document =
                json!({ "ok": false, "message": message, "faults": [], "text": message });
            (StatusCode::UNPROCESSABLE_ENTITY, document)
        }
    };
    text(status, "application/json", format!("{document:#}\n"))
}

/// `POST /api/certificates/renew`, of all or of `?name=`: 202 and how many, or 404.
fn renewal(control: &Control, query: Option<&str>) -> Response<Full<Bytes>> {
    let name = query.and_then(|query| query.strip_prefix("name="));
    let count = control.issuance.hurry(name);
    let (status, document) = match (count, name) {
        (0, Some(_)) => {
            let message = "no site has this name as its first host and gets certificates over ACME";
            (StatusCode::NOT_FOUND, json!({ "ok": false, "message": message }))
        }
        _ => (StatusCode::ACCEPTED, json!({ "ok": true, "renewing": count })),
    };
    text(status, "application/json", format!("{document:#}\n"))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether the request carries the token, compared without a hint where it differs.
fn authorised(token: Option<&str>, request: &Request<Incoming>) -> bool {
    let Some(token) = token else { return true };
    let given =
        request.headers().get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    let differences = given.iter().zip(token.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differences == 0
}
