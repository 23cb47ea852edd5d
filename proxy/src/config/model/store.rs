//! What several instances share, and what is done without it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use super::Secret;

/// The `[store]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where counts are shared; `None` for counts of this instance alone.
    pub redis: Option<Redis>,
    /// How long a request may wait for the store, 1 ms to 1 s (default 25 ms).
    pub timeout: Duration,
    /// What a rule does while the store does not answer, if it does not say itself.
    pub on_failure: OnFailure,
    /// What certificates and keys are encrypted with that are shared there, 32 characters or more;
    /// `None` to leave them plain.
    pub encryption_key: Option<Secret>,
}

/// What a rule does with a request when the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Counts in this instance, by the limit divided by the instances last known alive (the
    /// default).
    #[default]
    Local,
    /// Lets it pass uncounted.
    Allow,
    /// Rejects it with 503.
    Deny,
}

/// A Redis or Valkey, and how it is reached. Its URL may hold a password and is never shown.
#[derive(Clone)]
pub struct Redis {
    /// As the file has it: what tells one from another.
    url: String,
    pub(crate) deployment: Deployment,
    /// Servers, nodes of the cluster, or sentinels; at least one.
    pub(crate) nodes: Vec<ConnectionInfo>,
    /// Who may sign the servers' certificates, in PEM; `None` for the CAs that the system trusts.
    pub(crate) ca: Option<Vec<u8>>,
}

/// How the servers of a store work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deployment {
    /// One server.
    Single,
    /// A cluster, which moves slots and promotes replicas by itself.
    Cluster,
    /// Servers whose sentinels know which of them is the master of this name.
    Sentinel(String),
}

impl Redis {
    /// Reads a URL; the error says what to write and repeats nothing of it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        const REMEDY: &str = "write redis://:password@host:6379/0, rediss://… (TLS), \
                              redis+cluster://host:6379,host:6379 or \
                              redis+sentinel://host:26379,host:26379/mymaster/0";
        let bad = || REMEDY.to_owned();
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let (kind, several) = match scheme {
            "redis" | "rediss" | "unix" => (scheme, None),
            "redis+unix" => ("unix", None),
            "redis+cluster" => ("redis", Some(false)),
            "rediss+cluster" => ("rediss", Some(false)),
            "redis+sentinel" => ("redis", Some(true)),
            "rediss+sentinel" => ("rediss", Some(true)),
            _ => return Err(bad()),
        };
        let node = |text: String| {
            let node = text.as_str().into_connection_info().map_err(|_| bad())?;
            let tcp = node.tcp_settings().clone().set_nodelay(true);
            Ok::<_, String>(node.set_tcp_settings(tcp))
        };
        let (deployment, nodes) = match several {
            None => (Deployment::Single, vec![node(format!("{kind}://{rest}"))?]),
            Some(is_sentinel) => {
                let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(u, rest)| (u, rest));
                let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (deployment, database) = match (is_sentinel, path.split_once('/')) {
                    (false, _) => (Deployment::Cluster, path),
                    (true, None) if path.is_empty() => {
                        return Err(
                            "name the master, too: redis+sentinel://host:26379/mymaster".to_owned()
                        );
                    }
                    (true, None) => (Deployment::Sentinel(path.to_owned()), ""),
                    (true, Some((name, db))) => (Deployment::Sentinel(name.to_owned()), db),
                };
                let at = if user.is_empty() { "" } else { "@" };
                let nodes = hosts
                    .split(',')
                    .map(|host| node(format!("{kind}://{user}{at}{host}/{database}")));
                (deployment, nodes.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { url: url.to_owned(), deployment, nodes, ca: None })
    }

    /// Whether nobody but this machine can see what is sent. Sentinels and nodes of a cluster name
    /// further servers, which may be anywhere.
    pub(crate) fn is_local(&self) -> bool {
        let local = |node: &ConnectionInfo| match node.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => {
                let address = host.parse::<IpAddr>();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
            ConnectionAddr::Unix(_) => true,
            _ => false,
        };
        self.deployment == Deployment::Single && self.nodes.iter().all(local)
    }

    /// The same, whose certificates only these CAs may sign.
    pub(crate) fn trusting(self, ca: Option<Vec<u8>>) -> Self {
        Self { ca, ..self }
    }
}

impl PartialEq for Redis {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url && self.ca == other.ca
    }
}

impl Eq for Redis {}

impl fmt::Debug for Redis {
    /// Without what it is reached by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("deployment", &self.deployment).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_of_this_machine_is_local() {
        for (url, local) in [
            ("redis://127.0.0.1:6379/0", true),
            ("rediss://localhost", true),
            ("redis://[::1]:6379", true),
            ("unix:///run/redis.sock", true),
            ("redis://10.0.0.1", false),
            ("redis://localhost.example.com", false),
            ("redis+cluster://127.0.0.1:1", false),
            ("redis+sentinel://127.0.0.1:1/main", false),
        ] {
            assert_eq!(Redis::parse(url).unwrap().is_local(), local, "{url}");
        }
    }

    #[test]
    fn every_form_of_a_url_is_read_and_none_is_shown() {
        let redis = |url| Redis::parse(url).unwrap();
        let name = |name: &str| Deployment::Sentinel(name.to_owned());
        for (url, deployment, nodes, database) in [
            ("redis://127.0.0.1:6379/0", Deployment::Single, 1, 0),
            ("redis://:s3cret@h/3", Deployment::Single, 1, 3),
            ("rediss://user:s3cret@h:6380", Deployment::Single, 1, 0),
            ("unix:///run/redis.sock", Deployment::Single, 1, 0),
            ("redis+cluster://:s3cret@a:1,b:2,c", Deployment::Cluster, 3, 0),
            ("rediss+cluster://a", Deployment::Cluster, 1, 0),
            ("redis+sentinel://a:1,b:2/main", name("main"), 2, 0),
            ("redis+sentinel://u:s3cret@a:1/main/4", name("main"), 1, 4),
        ] {
            let redis = redis(url);
            let first = redis.nodes.first().unwrap().redis_settings();
            assert_eq!((&redis.deployment, redis.nodes.len()), (&deployment, nodes), "{url}");
            assert_eq!(first.db(), database, "{url}");
            assert_eq!(first.password(), url.contains("s3cret").then_some("s3cret"), "{url}");
            assert!(!format!("{redis:?}").contains("s3cret"));
        }
        for url in ["", "http://a", "redis:", "redis+sentinel://a", "redis://a/x", "redis://"] {
            assert!(Redis::parse(url).is_err(), "{url}");
        }
    }
}
