//! New links to a server.

use super::link::Link;
use super::{Stream, Upstream};
use crate::config;
use crate::deadline::Deadline;
use crate::rejection::Rejection;

impl Upstream {
    /// A new link to one server, within `connect_timeout`.
    pub(super) async fn connect(
        &self,
        server: &config::Server,
        deadline: &Deadline,
    ) -> Result<Link, Rejection> {
        deadline.arm(self.configured.connect_timeout);
        let connect = Stream::connect(server, self.tls.as_ref());
        let connected = deadline.guard(Box::pin(connect)).await;
        deadline.disarm();
        let stream = connected
            .ok_or(Rejection::UpstreamConnectTimeout)?
            .map_err(Rejection::UpstreamUnreachable)?;
        Link::open(stream).await.map_err(Rejection::UpstreamInvalid)
    }
}
