//! The decisions about a request that need no upstream: its rate limits and its response headers.
pub mod headers;
