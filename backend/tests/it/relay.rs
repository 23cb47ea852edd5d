//! A TCP link to a server that a test can cut and mend.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a server while it is whole; while it is cut, it ends the old ones and
/// refuses the new.
pub(crate) struct Relay {
    whole: watch::Sender<bool>,
}

impl Relay {
    /// A relay to the host and port in `url`, and the same URL by way of the relay.
    pub(crate) async fn to(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let target = authority.rsplit('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let through = rest.replacen(&target, &address.to_string(), 1);
        let (whole, watched) = watch::channel(true);
        tokio::spawn(accept(listener, target, watched));
        (Self { whole }, format!("{scheme}://{through}"))
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn accept(listener: TcpListener, target: String, whole: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        if *whole.borrow() {
            tokio::spawn(pass(client, target.clone(), whole.clone()));
        }
    }
}

async fn pass(mut client: TcpStream, target: String, mut whole: watch::Receiver<bool>) {
    let mut server = TcpStream::connect(target).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
