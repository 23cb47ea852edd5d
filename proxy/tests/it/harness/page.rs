//! An upstream that is one page, and whatever that asks for.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::TestUpstream;

impl TestUpstream {
    /// Answers every GET with a page, everything else with 200, and takes note of all.
    pub(crate) async fn page(html: &'static str) -> Self {
        Self::serve(move |upstream, stream| async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let upstream = upstream.clone();
                async move {
                    let (head, body) = request.into_parts();
                    _ = body.collect().await;
                    let text = if head.method == Method::GET { html } else { "" };
                    upstream.note(head, 0);
                    let response = Response::builder().header(header::CONTENT_TYPE, "text/html");
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
                }
            });
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        })
        .await
    }
}
