//! A connection to the store, whatever it is made of.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, TlsCertificates,
    TlsMode, Value,
};

use crate::config::{Deployment, Redis};

/// How long a connection may take to be made, with its handshakes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Commands that may wait to be written; whoever comes after them waits for room, and not for long.
const BUFFER: usize = 1_024;

/// A connection on which many questions are under way at once, answered in order. Clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects to the server, to the master that sentinels name, or to every node of a cluster.
    pub(crate) async fn open(redis: &Redis) -> RedisResult<Self> {
        let certificates = TlsCertificates { client_tls: None, root_cert: redis.ca.clone() };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            // Each question has a deadline of its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFER);
        let first = redis.nodes.first().ok_or((ErrorKind::InvalidClientConfig, "no server"))?;
        match &redis.deployment {
            Deployment::Single => {
                let client = match redis.ca {
                    Some(_) => Client::build_with_tls(first.clone(), certificates)?,
                    None => Client::open(first.clone())?,
                };
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Self::One(connection.await?))
            }
            Deployment::Cluster => {
                let mut builder = ClusterClientBuilder::new(redis.nodes.iter().cloned())
                    .connection_timeout(PATIENCE)
                    .retries(1);
                if redis.ca.is_some() {
                    builder = builder.certs(certificates);
                }
                Ok(Self::Cluster(builder.build()?.get_async_connection().await?))
            }
            Deployment::Sentinel(master) => {
                let sentinels = redis.nodes.iter().map(|node| node.addr().clone());
                let kind = SentinelServerType::Master;
                let settings = first.redis_settings();
                let mut builder = SentinelClientBuilder::new(sentinels, master, kind)?
                    .set_client_to_redis_db(settings.db())
                    .set_client_to_redis_tcp_settings(first.tcp_settings().clone());
                if let Some(user) = settings.username() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = settings.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if matches!(first.addr(), redis::ConnectionAddr::TcpTls { .. }) {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                    if redis.ca.is_some() {
                        builder = builder
                            .set_client_to_redis_certificates(certificates.clone())
                            .set_client_to_sentinel_certificates(certificates);
                    }
                }
                let mut client = builder.build()?;
                Ok(Self::One(client.get_async_connection_with_config(&config).await?))
            }
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::One(connection) => connection.send_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        answer.extract_error()
    }
}
