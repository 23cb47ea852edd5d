//! Which coding a client takes (RFC 9110, 12.5.3).

use http::{HeaderMap, header};

use super::Coding;
use crate::negotiation::weight;

/// The offered coding that the client gives the most weight, the first of several; `None` if the
/// client takes none, would rather have none, or does not say.
pub(super) fn choose(offered: impl Iterator<Item = Coding>, request: &HeaderMap) -> Option<Coding> {
    let mut named = [None; Coding::ALL.len()];
    let (mut identity, mut any) = (0, 0);
    for field in request.get_all(header::ACCEPT_ENCODING) {
        for item in field.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(quality).map_or(1_000, weight);
            let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
            let is = |coding: &Coding| name.eq_ignore_ascii_case(coding.name());
            if let Some(coding) = Coding::ALL.iter().find(|coding| is(coding)) {
                named.iter_mut().zip(Coding::ALL).for_each(|(slot, other)| {
                    if other == *coding {
                        *slot = Some(weight);
                    }
                });
            } else if name.eq_ignore_ascii_case("identity") {
                identity = weight;
            } else if name == "*" {
                any = weight;
            }
        }
    }
    let weight_of = |coding: Coding| {
        let known = named.iter().zip(Coding::ALL).find(|(_, other)| *other == coding);
        known.and_then(|(weight, _)| *weight).unwrap_or(any)
    };
    let mut best = None;
    let mut most = 0;
    for coding in offered {
        let weight = weight_of(coding);
        if weight > most {
            (best, most) = (Some(coding), weight);
        }
    }
    best.filter(|_| most >= identity)
}

/// The value of a `q` parameter.
fn quality(parameter: &str) -> Option<&str> {
    parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_weighs_and_the_route_breaks_ties() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accepted, chosen) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, br", Some(Brotli)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("br;q=0.5, gzip;q=0.8, zstd;q=0.1", Some(Gzip)),
            ("br; q=0.5 , zstd;q=0.499", Some(Brotli)),
            ("*", Some(Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Brotli)),
            ("*;q=0, gzip", Some(Gzip)),
            ("gzip, identity", Some(Gzip)),
            ("gzip;q=0.5, identity", None),
            ("identity", None),
            ("deflate", None),
            ("gzip;q=0", None),
            ("gzip;q=nonsense", None),
            ("*;q=0", None),
            ("", None),
            (", ;,=", None),
        ] {
            let fields = HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static(accepted),
            )]);
            assert_eq!(choose([Zstd, Brotli, Gzip].into_iter(), &fields), chosen, "{accepted}");
        }
        assert_eq!(choose(Coding::ALL.into_iter(), &HeaderMap::new()), None);
    }
}
