//! Sets of addresses, given as networks in CIDR notation (RFC 4632).
//!
//! A set is a sorted list of intervals that do not touch: asking it is a binary search, 17 steps
//! for 100,000 networks, whatever their lengths. IPv4 lives in the corner of IPv6 that is kept for
//! it (RFC 4291, 2.5.5.2).

use std::net::{IpAddr, Ipv6Addr};

/// A network: an address, and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: u128,
    last: u128,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or an address alone. The error is the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let example =
            || "write an address or a network: \"10.0.0.0/8\", \"2001:db8::/32\"".to_owned();
        let address: IpAddr = address.parse().map_err(|_| example())?;
        let widest: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => widest,
            Some(bits)
                if matches!(bits.len(), 1..=3) && bits.bytes().all(|b| b.is_ascii_digit()) =>
            {
                bits.parse::<u16>().ok().and_then(|bits| u8::try_from(bits).ok()).unwrap_or(u8::MAX)
            }
            Some(_) => return Err(example()),
        };
        if bits > widest {
            return Err(format!("write a prefix length of 0 to {widest}"));
        }
        let host_bits = u32::from(widest - bits);
        let rest = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let first = number(address);
        if first & rest != 0 {
            let network = Ipv6Addr::from_bits(first & !rest).to_canonical();
            return Err(format!("bits are set behind the prefix; write \"{network}/{bits}\""));
        }
        Ok(Self { first, last: first | rest })
    }

    /// Whether every address of `other` lies in this network, too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// Addresses that lie in any of some networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// The union of networks in any order.
    pub(crate) fn new(mut networks: Vec<Network>) -> Self {
        networks.sort_by_key(|network| network.first);
        let mut joined: Vec<Network> = Vec::with_capacity(networks.len());
        for network in networks {
            match joined.last_mut() {
                Some(before) if network.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(network.last);
                }
                _ => joined.push(network),
            }
        }
        Self(joined)
    }

    /// Whether every address lies in some of these sets.
    pub(crate) fn hold_all<'a>(sets: impl IntoIterator<Item = &'a Self>) -> bool {
        let union = Self::new(sets.into_iter().flat_map(|set| set.0.iter().copied()).collect());
        union.0 == [Network { first: 0, last: u128::MAX }]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.0.partition_point(|network| network.first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|at| address <= at.last)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| Network::parse(text).unwrap()).collect())
    }

    #[test]
    fn addresses_lie_in_networks_or_not() {
        let set = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "10.1.0.0/16", "::1/128"]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::1", "::1"] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        assert!(
            set.contains("::ffff:10.1.2.3".parse().unwrap()),
            "a mapped address is the address"
        );
        for outside in ["9.255.255.255", "11.0.0.0", "192.0.2.8", "2001:db9::", "::", "::2"] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(networks(&["0.0.0.0/0"]).contains("203.0.113.9".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"]).contains("2001:db8::1".parse().unwrap()));
        assert!(networks(&["::/0"]).contains("203.0.113.9".parse().unwrap()));
        assert!(!networks(&[]).contains("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_remedy() {
        for (text, remedy) in [
            ("", "write an address or a network"),
            ("localhost", "write an address or a network"),
            ("10.0.0.0/", "write an address or a network"),
            ("10.0.0.0/+8", "write an address or a network"),
            ("10.0.0.0/33", "0 to 32"),
            ("::/129", "0 to 128"),
            ("::/999", "0 to 128"),
            ("10.0.0.1/8", "write \"10.0.0.0/8\""),
            ("2001:db8::1/32", "write \"2001:db8::/32\""),
        ] {
            let error = Network::parse(text).unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn a_hundred_thousand_networks_take_17_steps() {
        let network =
            |i: u32| Network::parse(&format!("{}/32", std::net::Ipv4Addr::from_bits(i * 2)));
        let set = Networks::new((0..100_000).map(|i| network(i).unwrap()).collect());
        assert_eq!(set.0.len(), 100_000);
        assert!(set.0.len().ilog2() < 17);
        assert!(set.contains(IpAddr::V4(std::net::Ipv4Addr::from_bits(199_998))));
        assert!(!set.contains(IpAddr::V4(std::net::Ipv4Addr::from_bits(199_997))));
    }

    proptest! {
        #[test]
        fn a_set_holds_what_any_of_its_networks_holds(
            given in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
            asked in any::<u32>(),
        ) {
            let mask = |bits: u8| u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let texts: Vec<_> = given
                .iter()
                .map(|(ip, bits)| (std::net::Ipv4Addr::from_bits(ip & mask(*bits)), bits))
                .map(|(network, bits)| format!("{network}/{bits}"))
                .collect();
            let set = Networks::new(texts.iter().map(|t| Network::parse(t).unwrap()).collect());
            let expected = given.iter().any(|(ip, bits)| ip & mask(*bits) == asked & mask(*bits));
            let asked = IpAddr::V4(std::net::Ipv4Addr::from_bits(asked));
            prop_assert_eq!(set.contains(asked), expected);
        }
    }
}
