//! A port that hands connections on, and takes note of the heads that come back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};

/// A port that others may listen on, too; connections wait until it [runs](Self::run).
pub(crate) struct Relay(TcpListener);

impl Relay {
    pub(crate) fn listen(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        Self(socket.into())
    }

    /// Hands one request of each connection on to another address.
    pub(crate) fn run(self, to: SocketAddr) -> Arc<Mutex<Vec<String>>> {
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in self.0.incoming().map_while(Result::ok) {
                if let Some(head) = hand_on(stream, to) {
                    seen.lock().unwrap().push(head);
                }
            }
        });
        heads
    }
}

/// The head of the answer; connections that say nothing are none.
fn hand_on(mut from: TcpStream, to: SocketAddr) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    // The answer ends with its connection.
    let end = request.len() - 2;
    request.splice(end..end, *b"Connection: close\r\n");
    let mut there = TcpStream::connect(to).ok()?;
    there.write_all(&request).ok()?;
    let mut answer = Vec::new();
    there.read_to_end(&mut answer).ok()?;
    _ = from.write_all(&answer);
    let answer = String::from_utf8(answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(head, _)| head.to_owned())
}
