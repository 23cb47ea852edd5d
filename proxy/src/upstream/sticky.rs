//! The cookies by which clients keep their servers.
//!
//! A cookie's value is a keyed hash (HMAC-SHA256, RFC 2104) of the names of the upstream and the
//! server: it names a server to us and tells nobody which, and nobody can make one up. Every value
//! is made once per configuration; a request costs a comparison with each.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue, header};

use super::keep::Kept;
use crate::config;

/// The cookies of an upstream's servers.
pub(super) struct Cookies {
    name: String,
    /// One for each server.
    values: Vec<String>,
    /// What sets each of them.
    fields: Vec<HeaderValue>,
}

impl Cookies {
    /// `None` if clients are not to keep their servers.
    pub(super) fn new(upstream: &config::Upstream, kept: &Kept) -> Option<Self> {
        let config::Sticky { cookie: name, max_age, secret } = upstream.sticky.as_ref()?;
        let key = secret.as_ref().map_or_else(|| kept.key(), |secret| &secret.0);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let value = |server: &config::Server| {
            let tag = hmac::sign(&key, format!("{}\0{server}", upstream.name).as_bytes());
            let (half, _) = tag.as_ref().split_at(16); // 128 bits are enough
            data_encoding::BASE64URL_NOPAD.encode(half)
        };
        let values: Vec<String> = upstream.servers.iter().map(value).collect();
        let max_age = max_age.map(|age| format!("; Max-Age={}", age.as_secs()));
        let max_age = max_age.unwrap_or_default();
        let field = |value: &String| {
            let attributes = "; Path=/; HttpOnly; Secure; SameSite=Lax";
            HeaderValue::try_from(format!("{name}={value}{max_age}{attributes}")).ok()
        };
        let fields = values.iter().filter_map(field).collect();
        Some(Self { name: name.clone(), values, fields })
    }

    /// The place of the server that a request's cookie names.
    pub(super) fn server(&self, fields: &HeaderMap) -> Option<usize> {
        let cookies = fields.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|field| field.to_str().ok());
        let mut pairs = cookies.flat_map(|field| field.split(';'));
        pairs.find_map(|pair| {
            let (name, given) = pair.trim().split_once('=')?;
            let is = |value: &String| {
                verify_slices_are_equal(value.as_bytes(), given.as_bytes()).is_ok()
            };
            if name == self.name { self.values.iter().position(is) } else { None }
        })
    }

    /// What makes the client keep a server.
    pub(super) fn field(&self, server: usize) -> Option<&HeaderValue> {
        self.fields.get(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(keys: &str) -> Cookies {
        let text = format!(
            "[[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\nupstream = \"app\"\n\
             [upstream.app]\nservers = [\"http://10.0.0.1:1\", \"http://10.0.0.2:1\"]\n\
             sticky = {{ {keys} }}"
        );
        let file = std::path::Path::new("gatehouse.toml");
        let config = config::load_text(file, &text, &|_| None).unwrap();
        Cookies::new(&config.upstreams[0], &Kept::default()).unwrap()
    }

    fn asked(field: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(field).unwrap())])
    }

    const ONE: &str = "secret = \"0123456789abcdef0123456789abcdef\"";

    #[test]
    fn a_cookie_names_its_server_to_whoever_has_the_key() {
        let [cookies, same, other] = [ONE, ONE, &ONE.replace('0', "f")].map(cookies);
        for server in [0, 1] {
            let value = &cookies.values[server];
            for field in [format!("gatehouse={value}"), format!("a=b; gatehouse={value};c=\"d\"")] {
                assert_eq!(cookies.server(&asked(&field)), Some(server));
                assert_eq!(same.server(&asked(&field)), Some(server), "another instance");
                assert_eq!(other.server(&asked(&field)), None, "another key");
            }
        }
        for field in ["", "gatehouse", "gatehouse=", "gatehouse=AAAAAAAAAAAAAAAAAAAAAA", "=;;="] {
            assert_eq!(cookies.server(&asked(field)), None, "{field}");
        }
    }

    #[test]
    fn a_cookie_is_for_this_program_only_and_says_no_address() {
        let field = cookies(&format!("cookie = \"srv\", max_age = \"1h\", {ONE}"));
        let field = field.field(1).unwrap().to_str().unwrap();
        let (value, attributes) = field.split_once(';').unwrap();
        assert_eq!(attributes, " Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax");
        assert_eq!((value.len(), value.get(..4)), (26, Some("srv=")));
    }
}
