//! What a configuration is once it is whole: no `Option` means "default", names have become
//! indexes, patterns and header values are compiled.

mod acme;
mod balance;
mod admin;
mod clients;
mod group;
mod dns;
mod limits;
mod server;
mod store;
mod log;
mod on_demand;
mod pages;
mod rate_limit;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::fault::Faults;
use crate::compression::Compression;
use crate::policy::headers::HeaderPolicy;
use crate::ramp::Climbed;
use crate::site::pattern::Pattern;

pub use self::acme::{Acme, Ca, Challenge, Eab, KeyType, UntilIssued};
pub use self::admin::{Admin, AdminAddress};
pub use self::balance::{Balance, HealthCheck};
pub use self::clients::{Access, Clients, ProxyProtocol};
pub use self::dns::{Dns, DnsUpdate, DnsWriter, TsigHash};
pub use self::group::{Group, Groups, Secret, Sticky};
pub use self::limits::{Limits, RouteLimits};
pub use self::log::{AccessLog, Log, LogFormat};
pub use self::on_demand::{AskUrl, OnDemand};
pub use self::pages::{ErrorPages, Maintenance};
pub use self::rate_limit::{
    Ban, Bound, Cost, Count, FieldMatch, FieldSyntax, KeyPart, Match, Mode, RateLimits, Rule, Scope,
};
pub use self::server::{Scheme, Server};
pub(crate) use self::store::Deployment;
pub use self::store::{OnFailure, Redis, Store};

/// Everything a running Gatehouse was told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where connections come in.
    pub listen: Listen,
    /// Who may talk to the admin listener.
    pub admin: Admin,
    /// Certificates and protocol versions.
    pub tls: Tls,
    /// Who may speak for others, who may not speak at all.
    pub clients: Clients,
    /// The certificate ca of sites with [`Issuer::Acme`].
    pub acme: Acme,
    /// The bounds of everything a client can make Gatehouse hold.
    pub limits: Limits,
    /// What is shared with other instances.
    pub store: Store,
    /// Named and anonymous upstreams; [`UpstreamId`] is an index into this list.
    pub upstreams: Vec<Upstream>,
    /// The sites, in the order of the file.
    pub sites: Vec<Site>,
    /// The rate-limit rules whose mode is not `off`, in the order of the file.
    pub rules: Vec<Rule>,
    /// What holds for all rules.
    pub rate_limits: RateLimits,
    /// Where records and messages go.
    pub log: Log,
    /// The files it was read from, the first one first, as they were named; pages come last.
    pub files: Vec<PathBuf>,
    /// What probably does not mean what it says, and is no error.
    pub warnings: Faults,
}

/// The `[listen]` section.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Plain HTTP listeners (default `[::]:80`).
    pub http: Vec<SocketAddr>,
    /// TLS listeners (default `[::]:443`).
    pub https: Vec<SocketAddr>,
    /// The admin listener (default `127.0.0.1:9180`).
    pub admin: AdminAddress,
    /// Worker threads, at least 1; the file's `0` has become one per core.
    pub workers: usize,
    /// How long requests in flight may take to finish after TERM or INT (default 30 s).
    pub drain_timeout: Duration,
    /// Whether another process may listen on the same ports, to take over or be taken over from
    /// (default no).
    pub share_ports: bool,
    /// Whether connections of trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
}

/// The `[tls]` section.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The directory of keys and certificates (default `/var/lib/gatehouse/certs`).
    pub store: PathBuf,
    /// Whether those that are obtained, their keys, and the accounts with CAs are shared over
    /// [`Store::redis`] instead. What is this instance's own stays in the directory.
    pub shared: bool,
    /// The oldest protocol version offered (default TLS 1.2).
    pub min_version: TlsVersion,
    /// Certificates of the operator's own, for sites with [`Issuer::Files`].
    pub certificates: Vec<CertificateFiles>,
}

impl Tls {
    /// The directory, if what is obtained is kept there.
    pub(crate) fn folder(&self) -> Option<&Path> {
        (!self.shared).then_some(&self.store)
    }
}

/// A `[[tls.certificate]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the site's own certificate first.
    pub cert: PathBuf,
    /// The private key in PEM; may be the same file.
    pub key: PathBuf,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// An index into [`Config::upstreams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// A `[upstream.NAME]` section, or the URL that a site gave in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The name in the file, or the URL of an anonymous one.
    pub name: String,
    /// At least one server, of all groups.
    pub servers: Vec<Server>,
    /// The groups of them, if only one of several is used at a time.
    pub groups: Option<Groups>,
    /// How long a TCP connect may take (default 2 s).
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head, and between two pieces of its body
    /// (default 60 s).
    pub answer_timeout: Duration,
    /// Requests in flight to this upstream, at least 1 in all (default 1,024); each worker gets
    /// its share.
    pub max_in_flight: usize,
    /// Requests that may wait for one of those to end, in all; each worker gets its share (default
    /// 256).
    pub max_queued: usize,
    /// How long they may wait (default 1 s).
    pub queue_timeout: Duration,
    /// How a server is chosen.
    pub balance: Balance,
    /// How often a request may be sent again that a server broke off, 0 to 10 (default 1).
    pub retries: u32,
    /// How long a server that returns takes to get its full share again; 0 for no time (default).
    pub slow_start: Duration,
    /// What makes a client keep its server; `None` for nothing.
    pub sticky: Option<Sticky>,
    /// What asks each server how it is; `None` for nothing.
    pub health: Option<HealthCheck>,
    /// Who may sign the certificates of `https://` servers; empty for the system's CAs.
    pub ca: Vec<CertificateDer<'static>>,
}

/// A set of hosts that are served alike.
#[derive(Debug, Clone)]
pub struct Site {
    /// Lower-case DNS names or IP addresses (IPv6 without brackets), no port; at least one.
    pub hosts: Vec<String>,
    /// Who signs the site's certificate.
    pub issuer: Issuer,
    /// Who approves hosts that no site lists and this one serves; `None` for nobody. One site has
    /// it, or none.
    pub on_demand: Option<OnDemand>,
    /// Whether clients are asked for certificates; `None` if not.
    pub client_certificates: Option<ClientCertificates>,
    /// Whether plain HTTP is answered by a redirect to https (default) or served.
    pub redirect_http: bool,
    /// Whether paths are served that two programs could read differently: `%2f`, `%5c`, controls,
    /// a `..` that climbs out.
    pub ambiguous_paths: bool,
    /// Which clients are served.
    pub access: Arc<Access>,
    /// Its own pages for the errors that Gatehouse answers with.
    pub pages: ErrorPages,
    /// Who is turned away for a while; `None` for nobody.
    pub maintenance: Option<Arc<Maintenance>>,
    /// What a request gets that no route says otherwise for.
    pub default: Route,
    /// First match wins; each route is already complete with what it inherits from the site.
    pub routes: Vec<(Pattern, Route)>,
    /// How far HSTS has climbed, where it does so step by step.
    pub(crate) climbed: Climbed,
}

/// The certificates that the clients of a site are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Who may have signed them; at least one.
    pub ca: Vec<CertificateDer<'static>>,
    /// Whether a client without one is refused, in the handshake.
    pub required: bool,
}

impl Site {
    /// Its first host, which is also the name of its certificate.
    #[must_use]
    pub fn name(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// Whether HSTS climbs step by step under one of its policies.
    pub(crate) fn has_ramp(&self) -> bool {
        let routes = self.routes.iter().map(|(_, route)| route);
        routes.chain([&self.default]).any(|route| route.headers.has_ramp())
    }

    /// Whether browsers are to report what one of its policies stops.
    pub(crate) fn collects_reports(&self) -> bool {
        let routes = self.routes.iter().map(|(_, route)| route);
        routes.chain([&self.default]).any(|route| route.headers.collects)
    }
}

/// What happens to the requests of a site or of a path pattern in it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The pattern as written, or `*` for the site's own route: a stable label in records.
    pub label: Arc<str>,
    /// Where requests go.
    pub upstream: UpstreamId,
    /// The response headers.
    pub headers: Arc<HeaderPolicy>,
    /// What its requests may cost.
    pub limits: RouteLimits,
    /// What responses are compressed with (default: nothing).
    pub compression: Compression,
}

/// Who signs a site's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// A public CA over ACME (the default).
    Acme,
    /// Gatehouse's own development CA.
    Internal,
    /// Whoever signed the certificates of [`Tls::certificates`].
    Files,
}

impl Issuer {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Internal => "internal",
            Self::Files => "files",
        }
    }
}
