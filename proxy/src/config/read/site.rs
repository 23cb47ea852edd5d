//! `[[site]]` and `[[site.route]]`.

use std::path::PathBuf;
use std::sync::Arc;

use super::client;
use super::client_certificates;
use super::headers::{Headers, Policies};
use super::limits;
use super::on_demand;
use super::pages::Pages;
use super::rate_limit::Scoped;
use super::upstream::Upstreams;
use crate::compression::{Coding, Compression};
use crate::config::host::host_or_wildcard;
use crate::config::model::{Access, Issuer, OnDemand, Route, RouteLimits, Scope, Site, UpstreamId};
use crate::config::nearest::suggestion;
use crate::config::section::Section;
use crate::config::source::Place;
use crate::config::values::At;
use crate::ramp::Climbed;
use crate::site::pattern::Pattern;

/// The sites so far.
#[derive(Default)]
pub(super) struct Sites<'t> {
    sites: Vec<Site>,
    /// Every host of every site, also of sites with faults.
    pub(super) hosts: Vec<At<String>>,
    /// Those whose certificates come from files.
    pub(super) from_files: Vec<At<String>>,
    /// The files of their pages.
    pub(super) files: Vec<PathBuf>,
    /// Rate limits that stand in sites and routes, to be read when all sites are known.
    pub(super) rate_limits: Vec<Scoped<'t>>,
    /// Wildcards whose certificates are obtained over ACME.
    pub(super) wildcards: Vec<At<String>>,
    /// Where hosts on demand stand first.
    on_demand: Option<Place>,
}

/// What a site inherits from other sections.
pub(super) struct Defaults {
    pub(super) limits: RouteLimits,
    pub(super) access: Arc<Access>,
}

/// What a section is a change of.
struct Outer<'a> {
    limits: &'a RouteLimits,
    headers: &'a Headers,
}

/// What a section says about its requests; what it leaves open is inherited.
struct Settings {
    upstream: Option<UpstreamId>,
    headers: Headers,
    limits: RouteLimits,
    codings: Option<Vec<Coding>>,
    padding: Option<bool>,
}

impl<'t> Sites<'t> {
    /// Reads all `[[site]]` sections.
    pub(super) fn read(
        &mut self,
        root: &mut Section<'t>,
        upstreams: &mut Upstreams,
        policies: &mut Policies<'_>,
        defaults: &Defaults,
    ) {
        for mut section in root.sections("site", "[[site]]") {
            let site = self.site(&mut section, upstreams, policies, defaults);
            self.sites.extend(site);
            section.finish();
        }
    }

    pub(super) fn into_list(self) -> Vec<Site> {
        self.sites
    }

    /// A site; `None` if it has no upstream to fall back on, which is a fault already noted.
    fn site(
        &mut self,
        section: &mut Section<'t>,
        upstreams: &mut Upstreams,
        policies: &mut Policies<'_>,
        defaults: &Defaults,
    ) -> Option<Site> {
        let hosts = self.hosts(section);
        let issuer = section.parsed("issuer", "issuer", |text| match text {
            "acme" => Ok(Issuer::Acme),
            "internal" => Ok(Issuer::Internal),
            "files" => Ok(Issuer::Files),
            other => Err(suggestion(other, ["acme", "internal", "files"])),
        });
        let issuer = issuer.map_or(Issuer::Acme, |at| at.value);
        let own = self.hosts.iter().skip(self.hosts.len() - hosts.len()).cloned();
        match issuer {
            Issuer::Files => self.from_files.extend(own),
            Issuer::Acme => self.wildcards.extend(own.filter(|at| at.value.starts_with("*."))),
            Issuer::Internal => {}
        }
        let on_demand = self.on_demand(section, issuer);
        let redirect_http = section.boolean("redirect_http");
        let client_certificates = client_certificates::read(section, &hosts, redirect_http);
        let ambiguous_paths = section.boolean("ambiguous_paths");
        let access = client::access(section);
        let Pages { pages, maintenance, files } = Pages::read(section);
        self.files.extend(files);
        section.require("upstream", "upstream = \"http://127.0.0.1:3000\"");
        let base = Headers::default();
        let outer = Outer { limits: &defaults.limits, headers: &base };
        let settings = Settings::read(section, upstreams, policies, &outer);
        settings.headers.doubt_preload(section, &hosts);
        let limits = settings.limits;
        let mut routes = section.sections("route", "[[site.route]]");
        let default = settings.upstream.map(|upstream| Route {
            label: Arc::from("*"),
            upstream,
            headers: Arc::clone(&settings.headers.policy),
            limits,
            compression: Compression {
                codings: settings.codings.unwrap_or_default(),
                padding: settings.padding.unwrap_or(false),
            },
        });
        self.rate_limits(section, &mut routes);
        let outer = Outer { limits: &limits, headers: &settings.headers };
        let routes = read_routes(routes, upstreams, policies, &outer, default.as_ref());
        Some(Site {
            hosts,
            issuer,
            on_demand,
            client_certificates,
            redirect_http: redirect_http.unwrap_or(true),
            ambiguous_paths: ambiguous_paths.unwrap_or(false),
            access: access.map_or_else(|| Arc::clone(&defaults.access), Arc::new),
            pages,
            maintenance: maintenance.map(Arc::new),
            default: default?,
            routes,
            climbed: Climbed::default(),
        })
    }

    /// Puts the rate limits of the site and of its routes by.
    fn rate_limits(&mut self, section: &mut Section<'t>, routes: &mut [Section<'t>]) {
        let site = self.sites.len();
        let rules = section.sections("rate_limit", "[[site.rate_limit]]");
        self.rate_limits.extend(rules.into_iter().map(|rule| (Scope::Site(site), rule)));
        for (index, route) in routes.iter_mut().enumerate() {
            let rules = route.sections("rate_limit", "[[site.route.rate_limit]]");
            let scope = Scope::Route(site, index);
            self.rate_limits.extend(rules.into_iter().map(|rule| (scope, rule)));
        }
    }

    /// Hosts on demand are of one site: nobody could say which of two has a host.
    fn on_demand(&mut self, section: &mut Section<'_>, issuer: Issuer) -> Option<OnDemand> {
        let (on_demand, place) = on_demand::read(section, issuer)?;
        match &self.on_demand {
            Some(first) => {
                let message = "two sites serve hosts that no site lists";
                section.findings.clash(&place, message, "keep one", "the other is", first);
            }
            None => self.on_demand = Some(place),
        }
        Some(on_demand)
    }

    fn hosts(&mut self, section: &mut Section<'_>) -> Vec<String> {
        section.require("hosts", "hosts = [\"app.example.com\"]");
        let Some(list) = section.list("hosts", "host", host_or_wildcard) else { return Vec::new() };
        section.note_empty("hosts", &list, "name at least one host");
        let earlier = self.hosts.len();
        for at in &list.items {
            let same = |first: &At<String>| first.value == at.value;
            if let Some(index) = self.hosts.iter().position(same)
                && let Some(first) = self.hosts.get(index)
            {
                let who = if index < earlier { "two sites have" } else { "the site has twice" };
                let message = format!("{who} the host `{}`", at.value);
                let (place, other) = (&at.place, &first.place);
                section.findings.clash(place, message, "keep one", "first named", other);
            }
            self.hosts.push(at.clone());
        }
        list.into_values()
    }
}

impl Settings {
    fn read(
        section: &mut Section<'_>,
        upstreams: &mut Upstreams,
        policies: &mut Policies<'_>,
        outer: &Outer<'_>,
    ) -> Self {
        let upstream = section.text("upstream");
        let headers = section.text("headers");
        Self {
            upstream: upstream.and_then(|name| upstreams.resolve(&name, section)),
            headers: headers
                .and_then(|name| policies.resolve(&name, section, outer.headers))
                .unwrap_or_else(|| outer.headers.clone()),
            limits: limits::of_route(section, outer.limits),
            codings: codings(section),
            padding: section.boolean("compress_padding"),
        }
    }
}

/// The content codings of `compress`, the preferred one first.
fn codings(section: &mut Section<'_>) -> Option<Vec<Coding>> {
    let list = section.list("compress", "content coding", |text| {
        let named = Coding::ALL.into_iter().find(|coding| coding.name() == text);
        named.ok_or_else(|| suggestion(text, Coding::ALL.map(Coding::name)))
    })?;
    for (index, later) in list.items.iter().enumerate() {
        if let Some(first) = list.items.iter().take(index).find(|at| at.value == later.value) {
            let message = format!("`compress` in {} names it twice", section.title);
            let (place, other) = (&later.place, &first.place);
            section.findings.clash(place, message, "keep one", "first named", other);
        }
    }
    Some(list.into_values())
}

/// Reads routes; each is complete with what it inherits from the site's own.
fn read_routes(
    sections: Vec<Section<'_>>,
    upstreams: &mut Upstreams,
    policies: &mut Policies<'_>,
    outer: &Outer<'_>,
    site: Option<&Route>,
) -> Vec<(Pattern, Route)> {
    let mut routes = Vec::new();
    let mut patterns: Vec<At<Pattern>> = Vec::new();
    for mut section in sections {
        let settings = Settings::read(&mut section, upstreams, policies, outer);
        section.require("path", "path = \"/api/{*rest}\"");
        if let Some(pattern) = section.parsed("path", "path pattern", Pattern::parse) {
            note_unreachable(&section, &patterns, &pattern);
            routes.extend(site.map(|site| {
                let route = Route {
                    label: Arc::from(pattern.value.as_str()),
                    upstream: settings.upstream.unwrap_or(site.upstream),
                    headers: settings.headers.policy,
                    limits: settings.limits,
                    compression: Compression {
                        codings: settings
                            .codings
                            .unwrap_or_else(|| site.compression.codings.clone()),
                        padding: settings.padding.unwrap_or(site.compression.padding),
                    },
                };
                (pattern.value.clone(), route)
            }));
            patterns.push(pattern);
        }
        section.finish();
    }
    routes
}

/// The first match wins: a route whose paths an earlier one takes all is dead.
fn note_unreachable(section: &Section<'_>, earlier: &[At<Pattern>], pattern: &At<Pattern>) {
    if let Some(first) = earlier.iter().find(|first| first.value.covers(&pattern.value)) {
        let message = format!("the route `{}` can never match", pattern.value.as_str());
        let remedy = format!("`{}` takes all its paths: move it up", first.value.as_str());
        let (place, other) = (&pattern.place, &first.place);
        section.findings.clash(place, message, remedy, "the earlier route is", other);
    }
}
