//! Listening sockets: one per address and worker, shared by the kernel (`SO_REUSEPORT`); or one for
//! all workers that a supervisor has opened.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Listen;
use crate::supervisor;

/// Connections that may wait to be accepted, per socket; the kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Bytes of a response that the kernel holds of a connection and has not sent yet. Without it a
/// client that takes nothing has it hold some megabytes.
const UNSENT: u32 = 128 << 10;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", hint(source))]
pub struct ListenError {
    pub(crate) address: String,
    pub(crate) source: io::Error,
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most kinds need no hint")]
fn hint(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it, `ss -ltnp` shows which",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        _ => "",
    };
    format!("{error}{remedy}")
}

/// A listener, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) secure: bool,
    pub(crate) address: SocketAddr,
}

/// One worker's socket of a listener.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) key: Key,
    pub(crate) socket: TcpListener,
}

/// The listeners of clients, and the addresses that they got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets {
    open: Vec<(Key, SocketAddr)>,
    /// What the supervisor listens on, used in the place of sockets of our own.
    inherited: Arc<[TcpListener]>,
}

impl Sockets {
    /// None of our own yet.
    pub(crate) fn inherit() -> Result<Self, ListenError> {
        Ok(Self { open: Vec::new(), inherited: supervisor::listeners()?.into() })
    }

    /// What `listen` asks for: of these, what stays; and what is new, opened for each worker.
    pub(crate) fn open(
        &self,
        listen: &Listen,
        workers: usize,
    ) -> Result<(Self, Vec<Vec<Opened>>), ListenError> {
        let mut next = Self { open: Vec::new(), inherited: Arc::clone(&self.inherited) };
        let mut opened: Vec<Vec<Opened>> = Vec::new();
        opened.resize_with(workers, Vec::new);
        for key in keys(listen) {
            if let Some(open) = self.open.iter().find(|(open, _)| *open == key) {
                next.open.push(*open);
                continue;
            }
            let sockets = match self.inherited(key.address) {
                Some(socket) => share(socket, workers)?,
                None => bind(key.address, workers, listen.share_ports)?,
            };
            let local = sockets.first().and_then(|socket| socket.local_addr().ok());
            next.open.push((key, local.unwrap_or(key.address)));
            for (worker, socket) in opened.iter_mut().zip(sockets) {
                worker.push(Opened { key, socket });
            }
        }
        Ok((next, opened))
    }

    fn inherited(&self, address: SocketAddr) -> Option<&TcpListener> {
        self.inherited.iter().find(|socket| socket.local_addr().is_ok_and(|own| own == address))
    }

    /// Whoever connects where the supervisor listens and the configuration does not would wait for
    /// nothing.
    pub(crate) fn warn_of_unclaimed(&self) {
        let claimed = |address: &SocketAddr| self.open.iter().any(|(_, local)| local == address);
        let addresses = self.inherited.iter().filter_map(|socket| socket.local_addr().ok());
        let unclaimed: Vec<_> = addresses.filter(|address| !claimed(address)).collect();
        if !unclaimed.is_empty() {
            tracing::warn!(?unclaimed, "[listen] does not name these sockets of the supervisor's");
        }
    }

    /// The addresses of one kind.
    pub(crate) fn addresses(&self, secure: bool) -> Vec<SocketAddr> {
        self.open.iter().filter(|(key, _)| key.secure == secure).map(|(_, local)| *local).collect()
    }

    /// Where plain HTTP is redirected to.
    pub(crate) fn https_port(&self) -> u16 {
        self.addresses(true).first().map_or(443, SocketAddr::port)
    }
}

/// Every listener that is configured.
pub(crate) fn keys(listen: &Listen) -> impl Iterator<Item = Key> {
    let of = |addresses: &Vec<SocketAddr>, secure| {
        addresses.clone().into_iter().map(move |address| Key { secure, address })
    };
    of(&listen.http, false).chain(of(&listen.https, true))
}

/// Opens `count` sockets on one address, beside those of another process if they are `shared`.
/// Port 0 becomes the same free port for all of them.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    shared: bool,
) -> Result<Vec<TcpListener>, ListenError> {
    let fail = |source| ListenError { address: address.to_string(), source };
    let address = match socket(address) {
        // A kernel without IPv6: the wildcard still means every address there is.
        Err(error)
            if address.ip().is_unspecified() && error.raw_os_error() == Some(AF_NOT_SUPPORTED) =>
        {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port())
        }
        _ => address,
    };
    // Without this, a second Gatehouse would silently share the port and take half of the
    // connections.
    if address.port() != 0 && !shared {
        let probe = socket(address).map_err(fail)?;
        probe.bind(&address.into()).and_then(|()| probe.listen(1)).map_err(fail)?;
    }
    let mut local = address;
    let listen = || {
        let socket = socket(local)?;
        socket.set_reuse_port(true)?;
        hand_down(&SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        socket.listen(BACKLOG)?;
        local = socket.local_addr()?.as_socket().unwrap_or(local);
        Ok(socket.into())
    };
    std::iter::repeat_with(listen).take(count).collect::<io::Result<_>>().map_err(fail)
}

/// One socket for `count` workers, who accept from the same queue.
fn share(socket: &TcpListener, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let clone = || {
        let clone = socket.try_clone()?;
        clone.set_nonblocking(true)?;
        hand_down(&SockRef::from(&clone))?;
        Ok(clone)
    };
    let address = socket.local_addr().map_or_else(|_| String::new(), |own| own.to_string());
    let clones = std::iter::repeat_with(clone).take(count).collect::<io::Result<_>>();
    clones.map_err(|source| ListenError { address, source })
}

/// Sets what accepted sockets inherit, which saves system calls for each.
fn hand_down(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Linux' EAFNOSUPPORT.
const AF_NOT_SUPPORTED: i32 = 97;

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_an_address_share_a_port_and_nobody_else_gets_it() {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let sockets = bind(any, 3, false).unwrap();
        let ports: Vec<_> =
            sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0] && *port != 0));
        let taken = SocketAddr::new(any.ip(), ports[0]);
        let error = bind(taken, 1, false).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("another program"), "{error}");
        bind(taken, 1, true).unwrap();
    }

    #[test]
    fn accepted_sockets_inherit_what_is_set() {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let listener = bind(any, 1, false).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT);
    }
}
