//! The window against an oracle that remembers every admitted request.

use std::time::Duration;

use proptest::prelude::*;

use super::{Quota, Window};

/// Decides one request as the limiter does.
fn request(window: &mut Window, quota: Quota, now: u64) -> bool {
    let pass = window.remaining(quota, now) >= 1;
    assert_eq!(pass, window.until(quota, 1, now) == 0);
    if pass {
        window.admit(quota, 1, now);
    }
    pass
}

/// How many of `times` (ascending) lie in the interval of `length` that ends with `now`, open at
/// its start.
fn within(times: &[u64], now: u64, length: u64) -> u64 {
    times.iter().rev().take_while(|&&t| now - t < length).count() as u64
}

fn quota(limit: u64, window_ns: u64) -> Quota {
    Quota::new(limit, Duration::from_nanos(window_ns))
}

#[test]
fn a_full_window_admits_again_when_its_oldest_request_leaves() {
    let quota = quota(2, 1_000);
    let mut window = Window::default();
    assert!(request(&mut window, quota, 0));
    assert!(request(&mut window, quota, 400));
    assert!(!request(&mut window, quota, 999));
    assert_eq!(window.until_next(quota, 999), 1);
    assert!(request(&mut window, quota, 1_000));
    assert!(!request(&mut window, quota, 1_399));
    assert!(request(&mut window, quota, 1_400));
}

#[test]
fn late_arrivals_of_a_race_keep_the_stamps_in_order() {
    let quota = quota(2, 1_000);
    let mut window = Window::default();
    assert!(request(&mut window, quota, 500));
    assert!(request(&mut window, quota, 490));
    assert!(!request(&mut window, quota, 1_499));
    assert!(request(&mut window, quota, 1_500));
}

#[test]
fn an_expired_window_is_told_from_a_live_one() {
    let quota = quota(3, 1_000);
    let mut window = Window::default();
    assert!(window.is_expired(quota, 0));
    request(&mut window, quota, 10);
    assert!(!window.is_expired(quota, 1_009));
    assert!(window.is_expired(quota, 1_010));
}

#[test]
fn a_million_per_second_costs_about_a_hundred_stamps() {
    let quota = quota(1_000_000, 1_000_000_000);
    let mut window = Window::default();
    for i in 0..1_000_000 {
        assert!(request(&mut window, quota, i));
    }
    assert!(!request(&mut window, quota, 1_000_000));
    assert!(window.stamps.len() <= 101, "{} stamps", window.stamps.len());
}

#[test]
fn a_window_tells_when_a_costly_request_would_pass() {
    let quota = quota(10, 1_000);
    let mut window = Window::default();
    for (cost, now) in [(3, 0), (4, 100), (3, 200)] {
        assert!(window.remaining(quota, now) >= cost);
        window.admit(quota, cost, now);
    }
    for (cost, wait) in [(1, 800), (3, 800), (4, 900), (7, 900), (8, 1_000), (10, 1_000)] {
        assert_eq!(window.until(quota, cost, 200), wait, "{cost}");
    }
    assert_eq!(window.remaining(quota, 1_000), 3);
    assert_eq!((window.until(quota, 3, 1_000), window.until(quota, 4, 1_000)), (0, 100));
}

#[test]
fn costs_fill_grains_to_the_brim() {
    let quota = quota(2_000, 1_000); // a grain is 20
    let mut window = Window::default();
    for (cost, used) in [(5_u64, 5_u64), (30, 35), (25, 60), (100, 160)] {
        window.admit(quota, cost, 0);
        assert_eq!((window.used(quota), window.stamps.len() as u64), (used, used.div_ceil(20)));
    }
    window.admit(quota, 1_840, 7);
    assert_eq!((window.remaining(quota, 7), window.stamps.len()), (0, 100));
    assert!(window.stamps.capacity() <= 104, "{}", window.stamps.capacity());
}

proptest! {
    /// Up to a limit of 1,000 the window decides exactly as the oracle does.
    #[test]
    fn small_limits_are_exact(
        limit in 1_u64..40,
        length in 1_u64..2_000,
        gaps in prop::collection::vec(0_u64..200, 1..400),
    ) {
        let quota = quota(limit, length);
        let (mut window, mut admitted, mut now) = (Window::default(), Vec::new(), 0);
        for gap in gaps {
            now += gap;
            let expected = within(&admitted, now, length) < limit;
            let used = within(&admitted, now, length);
            prop_assert_eq!(window.remaining(quota, now), limit - used);
            prop_assert_eq!(request(&mut window, quota, now), expected);
            if expected {
                admitted.push(now);
            }
        }
    }

}

proptest! {
    // Each case is thousands of requests.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Above, at most 1 % more than the limit passes, and nobody within the limit is rejected.
    #[test]
    fn large_limits_are_within_one_percent(
        limit in 1_001_u64..3_000,
        length in 500_u64..5_000,
        gaps in prop::collection::vec(0_u64..4, 2_000..8_000),
    ) {
        let quota = quota(limit, length);
        let (mut window, mut admitted, mut now) = (Window::default(), Vec::new(), 0);
        for gap in gaps {
            now += gap;
            let before = within(&admitted, now, length);
            if request(&mut window, quota, now) {
                admitted.push(now);
                prop_assert!((before + 1) * 100 <= limit * 101, "{} of {limit}", before + 1);
            } else {
                prop_assert!(before >= limit, "rejected at {before} of {limit}");
            }
        }
    }
}
