//! Health checks: each server of an upstream that asks for it is asked how it is, from the control
//! thread, on a connection of its own each time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Builder;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{HealthCheck, Server};
use crate::snapshot::Plan;
use crate::upstream::health::Health;
use crate::upstream::{Standing, Stream};

/// The running checks of a plan.
pub(super) struct Checks {
    generation: u64,
    tasks: Vec<JoinHandle<()>>,
}

impl Checks {
    pub(super) fn start(plan: &Plan, started: Instant) -> Self {
        let mut tasks = Vec::new();
        for (upstream, Standing { health, tls, .. }) in plan.upstreams() {
            for (server, health) in upstream.servers.iter().zip(health) {
                let Some(check) = upstream.health.clone() else {
                    health.checked(true, 0); // by nothing that asks any more
                    continue;
                };
                let (name, health) = (upstream.name.clone(), Arc::clone(health));
                let watch = watch(name, server.clone(), tls.clone(), check, health, started);
                tasks.push(tokio::task::spawn_local(watch));
            }
        }
        Self { generation: plan.generation, tasks }
    }

    /// Begins anew if the plan is another.
    pub(super) fn follow(&mut self, plan: &Plan, started: Instant) {
        if self.generation != plan.generation {
            self.tasks.iter().for_each(JoinHandle::abort);
            *self = Self::start(plan, started);
        }
    }
}

/// Asks one server for ever. What changes is told once.
async fn watch(
    upstream: String,
    server: Server,
    tls: Option<Arc<ClientConfig>>,
    check: HealthCheck,
    health: Arc<Health>,
    started: Instant,
) {
    let (mut healthy, mut failed) = (0, 0);
    loop {
        let outcome = ask(&server, tls.as_ref(), &check).await;
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        (healthy, failed) = match outcome {
            Ok(()) => (healthy + 1, 0),
            Err(_) => (0, failed + 1),
        };
        if healthy >= check.healthy_after && health.checked(true, now_ms) {
            tracing::info!(upstream, "{server} is up");
        } else if failed >= check.unhealthy_after && health.checked(false, now_ms) {
            let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
            tracing::warn!(upstream, error, "{server} is down");
        }
        sleep(check.interval).await;
    }
}

/// Asks one server once.
pub(super) async fn ask(
    server: &Server,
    tls: Option<&Arc<ClientConfig>>,
    check: &HealthCheck,
) -> io::Result<()> {
    let answer = timeout(check.timeout, exchange(server, tls, &check.path)).await;
    answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(server: &Server, tls: Option<&Arc<ClientConfig>>, path: &str) -> io::Result<()> {
    let stream = Stream::connect(server, tls).await?;
    let request = Request::get(path).header(header::USER_AGENT, "gatehouse-health");
    let status = match server.is_h2c() {
        true => {
            over_http2(stream, request.uri(format!("http://{}{path}", server.authority()))).await
        }
        false => over_http1(stream, request.header(header::HOST, server.authority())).await,
    };
    let status = status.map_err(io::Error::other)?;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(io::Error::other(format!("it answers {status}"))),
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn over_http1(stream: Stream, request: Builder) -> Result<StatusCode, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = request.header(header::CONNECTION, "close").body(Empty::<Bytes>::new())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        // The answer may have come with the end.
        _ = connection => Ok(answer.await?.status()),
    }
}

async fn over_http2(stream: Stream, request: Builder) -> Result<StatusCode, Failed> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    let mut sender = sender.ready().await?;
    let (mut answer, _) = sender.send_request(request.body(())?, true)?;
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        _ = connection => Ok(answer.await?.status()),
    }
}
