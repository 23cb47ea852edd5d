//! What stays for the whole bench: a scratch directory, a certificate, the cheap upstream, and the
//! programs under test and in use.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tempfile::TempDir;

use super::usage::LOAD_CPU;
use crate::apt::{self, Tool};
use crate::process::{self, Running};
use crate::{Profile, port};

const TOOLS: [Tool; 5] = [
    Tool { program: "nginx", package: "nginx", service: Some("nginx") },
    Tool { program: "haproxy", package: "haproxy", service: Some("haproxy") },
    Tool { program: "wrk", package: "wrk", service: None },
    Tool { program: "h2load", package: "nghttp2-client", service: None },
    Tool { program: "openssl", package: "openssl", service: None },
];

const BOUND: Duration = Duration::from_secs(20);

/// A small answer, such as an API gives.
const JSON_BODY: &str = concat!(
    r#"{"status":"ok","service":"backend","version":"1.4.2","items":[{"id":1,"name":"alpha"},"#,
    r#"{"id":2,"name":"beta"},{"id":3,"name":"gamma"}],"page":1,"total":3,"next":null,"#,
    r#""took_ms":2,"pad":"xxxxxx"}"#
);

/// The fields are dropped in this order: the upstream first, then its files.
pub(super) struct Lab {
    _upstream: Running,
    scratch: TempDir,
    programs: PathBuf,
    pub(super) upstream_port: u16,
}

impl Lab {
    pub(super) fn set_up(with_gatehouse: bool) -> anyhow::Result<Self> {
        apt::ensure(&TOOLS)?;
        raise_descriptor_limit()?;
        let client = ["--package", "xtask", "--bin", "tls-client", "--features", "tls-client"];
        let programs = crate::build(Profile::Release, &client)?;
        if with_gatehouse {
            crate::build(Profile::Release, &["--package", "gatehouse"])?;
        }
        let scratch = tempfile::Builder::new().prefix("gatehouse-bench-").tempdir()?;
        make_certificate(scratch.path())?;
        std::fs::write(scratch.path().join("client-openssl.cnf"), CLIENT_TLS)?;
        let [upstream_port] = port::free()?;
        let upstream = start_upstream(scratch.path(), upstream_port)?;
        Ok(Self { _upstream: upstream, scratch, programs, upstream_port })
    }

    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(super) fn tls_client(&self) -> PathBuf {
        self.programs.join("tls-client")
    }

    pub(super) fn gatehouse(&self) -> PathBuf {
        self.programs.join("gatehouse")
    }
}

/// The same TLS parameters for every proxy: what wrk and h2load offer decides what is negotiated.
const CLIENT_TLS: &str = "\
openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
MinProtocol = TLSv1.2
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
";

/// Thousands of idle connections need as many descriptors; children inherit the limit.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(rustix::process::setrlimit(Resource::Nofile, raised)?)
}

/// An ECDSA P-256 certificate for the peers; Gatehouse makes one of the same kind itself.
fn make_certificate(scratch: &Path) -> anyhow::Result<()> {
    let mut command = process::guarded(apt::locate("openssl")?);
    command.current_dir(scratch).stderr(Stdio::null());
    command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(' '));
    command.args("-sha256 -days 30 -subj /CN=localhost -keyout key.pem -out cert.pem".split(' '));
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    process::capture("openssl", &mut command, BOUND)?;
    let read = |name: &str| std::fs::read_to_string(scratch.join(name));
    std::fs::write(scratch.join("combined.pem"), read("cert.pem")? + &read("key.pem")?)?;
    Ok(())
}

fn start_upstream(scratch: &Path, port: u16) -> anyhow::Result<Running> {
    std::fs::create_dir(scratch.join("www"))?;
    std::fs::write(scratch.join("www/1m"), incompressible(1 << 20))?;
    let config = scratch.join("upstream.conf");
    std::fs::write(&config, upstream_config(scratch, port))?;
    let mut running = Running::spawn("the upstream", &mut nginx(LOAD_CPU, &config)?)?;
    await_listener(&mut running, port)?;
    Ok(running)
}

/// Bytes that no proxy could make smaller: a xorshift sequence.
fn incompressible(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// `nginx` with a configuration, on one core.
pub(super) fn nginx(cpu: usize, config: &Path) -> anyhow::Result<Command> {
    let mut command = process::pinned(cpu, apt::locate("nginx")?);
    command.arg("-c").arg(config).arg("-e").arg(config.with_extension("err"));
    Ok(command)
}

/// The parts that every nginx here has: one worker in the foreground, files in the scratch.
pub(super) fn nginx_frame(name: &str, scratch: &Path, http: &str) -> String {
    let scratch = scratch.display();
    // The workers of a root's nginx would become `nobody`, who may not enter the scratch.
    let user = if rustix::process::geteuid().is_root() { "user root; " } else { "" };
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = write!(temporary, " {kind}_temp_path {scratch}/{name}-{kind};");
    }
    format!(
        "{user}worker_processes 1; daemon off; pid {scratch}/{name}.pid;
error_log {scratch}/{name}.err crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  server_tokens off; tcp_nodelay on; keepalive_requests 1000000000; client_max_body_size 64m;
 {temporary}
{http}
}}
"
    )
}

fn upstream_config(scratch: &Path, port: u16) -> String {
    let root = scratch.display();
    // `/upload` reads the whole body into memory and then answers: an honest sink.
    let http = format!(
        "  access_log off; sendfile on; keepalive_timeout 600s;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;
  client_body_buffer_size 2m;
  upstream sink {{
    server unix:{root}/sink.sock; keepalive 64; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {root}/www;
    location = / {{ default_type application/json; return 200 '{JSON_BODY}'; }}
    location = /upload {{
      proxy_pass http://sink/; proxy_pass_request_body off; proxy_http_version 1.1;
      proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\";
    }}
  }}
  server {{
    listen unix:{root}/sink.sock;
    location / {{ default_type text/plain; return 200 \"ok\\n\"; }}
  }}"
    );
    nginx_frame("upstream", scratch, &http)
}

/// Waits until somebody accepts connections on the port.
pub(super) fn await_listener(running: &mut Running, port: u16) -> anyhow::Result<()> {
    let connect = || TcpStream::connect(("127.0.0.1", port)).map(drop);
    running.wait_until(BOUND, || connect().map_err(|error| format!("port {port}: {error}")))
}
