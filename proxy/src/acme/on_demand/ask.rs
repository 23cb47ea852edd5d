//! The question whether a host is to be served: `GET …?domain=HOST`, as Caddy asks it. Whatever
//! 2xx is yes, and whatever 4xx is no; all else is no answer, also a redirect, which is not
//! followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::config::{AskUrl, OnDemand};
use crate::upstream::{Stream, client_config};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest head of an answer, in bytes; its body is not read.
const LONGEST_HEAD: usize = 16 << 10;

/// What is said of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// And why not.
    Nothing(String),
}

impl Answer {
    /// As it is counted.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Nothing(_) => "none",
        }
    }
}

/// Who is asked.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: AskUrl,
    /// How it is spoken to, if over https.
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    pub(super) fn new(on_demand: &OnDemand) -> Result<Self, rustls::Error> {
        let tls = match on_demand.ask.server.is_tls() {
            true => Some(client_config(&on_demand.ca)?),
            false => None,
        };
        Ok(Self { url: on_demand.ask.clone(), tls })
    }

    pub(super) async fn ask(&self, host: &str) -> Answer {
        let answer = timeout(PATIENCE, self.exchange(host)).await;
        match answer.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(status) if status.is_success() => Answer::Yes,
            // Neither is about the host.
            Ok(status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)) => {
                self.nothing(&format!("it answers {status}"))
            }
            Ok(status) if status.is_client_error() => Answer::No,
            Ok(status) => self.nothing(&format!("it answers {status}")),
            Err(error) => self.nothing(&error.to_string()),
        }
    }

    fn nothing(&self, why: &str) -> Answer {
        Answer::Nothing(format!("ask, {}: {why}", self.url.server))
    }

    async fn exchange(
        &self,
        host: &str,
    ) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
        let server = &self.url.server;
        let stream = TokioIo::new(Stream::connect(server, self.tls.as_ref()).await?);
        let mut client = http1::Builder::new();
        let (mut sender, connection) =
            client.max_buf_size(LONGEST_HEAD).handshake::<_, Empty<Bytes>>(stream).await?;
        let request = Request::get(self.url.target_for(host))
            .header(header::HOST, server.authority())
            .header(header::USER_AGENT, "gatehouse")
            .header(header::CONNECTION, "close")
            .body(Empty::new())?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        tokio::select! {
            answer = &mut answer => Ok(answer?.status()),
            // The answer may have come with the end.
            _ = connection => Ok(answer.await?.status()),
        }
    }
}
