//! One address before several instances: each connection goes to one of them at random, so whoever
//! looks for a proof there meets any of them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};

/// The instances; it ends with the test.
#[derive(Clone, Default)]
pub(crate) struct Balancer(Arc<Mutex<Vec<SocketAddr>>>);

impl Balancer {
    /// Listens on an address that somebody may hold.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        let listener: TcpListener = socket.into();
        let balancer = Self::default();
        let chosen = balancer.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Some(target) = chosen.choose() else { continue };
                std::thread::spawn(move || carry(stream, target));
            }
        });
        balancer
    }

    /// From now on, these are there.
    pub(crate) fn set(&self, all: &[SocketAddr]) {
        *self.0.lock().unwrap() = all.to_vec();
    }

    fn choose(&self) -> Option<SocketAddr> {
        let mut all = self.0.lock().unwrap().clone();
        fastrand::shuffle(&mut all);
        // As a balancer with health checks: one that does not listen is not chosen.
        all.into_iter().find(|address| TcpStream::connect(address).is_ok())
    }
}

fn carry(client: TcpStream, target: SocketAddr) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let (Ok(mut from), Ok(mut to)) = (server.try_clone(), client.try_clone()) else { return };
    let back = std::thread::spawn(move || {
        _ = std::io::copy(&mut from, &mut to);
        _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (client, server);
    _ = std::io::copy(&mut from, &mut to);
    _ = to.shutdown(std::net::Shutdown::Both);
    _ = back.join();
}
