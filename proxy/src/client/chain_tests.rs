//! Whom the chain of hops names.

use proptest::prelude::*;

use super::super::networks::Network;
use super::*;

const PEER: &str = "10.0.0.1";

fn trusted() -> Networks {
    Networks::new(["10.0.0.0/8", "2001:db8:a::/48"].map(|n| Network::parse(n).unwrap()).to_vec())
}

fn told(fields: &[(&'static str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    client(PEER.parse().unwrap(), &map, &trusted()).to_string()
}

#[test]
fn the_chain_is_read_from_the_right() {
    let xff = "x-forwarded-for";
    for (values, expected) in [
        (&[][..], PEER),
        (&["203.0.113.9"], "203.0.113.9"),
        (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (&["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (&["1.1.1.1", "203.0.113.9", "10.0.0.2,10.0.0.3"], "203.0.113.9"),
        (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (&["203.0.113.9, nonsense"], PEER),
        (&["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        (&["203.0.113.9, unknown"], PEER),
        (&["203.0.113.9,"], "203.0.113.9"),
        (&["1.1.1.1, 203.0.113.9, , 10.0.0.2,,\t", ""], "203.0.113.9"),
        (&["203.0.113.9, nonsense, ,"], PEER),
        (&[""], PEER),
        (&[" , ,"], PEER),
        (&["203.0.113.9:4711"], "203.0.113.9"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["203.0.113.9:"], PEER),
        (&["203.0.113.9:http"], PEER),
        (&["203.0.113.9:123456"], PEER),
        (&["2001:db8:0:1:2:3:4:5:80"], PEER),
        (&["[203.0.113.9]"], PEER),
        (&["[2001:db8::7"], PEER),
        (&["2001:db8::7, 2001:db8:a::1"], "2001:db8::7"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
    ] {
        let fields: Vec<_> = values.iter().map(|value| (xff, *value)).collect();
        assert_eq!(told(&fields), expected, "{values:?}");
    }
}

#[test]
fn forwarded_is_read_as_well() {
    for (value, expected) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=\"203.0.113.9:80\";proto=https;by=10.0.0.1", "203.0.113.9"),
        ("for=1.1.1.1, for=203.0.113.9;host=\"a,b\", for=10.0.0.2", "203.0.113.9"),
        ("for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        ("for=\"203.0.113.9:_x-1.y\"", "203.0.113.9"),
        ("for=\"[2001:db8::7]:_x\"", "2001:db8::7"),
        ("for=\"203.0.113.9:_\"", PEER),
        ("for=\"203.0.113.9:_x y\"", PEER),
        ("for=\"_hidden:_x\"", PEER),
        ("for=203.0.113.9,, for=10.0.0.2, ,", "203.0.113.9"),
        ("for=203.0.113.9, ;", PEER),
        ("for=_hidden", PEER),
        ("for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("proto=https", PEER),
        ("for=203.0.113.9;for=203.0.113.8", PEER),
        ("for=\"203.0.113.9", PEER),
        ("by=\"x\\\",for=1.1.1.1,\";for=203.0.113.9", "203.0.113.9"),
        ("host=\"a;for=1.1.1.1;b\"", PEER),
        ("host=\"a;for=1.1.1.1\";for=203.0.113.9", "203.0.113.9"),
    ] {
        assert_eq!(told(&[("forwarded", value)]), expected, "{value}");
    }
}

#[test]
fn two_fields_that_disagree_are_believed_neither() {
    let both = |xff, forwarded| told(&[("x-forwarded-for", xff), ("forwarded", forwarded)]);
    assert_eq!(both("203.0.113.9", "for=203.0.113.9"), "203.0.113.9");
    assert_eq!(both("203.0.113.9", "for=203.0.113.8"), PEER);
}

proptest! {
    /// Whatever a client writes to the left of what the trusted proxy appended: it is who the
    /// proxy says.
    #[test]
    fn nothing_to_the_left_matters(forged in "[ -~]{0,40}") {
        let value = format!("{forged}, 203.0.113.9");
        prop_assert_eq!(told(&[("x-forwarded-for", &value)]), "203.0.113.9");
        // A quote that is left open swallows what follows it: then nobody is believed.
        let quoted = forged.replace(['"', '\\'], "");
        let value = format!("for=1.1.1.1, host=\"{quoted}\"");
        prop_assert_eq!(told(&[("forwarded", &value)]), PEER);
        let value = format!("{forged}, for=203.0.113.9");
        let client = told(&[("forwarded", &value)]);
        prop_assert!(client == "203.0.113.9" || client == PEER, "{}", client);
    }
}
