//! Which names are asked for, and what a flood of them costs.

use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn only_names_of_the_public_dns_are_asked_for() {
    let longest = format!("{}.example.com", ["a".repeat(63).as_str(); 3].join("."));
    for host in ["a.example.com", "example.com", "xn--bcher-kva.de", "1.2.example.co", &longest] {
        assert!(is_public(host), "{host}");
    }
    let too_long = format!("{}.example.com", ["a".repeat(63).as_str(); 4].join("."));
    let label = format!("{}.example.com", "a".repeat(64));
    for host in [
        "",
        "com",
        "localhost",
        "a.localhost",
        "printer.local",
        "192.0.2.1",
        "1.2.3.04",
        "a.1",
        "::1",
        "[::1]",
        "*.example.com",
        "a..example.com",
        ".example.com",
        "example.com.",
        "../a.de",
        "a/b.example.com",
        "a b.example.com",
        "-a.example.com",
        "a-.example.com",
        "A.example.com",
        "a_b.example.com",
        "a.example",
        "a.onion",
        "a.home.arpa",
        "bücher.de",
        "a\0.example.com",
        &too_long,
        &label,
    ] {
        assert!(!is_public(host), "{host}");
    }
}

#[test]
fn a_name_waits_once_and_is_not_asked_for_again_before_it_may_be() {
    let (door, now) = (Door::default(), Instant::now());
    let next = |now| door.next(now, PATIENCE).as_deref().map(str::to_owned);
    door.knock("a.example.com", CLIENT, now);
    door.knock("a.example.com", CLIENT, now);
    assert_eq!(next(now).as_deref(), Some("a.example.com"));
    assert_eq!(next(now), None);
    door.knock("a.example.com", CLIENT, now);
    assert_eq!(next(now), None, "it is being asked for");
    let later = now + PATIENCE;
    door.settle("a.example.com", later + PATIENCE, later);
    door.knock("a.example.com", CLIENT, later);
    assert_eq!(next(later), None, "it was refused");
    door.knock("a.example.com", CLIENT, later + PATIENCE);
    assert_eq!(next(later + PATIENCE).as_deref(), Some("a.example.com"), "but not for ever");
}

#[test]
fn a_flood_of_names_fills_its_share_and_leaves_room_for_others() {
    let (door, now) = (Door::default(), Instant::now());
    for number in 0..100_000 {
        door.knock(&format!("n{number}.example.com"), CLIENT, now);
    }
    assert_eq!(door.turned_away(), 100_000 - OF_ONE_CLIENT as u64);
    door.knock("honest.example.com", "192.0.2.2".parse().unwrap(), now);
    let asked: Vec<_> = std::iter::from_fn(|| door.next(now, PATIENCE)).collect();
    assert_eq!(asked.len(), OF_ONE_CLIENT + 1);
    assert_eq!(asked.last().map(|host| &**host), Some("honest.example.com"));
    // From many addresses, of which a /64 is one: no more than there is room for.
    for number in 0..100_000_u128 {
        let client =
            IpAddr::V6(((0x2001_0db8_u128 << 96) + ((number / 2) << 64) + number % 2).into());
        door.knock(&format!("m{number}.example.com"), client, now);
    }
    assert_eq!(door.queue().waiting.len(), WAITING);
    // And what is known of refused ones takes no more either.
    for number in 0..100_000 {
        door.settle(&format!("r{number}.example.com"), now + PATIENCE, now);
    }
    assert_eq!(door.queue().settled.len(), REMEMBERED);
}
