//! A link and the other end of its connection.

use std::future::poll_fn;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::asked::INTERIM;
use super::*;

fn pair() -> (Http1, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Http1::new(Stream::Unix(ours)), theirs)
}

fn get(method: Method) -> Request<RequestBody> {
    let request = Request::builder().method(method).uri("/a?b").header("host", "localhost");
    request.body(RequestBody::Empty).unwrap()
}

/// Sends a request, and has the server answer with `text` once it has read it whole.
async fn exchange(
    link: &mut Http1,
    server: &mut UnixStream,
    text: &str,
) -> Result<Response<()>, Broken> {
    link.send(get(Method::GET), None);
    let answered = async {
        let mut head = [0; 64];
        let length = server.read(&mut head).await.unwrap();
        assert_eq!(&head[..length], b"GET /a?b HTTP/1.1\r\nhost: localhost\r\n\r\n");
        server.write_all(text.as_bytes()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(poll_fn(|cx| link.poll_answer(cx)), answered);
    answer.map_err(|unanswered| unanswered.error)
}

/// The same, and reads the response to its end.
async fn ask(
    link: &mut Http1,
    server: &mut UnixStream,
    text: &str,
) -> Result<(StatusCode, Vec<u8>), Broken> {
    let response = exchange(link, server, text).await?;
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|cx| link.poll_body(cx)).await {
        body.extend_from_slice(&frame?.into_data().unwrap());
    }
    assert!(link.is_end_stream());
    Ok((response.status(), body))
}

/// Looks whether the kernel has something to tell, as a worker does between two requests.
async fn is_usable(link: &mut Http1) -> bool {
    tokio::task::yield_now().await;
    link.is_usable()
}

#[tokio::test]
async fn one_request_follows_another() {
    let (mut link, mut server) = pair();
    for (text, status, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.0 404 No\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", 404, ""),
    ] {
        assert!(is_usable(&mut link).await);
        let answer = ask(&mut link, &mut server, text).await.unwrap();
        assert_eq!((answer.0.as_u16(), &answer.1[..]), (status, body.as_bytes()), "{text:?}");
    }
    assert!(is_usable(&mut link).await);
    drop(server);
    assert!(!is_usable(&mut link).await, "the server has closed it");
}

#[tokio::test]
async fn a_link_that_rests_holds_nothing() {
    let (mut link, mut server) = pair();
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 30000\r\n\r\n{:30000}", "");
    for _ in 0..2 {
        assert_eq!(ask(&mut link, &mut server, &large).await.unwrap().1.len(), 30_000);
        assert!(link.unread.capacity() > 0 && link.outbound.holds() > 0);
        link.rest();
        assert_eq!((link.unread.capacity(), link.outbound.holds()), (0, 0));
        assert!(is_usable(&mut link).await);
    }
}

#[tokio::test]
async fn a_link_is_used_no_more_after_what_casts_doubt_on_it() {
    for text in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let (mut link, mut server) = pair();
        ask(&mut link, &mut server, text).await.unwrap();
        assert!(!is_usable(&mut link).await, "{text:?}");
        link.rest();
        assert!(!is_usable(&mut link).await, "{text:?} after a rest");
    }
    let (mut link, mut server) = pair();
    ask(&mut link, &mut server, "HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    server.write_all(b"H").await.unwrap();
    assert!(!is_usable(&mut link).await, "the server speaks unasked");
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_complete() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ] {
        let (mut link, mut server) = pair();
        link.send(get(Method::GET), None);
        let answered = async {
            _ = server.read(&mut [0; 64]).await.unwrap();
            server.write_all(text.as_bytes()).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let read = async {
            let answer = poll_fn(|cx| link.poll_answer(cx)).await;
            answer.map_err(|unanswered| unanswered.error)?;
            while let Some(frame) = poll_fn(|cx| link.poll_body(cx)).await {
                frame?;
            }
            Ok::<_, Broken>(())
        };
        let (read, ()) = tokio::join!(read, answered);
        assert!(matches!(read, Err(Broken::Early)), "{text:?}: {read:?}");
    }
    let (mut link, mut server) = pair();
    exchange(&mut link, &mut server, "HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
    let frame = poll_fn(|cx| link.poll_body(cx)).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "all of it");
    drop(server);
    assert!(poll_fn(|cx| link.poll_body(cx)).await.is_none() && link.is_end_stream());
}

#[tokio::test]
async fn what_was_not_sent_comes_back() {
    for speaks in [false, true] {
        let (mut link, mut server) = pair();
        assert!(is_usable(&mut link).await);
        link.send(get(Method::POST), None);
        if speaks {
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        } else {
            server.shutdown().await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await; // the kernel tells of it
        let unanswered = poll_fn(|cx| link.poll_answer(cx)).await.unwrap_err();
        let Returned::Unsent(request) = unanswered.returned else { panic!("{speaks}") };
        assert_eq!(request.method(), Method::POST);
        assert!(!is_usable(&mut link).await);
    }
}

#[tokio::test]
async fn a_server_that_closes_without_a_word_was_leaving_if_it_had_answered_before() {
    for (answers, said, is_leaving) in [
        (0, "", false),
        (1, "", true),
        (2, "", true),
        (1, "H", false),
        (1, "HTTP/1.1 103 Early Hints\r\n\r\n", false),
        (1, "garbage\r\n\r\n", false),
    ] {
        let (mut link, mut server) = pair();
        for _ in 0..answers {
            ask(&mut link, &mut server, "HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
        link.send(get(Method::GET), None);
        let closes = async {
            _ = server.read(&mut [0; 64]).await.unwrap();
            server.write_all(said.as_bytes()).await.unwrap();
            drop(server);
        };
        let (answer, ()) = tokio::join!(poll_fn(|cx| link.poll_answer(cx)), closes);
        let unanswered = answer.unwrap_err();
        assert_eq!(unanswered.is_leaving, is_leaving, "{said:?} after {answers}");
        let Returned::Sent(request) = unanswered.returned else { panic!("{said:?}") };
        assert_eq!((request.method(), request.uri().path()), (&Method::GET, "/a"));
        assert_eq!(request.headers()["host"], "localhost");
    }
}

#[tokio::test]
async fn a_server_that_no_longer_reads_may_still_answer() {
    let (mut link, mut server) = pair();
    link.send(get(Method::GET), None);
    let answered = async {
        server.read_exact(&mut [0; 1]).await.unwrap();
        server.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        drop(server);
    };
    let (answer, ()) = tokio::join!(poll_fn(|cx| link.poll_answer(cx)), answered);
    let status = answer.map(|response| response.status()).map_err(|unanswered| unanswered.error);
    assert_eq!(status.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(link.is_end_stream() && !is_usable(&mut link).await);
}

#[tokio::test]
async fn there_is_an_end_to_interim_responses() {
    let head = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let most = usize::try_from(INTERIM).unwrap();
    for (heads, passes) in [(most, true), (most + 1, false)] {
        let (mut link, mut server) = pair();
        let text = head.repeat(heads) + "HTTP/1.1 204 No Content\r\n\r\n";
        let answer = exchange(&mut link, &mut server, &text).await;
        assert_eq!(answer.is_ok(), passes, "{heads}");
    }
}

#[tokio::test]
async fn a_switch_of_protocols_hands_over_what_came_behind_it() {
    let (mut link, mut server) = pair();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nhello";
    let response = exchange(&mut link, &mut server, switch).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let (mut stream, unread) = link.into_stream();
    assert_eq!(unread, "hello");
    server.write_all(b"!").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'!');
}
