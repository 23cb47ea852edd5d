//! New links to a server.

use super::link::{Link, Multiplexed};
use super::{Server, Stream, Upstream};
use crate::deadline::Deadline;
use crate::rejection::Rejection;

impl Upstream {
    /// A new link to one server, within `connect_timeout`.
    pub(super) async fn connect(
        &self,
        server: &Server,
        deadline: &Deadline,
    ) -> Result<Link, Rejection> {
        deadline.arm(self.configured.connect_timeout);
        let connected = match server.configured.is_h2c() {
            true => deadline.guard(Box::pin(self.share(server))).await,
            false => deadline.guard(Box::pin(self.open(server))).await,
        };
        deadline.disarm();
        connected.ok_or(Rejection::UpstreamConnectTimeout)?
    }

    async fn open(&self, server: &Server) -> Result<Link, Rejection> {
        let stream = Stream::connect(&server.configured, self.standing.tls.as_ref());
        stream.await.map(Link::new).map_err(Rejection::UpstreamUnreachable)
    }

    /// A place on a connection that somebody else has made meanwhile, or on a new one.
    async fn share(&self, server: &Server) -> Result<Link, Rejection> {
        let _turn = server.pool.opening.acquire().await;
        if let Some(link) = server.pool.room() {
            return Ok(link);
        }
        let stream = Stream::connect(&server.configured, None).await;
        let stream = stream.map_err(Rejection::UpstreamUnreachable)?;
        let connection = Multiplexed::open(stream).await;
        let connection = connection.map_err(|error| Rejection::UpstreamInvalid(error.into()))?;
        server.pool.share(connection).ok_or(Rejection::UpstreamRefused)
    }
}
