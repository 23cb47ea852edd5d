//! TCP ports of the loopback address: which are free, and who holds one that is not.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::bail;

use crate::process;

/// Below Linux's ephemeral ports, so that no outgoing connection can take one between two uses.
const FIRST: u16 = 17_000;
const LAST: u16 = 32_000;

/// `N` different ports on which nothing listens.
pub(crate) fn free<const N: usize>() -> anyhow::Result<[u16; N]> {
    // Two runs at once start their search at different places.
    let span = u32::from(LAST - FIRST);
    let offset = u16::try_from(std::process::id().wrapping_mul(97) % span).unwrap_or(0);
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    let candidates = (FIRST + offset..LAST).chain(FIRST..FIRST + offset);
    let mut free = candidates.filter_map(|port| Some((port, bind(port).ok()?)));
    for slot in &mut ports {
        let Some((port, listener)) = free.next() else { bail!("no free port on 127.0.0.1") };
        *slot = port;
        listeners.push(listener);
    }
    Ok(ports)
}

/// Whether a server could listen on this port.
pub(crate) fn is_free(port: u16) -> bool {
    bind(port).is_ok()
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Who listens on a port, as far as this user may see it: `process 1234 (nginx -c ...)`.
pub(crate) fn holder(port: u16) -> Option<String> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pid = process::all().into_iter().find(|&pid| holds(pid, &sockets))?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(format!("process {pid} ({})", command.trim()))
}

fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| sockets.iter().any(|socket| Path::new(socket) == target))
}

/// The inodes of the sockets that listen on `port`, in the format of `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local, 16) == Ok(port);
        listens.then(|| fields.get(9)?.parse().ok())?
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0
";

    #[test]
    fn only_the_listening_socket_of_the_port_counts() {
        assert_eq!(listening(TABLE, 8080), [4711]);
        assert_eq!(listening(TABLE, 80), [4713]);
        assert_eq!(listening(TABLE, 443), []);
    }

    #[test]
    fn a_listener_of_this_very_process_is_named() {
        let [port] = free::<1>().unwrap();
        let listener = bind(port).unwrap();
        assert!(!is_free(port));
        let holder = holder(port).unwrap();
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
        drop(listener);
    }

    #[test]
    fn free_ports_differ() {
        let [first, second, third] = free::<3>().unwrap();
        assert!(first != second && second != third && first != third);
    }
}
