//! New connections to a server.

use tokio::net::TcpStream;

use super::Upstream;
use super::link::Link;
use crate::config;
use crate::deadline::Deadline;
use crate::rejection::Rejection;
use crate::socket::Socket;

impl Upstream {
    /// A new link to one server, within `connect_timeout`.
    pub(super) async fn connect(
        &self,
        server: &config::Server,
        deadline: &Deadline,
    ) -> Result<Link, Rejection> {
        deadline.arm(self.configured.connect_timeout);
        let address = (server.host.as_str(), server.port);
        let connected = deadline.guard(TcpStream::connect(address)).await;
        deadline.disarm();
        let stream = connected
            .ok_or(Rejection::UpstreamConnectTimeout)?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(Rejection::UpstreamUnreachable)?;
        Link::open(Socket(stream)).await.map_err(Rejection::UpstreamInvalid)
    }
}
