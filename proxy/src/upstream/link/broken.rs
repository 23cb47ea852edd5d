//! How a connection to a server fails.

use std::io;

use crate::body::Fault;

/// Why a server's connection, or a stream of it, ended too early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error("the connection was closed before the response was complete")]
    Early,
    #[error("this is no HTTP/1.1: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("the head is invalid")]
    Head,
    #[error("the head is too large")]
    TooLarge,
    #[error("one interim response follows another")]
    Interim,
    #[error("it is not clear where the response's body ends")]
    Framing,
    #[error("the request's body is not as long as its head says")]
    Length,
    #[error("the request's body was {0}")]
    Body(#[from] Fault),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}
