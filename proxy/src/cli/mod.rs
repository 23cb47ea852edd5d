//! The command line: `gatehouse run`, `check`, `init`, and what is asked of a running instance.
//!
//! Exit codes: 0 success, 1 the thing asked about is at fault, 2 wrong usage or unusable
//! configuration, 70 a failure of Gatehouse itself (`EX_SOFTWARE` of BSD's `sysexits.h`).

mod audit;
mod check;
mod csp;
mod explain;
mod import;
mod init;
mod manual;
mod place;
mod remote;
mod run;
mod simulate;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::application::Application;
use crate::config::{self, Config};

use self::csp::Csp;
use self::init::Init;
use self::place::Place;
use self::remote::{Remote, Request};

/// Wrong usage, or a configuration that cannot be used.
const UNUSABLE: u8 = 2;

/// A failure that is not the operator's.
const OWN_FAILURE: u8 = 70;

const EXAMPLES: &str = "\
Examples:
  gatehouse init                           write a configuration from a few answers
  gatehouse check                          find every fault of the configuration
  gatehouse check --json | jq .faults      the same for a machine
  gatehouse run                            serve until TERM or INT
  gatehouse run --config /srv/site.toml    serve what another file says
  gatehouse run -- node server.js          start the application, too, and look after it
  gatehouse reload                         let the running instance read it anew
  gatehouse activate backend green         send new requests to other servers
  gatehouse simulate /var/log/nginx/access.log*
                                           see what the limits would have rejected
  gatehouse audit app.example.com          grade what it shows to the world
  gatehouse certs list                     see when certificates end, and what failed
  gatehouse explain POST https://app.example.com/login
                                           see which limits a request falls under, and why
  gatehouse csp suggest                    see what would end the reports of browsers
  gatehouse certs import fullchain.pem --key privkey.pem

The smallest configuration:
  [[site]]
  hosts    = [\"app.example.com\"]
  upstream = \"http://127.0.0.1:3000\"

Exit codes: 0 success, 1 the thing asked about is at fault, 2 wrong usage or unusable
configuration, 70 own failure.";

/// A reverse proxy that terminates TLS, sets the security headers and holds the rate limits of one
/// application.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the sites of the configuration
    ///
    /// Nothing is bound before the whole configuration is found to be free of faults. TERM and INT
    /// stop accepting, let requests in flight finish for `drain_timeout`, and end with 0.
    ///
    /// With a COMMAND, that application is started as soon as the listeners are open, started
    /// again whenever it ends, and told to end (TERM) when the last request has been answered. Its
    /// standard output goes to standard error, which leaves standard output to the access log.
    Run {
        #[command(flatten)]
        place: Place,
        /// The application, and its arguments
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Write a commented configuration from a few answers or flags
    ///
    /// On a terminal, what no flag says is asked for; elsewhere --host and --upstream are needed.
    /// A file that exists is left alone.
    Init(Init),
    /// Find every fault of the configuration
    ///
    /// Faults go to standard error, each with its place and what to write instead; the exit code
    /// is then 1. Nothing is bound, and nothing is written.
    Check {
        #[command(flatten)]
        place: Place,
        /// Print one JSON document on standard output instead
        #[arg(long)]
        json: bool,
    },
    /// Grade a live site from outside: its TLS, its headers, its cookies
    ///
    /// Scores are those that the MDN HTTP Observatory publishes; TLS and what OWASP adds are looked
    /// at without a score. Each fault comes with what to write in gatehouse.toml. The exit code is
    /// 1 if the grade is worse than --at-least, or anything without a score is at fault.
    Audit(audit::Options),
    /// Replay access logs against the rate limits, before they are switched on
    ///
    /// Logs of Gatehouse and of Caddy (JSON), of nginx and Apache (combined), plain or packed with
    /// gzip or zstd. Says of every rule what it would have rejected, how high the rates of its keys
    /// are, and which limits would have rejected nobody.
    Simulate(simulate::Options),
    /// Let the running instance read its configuration anew
    ///
    /// The new one is checked whole, then swapped in between two requests; open connections live
    /// on. If it has faults, they are printed, the old one stays in use, and the exit code is 1.
    /// HUP does the same, and so does a change of the file.
    Reload(Remote),
    /// Say how the running instance is doing
    Status(Remote),
    /// Let the running instance finish what is in flight, and end
    Drain(Remote),
    /// Send new requests to another group of an upstream's servers (blue/green)
    ///
    /// At once and on every worker; requests in flight, WebSockets included, end where they began.
    /// Every server of the group is asked first how it is; if one fails, nothing changes and the
    /// exit code is 1. The choice outlives reloads and restarts, until `active` is changed in the
    /// file. `gatehouse status` says what is still in flight to each server.
    Activate {
        /// The NAME of an [upstream.NAME] with `groups`
        upstream: String,
        /// The group
        group: String,
        /// Even if a server of the group is not healthy
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// What a Content-Security-Policy stops, and what would let it through
    #[command(subcommand)]
    Csp(Csp),
    /// See and renew the certificates of the running instance
    #[command(subcommand)]
    Certs(Certs),
    /// See what the rate limits of the running instance have counted, and take it back
    #[command(subcommand)]
    Limits(Limits),
    /// Say what would happen to a request, and why
    ///
    /// By the configuration: who the client is, which site and route it takes, every rate limit and
    /// what it is counted by, and the headers of the response. Nothing is sent. With --id instead,
    /// a running instance says why it rejected the request that got this id (`instance` in the body
    /// of a 429, `x-request-id`, or `request_id` in a record).
    Explain {
        #[command(flatten)]
        question: explain::Question,
        /// The id of a request that a rate limit rejected
        #[arg(long, conflicts_with = "method")]
        id: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write man pages and shell completions into FOLDER, for packages
    #[command(hide = true)]
    Manual { folder: PathBuf },
}

#[derive(Debug, Subcommand)]
enum Certs {
    /// List every site's certificate, when it ends, and what went wrong last
    List(Remote),
    /// Order new certificates now, whatever the schedule says
    ///
    /// Of the site whose first host is NAME, or of all sites. The CA's limits hold all the same.
    Renew {
        /// The first host of a site
        name: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Replace the key of the account with each CA
    ///
    /// As a precaution from time to time, or because somebody may have seen it. Certificates and
    /// their keys stay as they are.
    Rollover(Remote),
    /// Put a certificate into the store that was obtained elsewhere
    ///
    /// For every site with issuer = "acme" all of whose hosts it is for. It is renewed in time as
    /// if it had been obtained here. A running instance takes it up at `gatehouse reload`.
    Import {
        /// The certificate and its chain in PEM, with the private key if there is no --key
        file: PathBuf,
        /// The private key, in PEM
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum Limits {
    /// List every rule: live keys, what was admitted and rejected, the busiest keys
    List(Remote),
    /// Forget what has been counted: bans, too
    Reset {
        /// The name of the rule
        rule: String,
        /// One key of it, as `limits list` shows it (the id, or what may be read of it)
        key: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { place, command } => {
            place.find().map(|path| run::run(&path, Application::new(command)))
        }
        Command::Manual { folder } => Ok(manual::manual(&folder)),
        Command::Init(options) => Ok(init::init(options)),
        Command::Audit(options) => Ok(audit::audit(options)),
        Command::Simulate(options) => simulate::simulate(options),
        Command::Check { place, json } => place.find().map(|path| check::check(&path, json)),
        Command::Reload(remote) => remote.ask(&Request::Reload),
        Command::Status(remote) => remote.ask(&Request::Status),
        Command::Drain(remote) => remote.ask(&Request::Drain),
        Command::Activate { upstream, group, force, remote } => {
            remote.ask(&Request::Activate { upstream, group, force })
        }
        Command::Limits(Limits::List(remote)) => remote.ask(&Request::Limits),
        Command::Limits(Limits::Reset { rule, key, remote }) => {
            remote.ask(&Request::Reset(rule, key))
        }
        Command::Explain { id: Some(id), remote, .. } => remote.ask(&Request::Rejection(id)),
        Command::Explain { question, remote, .. } => {
            let Remote { place, json, .. } = remote;
            place.find().map(|path| explain::answer(&path, question, json))
        }
        Command::Csp(command) => csp::run(command),
        Command::Certs(Certs::List(remote)) => remote.ask(&Request::Certificates),
        Command::Certs(Certs::Rollover(remote)) => remote.ask(&Request::Rollover),
        Command::Certs(Certs::Import { file, key, place }) => {
            place.find().map(|path| import::import(&path, &file, key.as_deref()))
        }
        Command::Certs(Certs::Renew { name, remote }) => remote.ask(&Request::Renew(name)),
    };
    result.unwrap_or_else(|missing| {
        complain(&format!("error: {missing}\n"));
        ExitCode::from(UNUSABLE)
    })
}

/// The configuration at `path`; if it cannot be used, its faults have been told.
fn load(path: &Path) -> Option<Config> {
    let loaded = config::load(path, &config::environment);
    loaded.inspect_err(|faults| complain(&faults.render(coloured()))).ok()
}

/// Prints a line. A reader that has gone away has seen enough.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Waits for something, on a runtime of its own.
fn wait_for<T>(action: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| error.to_string())?.block_on(action))
}

/// Writes to standard error. There is nobody left to tell if that fails.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether faults are coloured: on a terminal, unless <https://no-color.org> says no.
fn coloured() -> bool {
    let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && io::stderr().is_terminal()
}
