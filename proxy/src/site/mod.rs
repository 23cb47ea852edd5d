//! Which site and which route a request belongs to.
//!
//! The host is taken from the authority (HTTP/2, absolute-form) or from `Host`, which is all that a
//! request converted from HTTP/1.1 has over HTTP/2; one that names none, several, or two that
//! differ is refused (RFC 9112, 3.2; RFC 9113, 8.3.1). A connection remembers the last host it saw,
//! since nearly every request on it names the same.

mod name;
pub(crate) mod path;
pub mod pattern;
mod places;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Version, header};

use self::name::{are_equal, normalise};
use self::pattern::Pattern;
use self::places::Places;
use crate::acme::on_demand::door::Door;
use crate::client::Client;
use crate::compression::Compression;
use crate::config::{self, Access, Config, Maintenance, RouteLimits, UpstreamId};
use crate::error_page::ErrorPages;
use crate::pipeline::Origin;
use crate::policy::headers::HeaderPolicy;
use crate::ramp::Climbed;
use crate::rejection::Rejection;
use crate::snapshot::Snapshot;

/// The sites of a configuration, found by host.
pub(crate) struct Sites {
    sites: Vec<Site>,
    pub(crate) places: Places,
    /// The first host of the only site.
    only_host: Option<Box<str>>,
}

/// A set of hosts that are served alike.
pub(crate) struct Site {
    pub(crate) redirect_http: bool,
    pub(crate) ambiguous_paths: bool,
    /// The name under which reports of its policies are kept; `None` if there are to be none.
    pub(crate) reports: Option<Box<str>>,
    access: Arc<Access>,
    maintenance: Option<Arc<Maintenance>>,
    /// What a request gets that no route says otherwise for.
    pub(crate) default: Rc<Route>,
    /// First match wins.
    routes: Vec<(Pattern, Rc<Route>)>,
}

/// What happens to the requests of a site or of a path pattern in it.
pub(crate) struct Route {
    /// The pattern as written: a stable label in records.
    pub(crate) label: Box<str>,
    /// The site's place in the file.
    pub(crate) site: usize,
    /// Its place in the site; `None` for the site's own.
    pub(crate) index: Option<usize>,
    pub(crate) upstream: UpstreamId,
    pub(crate) headers: Arc<HeaderPolicy>,
    /// How far HSTS has climbed.
    pub(crate) climbed: Climbed,
    pub(crate) limits: RouteLimits,
    pub(crate) compression: Compression,
    /// The site's.
    pub(crate) pages: Rc<ErrorPages>,
}

impl Sites {
    /// A copy of the configured sites that shares no counter with any other: each worker has its
    /// own. Without a `door`, every host is approved that could be.
    pub(crate) fn new(config: &Config, door: Option<&Arc<Door>>) -> Self {
        let only_host = match config.sites.as_slice() {
            [only] => only.hosts.first().map(|host| host.as_str().into()),
            _ => None,
        };
        let sites = config.sites.iter().enumerate();
        Self {
            sites: sites.map(|(index, site)| Site::new(site, index)).collect(),
            places: Places::new(config, door),
            only_host,
        }
    }

    /// The host of a request as it is written, or implied where it need not be. `server_name` is
    /// what the connection was asked for (SNI).
    pub(crate) fn host_of<'a>(
        &'a self,
        head: &'a Parts,
        server_name: Option<&'a str>,
    ) -> Result<&'a [u8], Rejection> {
        match raw_host(head)? {
            Some(raw) => Ok(raw),
            // Only HTTP/1.1 asks for one (RFC 9112, 3.2).
            None if head.version == Version::HTTP_10 => {
                let implied = server_name.or(self.only_host.as_deref());
                Ok(implied.ok_or(Rejection::HostInvalid)?.as_bytes())
            }
            None => Err(Rejection::HostInvalid),
        }
    }

    /// The name of a host as written, and the place of the site that serves it.
    pub(crate) fn find(
        &self,
        raw: &[u8],
        server_name: Option<&str>,
    ) -> Result<(Box<str>, Option<usize>), Rejection> {
        let name = normalise(raw).ok_or(Rejection::HostInvalid)?;
        let site = self.places.of(&name);
        let asked = server_name.and_then(|name| self.places.of(name));
        if site.is_some() && asked.is_some() && site != asked {
            // What was agreed on for one site does not hold for another (RFC 9110, 7.4).
            return Err(Rejection::HostMisdirected);
        }
        Ok((name, site))
    }

    /// The site at a place.
    pub(crate) fn get(&self, place: Option<usize>) -> Result<&Site, Rejection> {
        place.and_then(|place| self.sites.get(place)).ok_or(Rejection::HostUnknown)
    }

    /// The route whose headers a response carries that belongs to no site.
    pub(crate) fn fallback(&self) -> Option<&Rc<Route>> {
        self.sites.first().map(|site| &site.default)
    }
}

impl Site {
    fn new(site: &config::Site, place: usize) -> Self {
        let routes = site.routes.iter().enumerate();
        let pages = Rc::new(ErrorPages::new(&site.pages));
        Self {
            redirect_http: site.redirect_http,
            ambiguous_paths: site.ambiguous_paths,
            reports: site.collects_reports().then(|| site.name().into()),
            access: Arc::clone(&site.access),
            maintenance: site.maintenance.clone(),
            default: Route::new(&site.default, &site.climbed, &pages, place, None),
            routes: routes
                .map(|(index, (pattern, route))| {
                    (pattern.clone(), Route::new(route, &site.climbed, &pages, place, Some(index)))
                })
                .collect(),
        }
    }

    /// Refuses a client that may not use it, ever or now.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<(), Rejection> {
        let Access { allow, deny } = &*self.access;
        if deny.contains(client) || !(allow.is_empty() || allow.contains(client)) {
            return Err(Rejection::ClientDenied);
        }
        match &self.maintenance {
            Some(closed) if !closed.allow.contains(client) => {
                Err(Rejection::Maintenance(closed.retry_after.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// The first route that holds a clean path, else the site's own.
    pub(crate) fn route(&self, path: &str) -> &Rc<Route> {
        let mut routes = self.routes.iter();
        routes
            .find_map(|(pattern, route)| pattern.matches(path).then_some(route))
            .unwrap_or(&self.default)
    }
}

impl Route {
    fn new(
        route: &config::Route,
        climbed: &Climbed,
        pages: &Rc<ErrorPages>,
        site: usize,
        index: Option<usize>,
    ) -> Rc<Self> {
        Rc::new(Self {
            label: (*route.label).into(),
            site,
            index,
            upstream: route.upstream,
            headers: Arc::clone(&route.headers),
            climbed: climbed.clone(),
            limits: route.limits,
            compression: route.compression.clone(),
            pages: Rc::clone(pages),
        })
    }
}

/// The host that a request names.
#[derive(Debug)]
pub(crate) struct Host {
    /// Lower case, without port, IPv6 without brackets.
    pub(crate) name: Box<str>,
    /// As the client wrote it, with port: the `Host` that goes upstream.
    pub(crate) field: HeaderValue,
    /// The `Forwarded` element that goes upstream for this host and the client and scheme below.
    pub(crate) forwarded: HeaderValue,
    client: Rc<Client>,
    secure: bool,
    /// The site that serves it, in the snapshot of this generation.
    site: Option<usize>,
    generation: u64,
}

impl Host {
    pub(crate) fn site<'a>(&self, sites: &'a Sites) -> Result<&'a Site, Rejection> {
        sites.get(self.site)
    }
}

/// The last host of a connection.
#[derive(Debug, Default)]
pub(crate) struct HostCache(RefCell<Option<Rc<Host>>>);

impl HostCache {
    /// Finds the host of a request.
    pub(crate) fn host(
        &self,
        head: &Parts,
        origin: &Origin,
        snapshot: &Snapshot,
        client: &Rc<Client>,
        secure: bool,
    ) -> Result<Rc<Host>, Rejection> {
        let (sites, session) = (&snapshot.sites, origin.tls.as_ref());
        let server_name = session.and_then(|session| session.server_name.as_deref());
        let raw = sites.host_of(head, server_name)?;
        if let Some(host) = &*self.0.borrow()
            && host.field.as_bytes() == raw
            && Rc::ptr_eq(&host.client, client)
            && host.secure == secure
            && host.generation == snapshot.plan.generation
        {
            return Ok(Rc::clone(host));
        }
        let (name, site) = sites.find(raw, server_name)?;
        if site.is_none() {
            sites.places.knock(&name, client.ip);
        }
        let asking = site.and_then(|site| snapshot.plan.tls.asking(site));
        let fits = asking.is_none_or(|asking| session.is_some_and(|s| s.is_under(asking)));
        if !fits && (secure || session.is_some()) {
            // It asks for certificates, and this connection was not asked. Over plain HTTP the
            // site is a redirect.
            return Err(Rejection::HostMisdirected);
        }
        let field = HeaderValue::from_bytes(raw).map_err(|_| Rejection::HostInvalid)?;
        let forwarded = client.forwarded(raw, secure).ok_or(Rejection::HostInvalid)?;
        let client = Rc::clone(client);
        let generation = snapshot.plan.generation;
        let host = Rc::new(Host { name, field, forwarded, client, secure, site, generation });
        // One that no site serves may be approved in a moment.
        if site.is_some() {
            *self.0.borrow_mut() = Some(Rc::clone(&host));
        }
        Ok(host)
    }
}

/// The one host that a request names, as written; `None` if it names none.
fn raw_host(head: &Parts) -> Result<Option<&[u8]>, Rejection> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Rejection::HostInvalid);
    }
    let uri = &head.uri;
    match (uri.authority(), field) {
        (Some(authority), Some(field))
            if !are_equal(field.as_bytes(), authority.as_str().as_bytes(), uri.scheme_str()) =>
        {
            Err(Rejection::HostInvalid)
        }
        (Some(authority), _) => Ok(Some(authority.as_str().as_bytes())),
        (None, field) => Ok(field.map(HeaderValue::as_bytes)),
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
