//! The servers that the tests need: started on free ports in a temporary directory, stopped when
//! [`Services`] is dropped. Never the machine's own instances.
//!
//! A further server is one more function that returns its [`Running`] and its variable.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::apt::{self, Tool};
use crate::port;
use crate::process::{self, Running};

const TOOLS: [Tool; 16] = [
    Tool { program: "initdb", package: "postgresql", service: Some("postgresql") },
    Tool { program: "postgres", package: "postgresql", service: Some("postgresql") },
    Tool { program: "redis-cli", package: "redis-tools", service: None },
    Tool { program: "curl", package: "curl", service: None },
    Tool { program: "redis-server", package: "redis-server", service: Some("redis-server") },
    // Started by the tests themselves, one for each execution.
    Tool { program: "chromium", package: "chromium", service: None },
    Tool { program: "chromium-headless-shell", package: "chromium-headless-shell", service: None },
    Tool { program: "chromedriver", package: "chromium-driver", service: None },
    Tool { program: "pebble", package: "pebble", service: None },
    Tool { program: "pebble-challtestsrv", package: "pebble", service: None },
    Tool { program: "named", package: "bind9", service: Some("named") },
    Tool { program: "node", package: "nodejs", service: None },
    Tool { program: "npm", package: "npm", service: None },
    Tool { program: "openssl", package: "openssl", service: None },
    Tool { program: "faketime", package: "faketime", service: None },
    Tool { program: "testssl", package: "testssl.sh", service: None },
];

const START_BOUND: Duration = Duration::from_secs(60);

/// Running servers. The fields are dropped in this order: servers first, then their files.
#[derive(Debug)]
pub(crate) struct Services {
    _running: Vec<Running>,
    _scratch: TempDir,
    /// What the tests read to find the servers.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// Installs what is missing, or says which command does.
pub(crate) fn ensure_installed() -> anyhow::Result<()> {
    apt::ensure(&TOOLS)
}

/// Starts every server and waits until it answers.
pub(crate) fn start() -> anyhow::Result<Services> {
    let scratch = tempfile::Builder::new().prefix("gatehouse-test-").tempdir()?;
    let [postgres_port, redis_port] = port::free()?;
    let postgres = start_postgres(scratch.path(), postgres_port)?;
    let redis = start_redis(scratch.path(), redis_port)?;
    let environment = vec![
        ("TEST_DATABASE_URL", format!("postgres://postgres@127.0.0.1:{postgres_port}/postgres")),
        ("TEST_REDIS_URL", format!("redis://127.0.0.1:{redis_port}/0")),
    ];
    Ok(Services { _running: vec![postgres, redis], _scratch: scratch, environment })
}

/// Starts PostgreSQL alone.
pub(crate) fn start_postgres_alone() -> anyhow::Result<Services> {
    let scratch = tempfile::Builder::new().prefix("gatehouse-bench-").tempdir()?;
    let [port] = port::free()?;
    let running = vec![start_postgres(scratch.path(), port)?];
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let environment = vec![("TEST_DATABASE_URL", url)];
    Ok(Services { _running: running, _scratch: scratch, environment })
}

fn start_postgres(scratch: &Path, port: u16) -> anyhow::Result<Running> {
    let user = postgres_user()?;
    if let Some((uid, gid)) = user {
        // The scratch directory holds nothing but these servers' files; Redis runs as root.
        std::os::unix::fs::chown(scratch, Some(uid), Some(gid))?;
    }
    let data = scratch.join("postgres");
    let as_user = |program: &str| -> anyhow::Result<Command> {
        let mut command = process::guarded(apt::locate(program)?);
        command.current_dir(scratch).arg("-D").arg(&data);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    };
    let mut initdb = as_user("initdb")?;
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    process::capture("initdb", initdb.arg("--no-sync"), START_BOUND)?;

    let mut command = as_user("postgres")?;
    command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    command.args(["-c", "unix_socket_directories=", "-c", "max_connections=300"]);
    // The data dies with the run: nothing has to reach a disk.
    command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
    // INT is PostgreSQL's fast shutdown; TERM would wait for connected clients.
    let mut running =
        Running::spawn_logged("PostgreSQL", &mut command, scratch.join("postgres.log"))?
            .stopped_by(Signal::INT, Duration::from_secs(10));
    running.wait_until(START_BOUND, || {
        // In answer to a startup packet it says `R` (authenticated), or `E` while it starts.
        match exchange(port, &startup_packet()) {
            Ok(b'R') => Ok(()),
            Ok(_) => Err("it is still starting".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })?;
    Ok(running)
}

/// PostgreSQL refuses to run as root: then the user that its package makes, else no change.
fn postgres_user() -> anyhow::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let Some(ids) = user_ids(&passwd, "postgres") else {
        bail!("PostgreSQL does not run as root and there is no user `postgres`: add one");
    };
    Ok(Some(ids))
}

fn user_ids(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let mut fields = passwd
        .lines()
        .map(|line| line.split(':'))
        .find(|line| line.clone().next() == Some(user))?;
    Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn start_redis(scratch: &Path, port: u16) -> anyhow::Result<Running> {
    let mut command = process::guarded(apt::locate("redis-server")?);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "no", "--dir"]).arg(scratch);
    let log = scratch.join("redis.log");
    let mut running = Running::spawn_logged("Redis", &mut command, log)?;
    running.wait_until(START_BOUND, || match exchange(port, b"PING\r\n") {
        Ok(b'+') => Ok(()),
        Ok(_) => Err("it is still starting".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    Ok(running)
}

/// Sends bytes to a server and gives the first byte of its answer.
fn exchange(port: u16, request: &[u8]) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(request)?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

/// A startup message of protocol 3.0: length, version, then `name\0value\0` pairs and a zero.
fn startup_packet() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    [length.to_be_bytes().as_slice(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_ids_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:105:113:PostgreSQL:/var:/bin/sh\n";
        assert_eq!(user_ids(passwd, "postgres"), Some((105, 113)));
        assert_eq!(user_ids(passwd, "post"), None);
    }

    #[test]
    fn the_startup_packet_says_its_own_length() {
        let packet = startup_packet();
        assert_eq!(packet[..4], u32::try_from(packet.len()).unwrap().to_be_bytes());
        assert!(packet.ends_with(b"user\0postgres\0\0"));
    }
}
