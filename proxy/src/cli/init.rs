//! `gatehouse init`: a configuration from a few answers or flags.
//!
//! What is written has been read by the very reader of `gatehouse run` first, so a wrong answer is
//! a fault of that answer and not of a file that exists already.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::place::VARIABLE;
use super::{UNUSABLE, coloured, complain, print};
use crate::config;

/// Where `gatehouse run` looks first.
const DEFAULT: &str = "config/gatehouse.toml";

/// The name that stands for standard output.
const STDOUT: &str = "-";

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where to write it; `-` is standard output [default: $GATEHOUSE_CONFIG, else
    /// config/gatehouse.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A host name that the site answers to; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The application behind it: http://ADDRESS:PORT or unix:/PATH
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Whom the certificate authority may write to
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Requests that a client may make per minute
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

/// What the configuration is made of.
struct Answers {
    hosts: Vec<String>,
    upstream: String,
    email: String,
    limit: u32,
}

/// Asks for what no flag says, where there is somebody to ask, and writes the file.
pub(super) fn init(init: Init) -> ExitCode {
    let variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = init.config.clone().or_else(variable).unwrap_or_else(|| DEFAULT.into());
    let (to_stdout, force) = (path == Path::new(STDOUT), init.force);
    let written = answers(init).and_then(|answers| {
        let text = answers.render();
        if let Err(faults) = config::load_text(&path, &text, &config::environment) {
            return Err(faults.render(coloured()));
        }
        if to_stdout {
            print(text.trim_end());
            return Ok(());
        }
        write(&path, &text, force)
    });
    match written {
        Ok(()) if to_stdout => ExitCode::SUCCESS,
        Ok(()) => {
            let file = path.display();
            print(&format!("{file} is written; next: gatehouse run --config {file}"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            complain(&format!("{}\n", message.trim_end()));
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Flags, then answers, then defaults; what has no default must have been said.
fn answers(init: Init) -> Result<Answers, String> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !asks && (init.hosts.is_empty() || init.upstream.is_none()) {
        return Err("error: there is nobody to ask: say --host NAME and --upstream URL".to_owned());
    }
    let ask = |given: Option<String>, question: &str, default: &str| match given {
        Some(given) => Ok(given),
        None if asks => answer(question, default),
        None => Ok(default.to_owned()),
    };
    let hosts = Some(init.hosts.join(" ")).filter(|hosts| !hosts.is_empty());
    let hosts = ask(hosts, "Host names of the site, with spaces between them", "localhost")?;
    let hosts: Vec<_> = hosts.split_whitespace().map(str::to_owned).collect();
    let upstream = ask(init.upstream, "Where is the application?", "http://127.0.0.1:3000")?;
    let email = match hosts.iter().all(|host| is_local(host)) {
        true => String::new(),
        false => ask(init.email, "Whom may the certificate authority write to? (optional)", "")?,
    };
    let limit = init.limit.map(|limit| limit.to_string());
    let limit = ask(limit, "Requests that a client may make per minute", "100")?;
    let limit = limit.parse().map_err(|_| format!("error: {limit:?} is not a number"))?;
    Ok(Answers { hosts, upstream, email, limit })
}

/// Asks on standard error, so that standard output stays the configuration's.
fn answer(question: &str, default: &str) -> Result<String, String> {
    let hint = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    complain(&format!("{question}{hint}: "));
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err("\nerror: no answer; nothing is written".to_owned()),
        Ok(_) => Ok(Some(line.trim()).filter(|l| !l.is_empty()).unwrap_or(default).to_owned()),
        Err(error) => Err(format!("error: cannot read the answer: {error}")),
    }
}

/// Whether no public authority can vouch for a host.
fn is_local(host: &str) -> bool {
    let label = host.rsplit('.').next().unwrap_or(host);
    host.parse::<IpAddr>().is_ok() || matches!(label, "localhost" | "test" | "internal" | "local")
}

impl Answers {
    fn render(&self) -> String {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let hosts = self.hosts.iter().map(|host| quote(host)).collect::<Vec<_>>().join(", ");
        let (upstream, limit) = (quote(&self.upstream), self.limit);
        let (before, issuer) = if self.hosts.iter().all(|host| is_local(host)) {
            (LOCAL.to_owned(), LOCAL_ISSUER)
        } else {
            (PUBLIC.replace("EMAIL", &quote(&self.email)), "")
        };
        format!(
            "# Gatehouse. `gatehouse check` finds every fault; a running instance reads the file \
             anew\n# when it changes. Durations: \"250ms\" \"60s\" \"1h\". Sizes: \"16KiB\". \
             Variables: \"${{NAME:-default}}\".\n\n{before}\n\
             [[site]]\nhosts    = [{hosts}]\n{issuer}upstream = {upstream}\n{SITE}\n\
             # In every interval of 60 s, however it is placed, a client may make {limit} \
             requests.\n\
             [[rate_limit]]\nname   = \"global\"\nlimit  = {limit}\nwindow = \"60s\"\n{RULES}"
        )
    }
}

const LOCAL: &str = "\
# Only this machine is served. Without this section: ports 80 and 443 of every address.
[listen]
http  = [\"127.0.0.1:8080\"]               # redirects to https
https = [\"127.0.0.1:8443\"]

[tls]
store = \"certs\"                          # the development CA and its keys; trust its certificate
";

const LOCAL_ISSUER: &str = "issuer   = \"internal\"                   # the development CA\n";

const PUBLIC: &str = "\
# Certificates come from Let's Encrypt and are renewed without you. Ports 80 and 443 must be
# reachable under the names of the site.
[acme]
email = EMAIL                           # told of problems; may be empty

[tls]
store = \"/var/lib/gatehouse/certs\"       # keys and certificates; keep it
";

const SITE: &str = "\
# headers  = \"site\"                     # of [headers.site]; else the preset \"helmet\"
# compress = [\"zstd\", \"br\", \"gzip\"]       # nothing is compressed unless you say so

# Behind a load balancer or a CDN: who may say on whose behalf a request comes.
# [client]
# trusted_proxies = [\"10.0.0.0/8\"]
";

const RULES: &str = "
# A second rule, for one path; every rule that matches must admit a request.
# [[rate_limit]]
# name   = \"login\"
# match  = { methods = [\"POST\"], path = \"/api/auth/login\" }
# limit  = 5
# window = \"60s\"
";

/// Writes a file that is whole or not there.
fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let fail = |error: io::Error| format!("error: cannot write {}: {error}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut options = OpenOptions::new();
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.write(true).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() == io::ErrorKind::AlreadyExists {
        true => format!("error: {} exists; --force replaces it", path.display()),
        false => fail(error),
    })
}
