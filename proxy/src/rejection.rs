//! Requests that Gatehouse answers itself because something is wrong: one enum, from the cause to
//! the answer.
//!
//! A client gets the status and one fixed sentence, as RFC 9457 problem+json or as a small HTML
//! page; whatever led to it goes to the log only.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::error_page;
use crate::policy::rate_limit;
use crate::upstream::Broken;

/// The sentence of every 429.
pub(crate) const RATE_LIMITED: &str =
    "You have sent too many requests. Wait as long as Retry-After says, then try again.";

/// The statuses of all rejections.
pub(crate) const STATUSES: [u16; 12] = [400, 403, 405, 408, 413, 417, 421, 429, 431, 502, 503, 504];

/// Why a request was not forwarded, or why its answer could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("the request names no host, several, or a malformed one")]
    HostInvalid,
    #[error("no site serves this host")]
    HostUnknown,
    #[error("the path can be read in more than one way")]
    PathAmbiguous,
    #[error("CONNECT and TRACE are not served")]
    MethodRefused,
    #[error("the message's framing is ambiguous")]
    FramingInvalid,
    #[error("the message is malformed, or its target has another scheme than it came by")]
    Malformed,
    #[error("an expectation that is not 100-continue")]
    ExpectationUnknown,
    #[error("the host belongs to another site than the certificate that was asked for")]
    HostMisdirected,
    #[error("the client is denied, or is not among those allowed")]
    ClientDenied,
    /// With the seconds after which to come back.
    #[error("the site is closed for maintenance")]
    Maintenance(u64),
    #[error("rate limit `{}`", .0.rule.name)]
    RateLimited(rate_limit::Refusal),
    #[error("the shared store does not answer, and a rate limit denies what it cannot count")]
    LimitsUnavailable,
    #[error("the request body is larger than this route takes")]
    BodyTooLarge,
    #[error("the request body came too slowly")]
    BodyTimeout,
    #[error("the client ended its request early")]
    BodyAborted,
    #[error("too many requests in flight on one HTTP/2 connection")]
    ConnectionSaturated,
    #[error("too many requests in flight to upstream")]
    UpstreamSaturated,
    #[error("every server of upstream is down, its health checks say")]
    UpstreamDown,
    #[error("cannot connect to upstream: {0}")]
    UpstreamUnreachable(std::io::Error),
    #[error("upstream did not accept a connection in time")]
    UpstreamConnectTimeout,
    #[error("upstream did not answer in time")]
    UpstreamTimeout,
    #[error("upstream's answer is not HTTP: {0}")]
    UpstreamInvalid(Broken),
    #[error("upstream's answer is a 1xx or a transfer coding that nobody asked for")]
    UpstreamRefused,
    #[error("the request's head is larger than it may be")]
    HeadTooLarge,
}

/// Whose doing a rejection is; it decides the level of the message about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    Client,
    Upstream,
    /// Nobody's: it was configured.
    Operator,
    /// What Gatehouse needs for itself, and whoever runs it.
    Gatehouse,
}

impl Rejection {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::HostInvalid
            | Self::PathAmbiguous
            | Self::FramingInvalid
            | Self::Malformed
            | Self::BodyAborted => StatusCode::BAD_REQUEST,
            Self::HostUnknown | Self::HostMisdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::ClientDenied => StatusCode::FORBIDDEN,
            Self::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            Self::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Maintenance(_)
            | Self::ConnectionSaturated
            | Self::UpstreamSaturated
            | Self::UpstreamDown
            | Self::LimitsUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable(_) | Self::UpstreamInvalid(_) | Self::UpstreamRefused => {
                StatusCode::BAD_GATEWAY
            }
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UpstreamConnectTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A stable label for records and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::HostInvalid => "host_invalid",
            Self::HostUnknown => "host_unknown",
            Self::PathAmbiguous => "path_ambiguous",
            Self::MethodRefused => "method_refused",
            Self::FramingInvalid => "framing_invalid",
            Self::Malformed => "malformed",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::HostMisdirected => "host_misdirected",
            Self::ClientDenied => "client_denied",
            Self::Maintenance(_) => "maintenance",
            Self::RateLimited(..) => "rate_limited",
            Self::LimitsUnavailable => "limits_unavailable",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyAborted => "body_aborted",
            Self::ConnectionSaturated => "connection_saturated",
            Self::UpstreamSaturated => "upstream_saturated",
            Self::UpstreamDown => "upstream_down",
            Self::UpstreamUnreachable(_) => "upstream_unreachable",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamInvalid(_) | Self::UpstreamRefused => "upstream_invalid",
            Self::HeadTooLarge => "head_too_large",
        }
    }

    pub(crate) fn blame(&self) -> Blame {
        match self {
            Self::HostInvalid
            | Self::HostUnknown
            | Self::PathAmbiguous
            | Self::MethodRefused
            | Self::FramingInvalid
            | Self::Malformed
            | Self::ExpectationUnknown
            | Self::HostMisdirected
            | Self::ClientDenied
            | Self::RateLimited(..)
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyAborted
            | Self::ConnectionSaturated
            | Self::HeadTooLarge => Blame::Client,
            Self::UpstreamSaturated
            | Self::UpstreamDown
            | Self::UpstreamUnreachable(_)
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTimeout
            | Self::UpstreamInvalid(_)
            | Self::UpstreamRefused => Blame::Upstream,
            Self::Maintenance(_) => Blame::Operator,
            Self::LimitsUnavailable => Blame::Gatehouse,
        }
    }

    pub(crate) fn is_maintenance(&self) -> bool {
        matches!(self, Self::Maintenance(_))
    }

    /// What the client reads. Never anything that came from the request, the upstream or the
    /// configuration.
    fn detail(&self) -> &'static str {
        match self {
            Self::HostInvalid => "The request must name exactly one valid host.",
            Self::HostUnknown => "This server does not serve the host that the request names.",
            Self::PathAmbiguous => {
                "The path contains an encoding that can be read in more than one way."
            }
            Self::MethodRefused => "This method is not allowed here.",
            Self::FramingInvalid => {
                "The length of the request body is not stated in one clear way."
            }
            Self::Malformed => "The request is malformed.",
            Self::ExpectationUnknown => "The only expectation served here is 100-continue.",
            Self::HostMisdirected => {
                "This connection was made to another site than the request names."
            }
            Self::ClientDenied => "Your address may not use this site.",
            Self::Maintenance(_) => {
                "This site is being worked on. Wait as long as Retry-After says, then try again."
            }
            Self::RateLimited(..) => RATE_LIMITED,
            Self::LimitsUnavailable => {
                "Requests cannot be counted now, so none is served. Try again in a moment."
            }
            Self::BodyTooLarge => "The request body is larger than this server accepts here.",
            Self::BodyTimeout => "The request body arrived too slowly.",
            Self::BodyAborted => "The request body ended before it was complete.",
            Self::ConnectionSaturated => "This connection has too many requests in flight.",
            Self::UpstreamDown => "The application is not available. Try again in a moment.",
            Self::UpstreamSaturated => "The application is busy. Try again in a moment.",
            Self::UpstreamUnreachable(_) => "The application behind this server cannot be reached.",
            Self::UpstreamConnectTimeout | Self::UpstreamTimeout => {
                "The application behind this server did not answer in time."
            }
            Self::HeadTooLarge => "The target and the header fields of the request are too large.",
            Self::UpstreamInvalid(_) | Self::UpstreamRefused => {
                "The application behind this server sent an answer that is not valid."
            }
        }
    }

    /// Sets the fields that belong to this answer and returns its body.
    pub(crate) fn answer(
        &self,
        wants_html: bool,
        request_id: &str,
        headers: &mut HeaderMap,
    ) -> Bytes {
        let content_type =
            if wants_html { "text/html; charset=utf-8" } else { "application/problem+json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let status = self.status();
        match self {
            Self::RateLimited(refusal) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(refusal.retry_after));
                let page = &refusal.rule.page;
                return if wants_html { page.html(request_id) } else { page.json(request_id) };
            }
            Self::Maintenance(retry_after) => {
                _ = headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
            }
            Self::ConnectionSaturated
            | Self::UpstreamSaturated
            | Self::UpstreamDown
            | Self::LimitsUnavailable => {
                _ = headers.insert(header::RETRY_AFTER, HeaderValue::from(1))
            }
            Self::MethodRefused => {
                let allow =
                    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                headers.insert(header::ALLOW, allow);
            }
            Self::HostInvalid
            | Self::HostUnknown
            | Self::PathAmbiguous
            | Self::FramingInvalid
            | Self::Malformed
            | Self::ExpectationUnknown
            | Self::HostMisdirected
            | Self::ClientDenied
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyAborted
            | Self::UpstreamUnreachable(_)
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTimeout
            | Self::UpstreamInvalid(_)
            | Self::UpstreamRefused
            | Self::HeadTooLarge => {}
        }
        let title = status.canonical_reason().unwrap_or("Error");
        if wants_html {
            return error_page::built_in(status.as_u16(), title, self.detail()).into();
        }
        let (status, detail) = (status.as_u16(), self.detail());
        format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\
             \"detail\":\"{detail}\"}}\n"
        )
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_with_the_status() {
        let mut headers = HeaderMap::new();
        let body = Rejection::HostUnknown.answer(false, "", &mut headers);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.get("status").unwrap(), 421);
        assert_eq!(headers.get("content-type").unwrap(), "application/problem+json");
    }
}
