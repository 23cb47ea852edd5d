//! The proxies under test, asked for the same work: TLS 1.2 and 1.3 with a P-256 certificate, h2
//! and http/1.1 by ALPN, ten response headers, a limit per client that is evaluated on every
//! request, a record of each request in a file, and a pool of connections to the upstream.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::bail;

use super::lab::{self, Lab};
use super::load;
use super::usage::PROXY_CPU;
use crate::process::{self, Running};
use crate::{apt, port};

/// What a program under test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Proxy {
    Nginx,
    Haproxy,
    Gatehouse,
}

const HEADERS: [(&str, &str); 10] = [
    (
        "content-security-policy",
        "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self'; \
         img-src 'self' data: https:",
    ),
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-dns-prefetch-control", "off"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// The same in Gatehouse's words: it writes some of the values itself from their parts.
const GATEHOUSE_HEADERS: &str = r#"
[headers.bench]
preset = "none"
csp.default-src = ["'self'"]
csp.style-src = ["'self'", "'unsafe-inline'"]
csp.script-src = ["'self'"]
csp.img-src = ["'self'", "data:", "https:"]
hsts = { max_age = "365d", include_subdomains = true, preload = true, acknowledge_preload = true }
x-frame-options = "DENY"
x-content-type-options = "nosniff"
referrer-policy = "strict-origin-when-cross-origin"
cross-origin-opener-policy = "same-origin"
cross-origin-resource-policy = "same-origin"
x-dns-prefetch-control = "off"
x-permitted-cross-domain-policies = "none"
x-xss-protection = "0"
"#;

/// A started proxy.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) port: u16,
}

impl Proxy {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Gatehouse];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Gatehouse => "gatehouse",
        }
    }

    /// Starts it on the proxy's core; `limited` sets its limit to ten requests a minute.
    pub(super) fn start(self, lab: &Lab, limited: bool) -> anyhow::Result<Started> {
        let ports = port::free()?;
        let [_, port, _] = ports;
        let site = Site { lab, ports, limited, log: lab.scratch().join(self.name()) };
        let mut command = match self {
            Self::Nginx => nginx(&site),
            Self::Haproxy => haproxy(&site),
            Self::Gatehouse => gatehouse(&site),
        }?;
        // The last run's records would only fill the disk. HAProxy writes its own to its output.
        File::create(site.log.with_extension("log"))?;
        let output = site.log.with_extension("out");
        let mut running = Running::spawn_logged(self.name(), &mut command, output)?;
        lab::await_listener(&mut running, port)?;
        Ok(Started { running, port })
    }

    /// Measuring is for a proxy that does the work: the answer is there, and so is every header.
    pub(super) fn verify(self, lab: &Lab) -> anyhow::Result<()> {
        let started = self.start(lab, false)?;
        let mut command = load::generator(lab, lab.tls_client());
        command.args(["get", &started.port.to_string(), "/"]);
        let head = process::capture("tls-client", &mut command, load::BOUND)?;
        let missing = missing_headers(&head);
        if !head.starts_with("HTTP/1.1 200") || !missing.is_empty() {
            bail!("{} does other work; without {missing:?} it answers\n{head}", self.name());
        }
        Ok(())
    }
}

/// Names and blanks may be written as each proxy likes; the values may not.
fn missing_headers(head: &str) -> Vec<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(' ', "");
    let lines: Vec<String> = head.lines().map(plain).collect();
    let present = |name: &str, value: &str| lines.contains(&plain(&format!("{name}:{value}")));
    HEADERS.iter().filter(|(name, value)| !present(name, value)).map(|(name, _)| *name).collect()
}

/// What every configuration is made from.
struct Site<'a> {
    lab: &'a Lab,
    /// Plain, TLS, and admin.
    ports: [u16; 3],
    limited: bool,
    /// The access log, without its extension.
    log: std::path::PathBuf,
}

impl Site<'_> {
    fn scratch(&self) -> &Path {
        self.lab.scratch()
    }

    /// Each header by a format of its own.
    fn headers(&self, line: impl Fn(&str, &str) -> String) -> String {
        HEADERS.iter().fold(String::new(), |mut all, (name, value)| {
            let _ = writeln!(all, "{}", line(name, value));
            all
        })
    }
}

fn nginx(site: &Site<'_>) -> anyhow::Result<Command> {
    let [plain, tls, _] = site.ports;
    let (rate, burst) = if site.limited { ("10r/m", 10) } else { ("1000000r/s", 100_000) };
    let headers = site.headers(|name, value| format!("    add_header {name} \"{value}\" always;"));
    let http = format!(
        "  access_log {log}.log combined buffer=64k flush=1s;
  keepalive_timeout 300s; client_body_buffer_size 64k;
  limit_req_zone $binary_remote_addr zone=rl:10m rate={rate};
  limit_req_status 429; limit_req_log_level info;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:10m; ssl_session_tickets on;
  ssl_certificate {scratch}/cert.pem; ssl_certificate_key {scratch}/key.pem;
  upstream be {{
    server 127.0.0.1:{upstream};
    keepalive 256; keepalive_requests 1000000000; keepalive_timeout 300s;
  }}
  server {{
    listen 127.0.0.1:{tls} ssl http2 backlog=4096;
    listen 127.0.0.1:{plain} backlog=4096;
    server_name localhost;
    limit_req zone=rl burst={burst} nodelay;
{headers}
    location / {{
      proxy_pass http://be; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
      proxy_buffers 16 32k; proxy_buffer_size 16k; proxy_busy_buffers_size 64k;
    }}
  }}",
        log = site.log.display(),
        scratch = site.scratch().display(),
        upstream = site.lab.upstream_port,
    );
    let config = site.scratch().join("nginx.conf");
    std::fs::write(&config, lab::nginx_frame("nginx", site.scratch(), &http))?;
    lab::nginx(PROXY_CPU, &config)
}

fn haproxy(site: &Site<'_>) -> anyhow::Result<Command> {
    let [plain, tls, _] = site.ports;
    let (period, limit) = if site.limited { ("60s", 10) } else { ("1s", 1_000_000) };
    let headers =
        site.headers(|name, value| format!("  http-after-response set-header {name} \"{value}\""));
    let text = format!(
        "global
  nbthread 1
  maxconn 6500
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  log global
  option httplog
  option dontlognull
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
frontend fe
  bind 127.0.0.1:{tls} backlog 4096 ssl crt {scratch}/combined.pem alpn h2,http/1.1
  bind 127.0.0.1:{plain} backlog 4096
  stick-table type ip size 100k expire 120s store http_req_rate({period})
  http-request track-sc0 src
  http-request return status 429 content-type text/plain lf-string \"slow down\" \
            if {{ sc_http_req_rate(0) gt {limit} }}
  option forwardfor
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
{headers}  default_backend be
backend be
  http-reuse always
  server s1 127.0.0.1:{upstream} pool-purge-delay 300s
",
        scratch = site.scratch().display(),
        upstream = site.lab.upstream_port,
    );
    let config = site.scratch().join("haproxy.cfg");
    std::fs::write(&config, text)?;
    let mut command = process::pinned(PROXY_CPU, apt::locate("haproxy")?);
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

fn gatehouse(site: &Site<'_>) -> anyhow::Result<Command> {
    let config = site.scratch().join("gatehouse.toml");
    std::fs::write(&config, gatehouse_config(site))?;
    let mut command = process::pinned(PROXY_CPU, site.lab.gatehouse());
    command.args(["run", "--config"]).arg(config);
    Ok(command)
}

fn gatehouse_config(site: &Site<'_>) -> String {
    let [plain, tls, admin] = site.ports;
    let (limit, window) = if site.limited { (10, "60s") } else { (1_000_000, "1s") };
    format!(
        "[listen]
http = [\"127.0.0.1:{plain}\"]
https = [\"127.0.0.1:{tls}\"]
admin = \"127.0.0.1:{admin}\"
workers = 1

[tls]
store = \"{scratch}/gatehouse-certs\"

[limits]
connections_per_client = 20000
idle_timeout = \"300s\"

[[site]]
hosts = [\"localhost\", \"127.0.0.1\"]
issuer = \"internal\"
upstream = \"http://127.0.0.1:{upstream}\"
headers = \"bench\"
{GATEHOUSE_HEADERS}
[[rate_limit]]
name = \"bench\"
limit = {limit}
window = \"{window}\"

[log]
access = \"{log}.log\"
",
        scratch = site.scratch().display(),
        upstream = site.lab.upstream_port,
        log = site.log.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_counts_only_with_its_value() {
        let head: String =
            HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = head.replace("; ", ";").replace("x-f", "X-F");
        assert!(missing_headers(&head).is_empty());
        let other = head.replace("DENY", "SAMEORIGIN");
        assert_eq!(missing_headers(&other), ["x-frame-options"]);
    }
}
