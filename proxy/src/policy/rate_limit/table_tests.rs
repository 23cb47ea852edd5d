//! The bounds of the table, and what goes when they are reached.

use std::sync::Arc;

use super::*;
use crate::policy::rate_limit::decision::Reading;
use crate::policy::rate_limit::lease::Held;
use crate::policy::rate_limit::rule::Rule;
use crate::policy::rate_limit::tests::rules;
use crate::policy::rate_limit::{Limiter, Rules};

/// A rule that allows ten a second, and one that allows one.
fn two() -> Rules {
    let text = "[[rate_limit]]\nname = \"ten\"\nlimit = 10\nwindow = \"1s\"\nkey = \"path\"\n\
                [[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1s\"\nkey = \"host\"";
    rules(&Limiter::new(1 << 20, [7; 16]), text)
}

const SECOND: u64 = 1_000_000_000;

fn key(n: u64) -> Key {
    Key { high: n, low: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
}

/// Counts `times` in a key, as the limiter does. False if there is no room for it.
fn spend(table: &Table, n: u64, rule: &Arc<Rule>, now: u64, times: u64) -> bool {
    let lock = || table.lock([key(n)].into_iter());
    let has_room = lock().make(key(n), rule, false)
        || table.make_room(Table::KEY, now) && lock().make(key(n), rule, true);
    if !has_room {
        return false;
    }
    let mut locked = lock();
    let counted = locked.change(key(n), |slot| {
        for _ in 0..times {
            assert!(slot.word(rule, 1, 1, now).admits());
            slot.enter(rule, 1, now);
        }
    });
    assert!(counted.is_some());
    locked.end(now);
    true
}

/// What a key has used; 0 if it is not there.
fn used(table: &Table, n: u64, now: u64) -> u64 {
    table.lock([key(n)].into_iter()).slot(key(n)).map_or(0, |slot| slot.used(now))
}

/// Bytes of a key that has been counted once.
const ONE: usize = Table::KEY + 2 * size_of::<u64>();

#[test]
fn a_full_table_gives_up_the_key_that_used_least() {
    let rules = two();
    let ten = rules.get(0).unwrap();
    let table = Table::new(5 * ONE + 20);
    for n in 1..=4 {
        assert!(spend(&table, n, ten, 0, n));
    }
    assert!(spend(&table, 5, ten, 1, 2));
    assert_eq!((table.len(), table.evicted()), (4, 1));
    assert_eq!(used(&table, 2, 1), 2, "key 2 survived, key 1 had to go");
    assert!(table.bytes() <= 5 * ONE + 20);
}

#[test]
fn of_keys_that_used_the_same_the_oldest_goes() {
    let rules = two();
    let ten = rules.get(0).unwrap();
    let table = Table::new(4 * ONE);
    for n in 1..=4 {
        assert!(spend(&table, n, ten, 10 - n, 1));
    }
    assert!(spend(&table, 5, ten, 20, 1));
    let kept: Vec<u64> = (1..=3).filter(|n| used(&table, *n, 20) == 1).collect();
    assert_eq!(kept, [1, 2, 3]);
}

#[test]
fn limited_keys_are_never_given_up() {
    let rules = two();
    let one = rules.get(1).unwrap();
    let table = Table::new(2 * ONE + ONE / 2);
    assert!(spend(&table, 1, one, 0, 1));
    assert!(spend(&table, 2, one, 0, 1));
    assert!(!spend(&table, 3, one, SECOND - 1, 1), "both keys are being limited");
    assert!(spend(&table, 3, one, SECOND, 1), "both have expired");
    assert_eq!(table.len(), 2);
}

#[test]
fn a_table_that_has_to_shrink_counts_new_keys_meanwhile() {
    let rules = two();
    let ten = rules.get(0).unwrap();
    let table = Table::new(1_000 * ONE);
    for n in 0..990 {
        assert!(spend(&table, n, ten, 0, 1));
    }
    table.set_budget(100 * ONE);
    for n in 1_000..1_050 {
        assert!(spend(&table, n, ten, 0, 1), "key {n} is not counted");
    }
    assert!(table.bytes() <= 100 * ONE, "{} keys are left", table.len());
}

#[test]
fn the_sweep_removes_what_has_expired() {
    let rules = two();
    let ten = rules.get(0).unwrap();
    let table = Table::new(1 << 20);
    spend(&table, 7, ten, 0, 1);
    spend(&table, 8, ten, SECOND / 2, 1);
    (0..Table::turns()).for_each(|turn| table.sweep(turn, SECOND, |_| false));
    assert_eq!((table.len(), table.bytes()), (1, ONE));
    assert_eq!((used(&table, 7, SECOND), used(&table, 8, SECOND)), (0, 1));
}

#[test]
fn keys_of_one_shard_are_held_together() {
    let rules = two();
    let table = Table::new(1 << 20);
    let keys = || (0..64).map(|n| Key { high: 0, low: n << 51 });
    let mut locked = table.lock(keys());
    assert_eq!(locked.shards.len(), Table::SHARDS);
    for key in keys() {
        assert!(locked.make(key, rules.get(0).unwrap(), false));
    }
    assert!(keys().all(|key| locked.slot(key).is_some()));
    assert!(locked.slot(key(1)).is_none(), "its shard is not held");
    drop(locked);
    let mut seen = 0;
    table.each(0, |_, _| seen += 1);
    assert_eq!((seen, table.len()), (64, 64));
}

#[test]
fn forgetting_a_key_leaves_what_is_under_way() {
    let text = "[[rate_limit]]\nname = \"a\"\nlimit = 9\nwindow = \"1s\"\n\
                count = { status = [401] }";
    let rules = rules(&Limiter::new(1 << 20, [7; 16]), text);
    let rule = rules.get(0).unwrap();
    let table = Table::new(1 << 20);
    assert!(spend(&table, 1, rule, 0, 2));
    let leave = |charge| {
        let mut locked = table.lock([key(1)].into_iter());
        assert!(locked.change(key(1), |slot| slot.leave(1, charge, 0)).is_some());
        locked.end(0);
    };
    leave(true);
    assert!(!table.forget(key(1), "b") && !table.forget(key(2), "a"));
    assert!(table.forget(key(1), "a"));
    assert_eq!((table.len(), table.bytes(), used(&table, 1, 0)), (1, Table::KEY, 0));
    leave(false);
    assert!(table.forget(key(1), "a"), "nothing is left of it");
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn what_is_under_way_keeps_its_key() {
    let text = "[[rate_limit]]\nname = \"a\"\nin_flight = 2\n";
    let rules = rules(&Limiter::new(1 << 20, [7; 16]), text);
    let rule = rules.get(0).unwrap();
    let table = Table::new(Table::KEY);
    assert!(spend(&table, 1, rule, 0, 1));
    (0..Table::turns()).for_each(|turn| table.sweep(turn, SECOND, |_| false));
    assert_eq!(table.len(), 1);
    assert!(!spend(&table, 2, rule, SECOND, 1));
    table.lock([key(1)].into_iter()).slot(key(1)).unwrap().leave(1, false, 0);
    assert!(spend(&table, 2, rule, SECOND, 1), "the first has ended");
}

#[test]
fn a_panic_lets_go_of_the_keys_before_it_gives_back_what_is_held_of_them() {
    let rules =
        rules(&Limiter::new(1 << 20, [7; 16]), "[[rate_limit]]\nname = \"a\"\nin_flight = 1");
    let (table, rule) = (Arc::new(Table::new(1 << 20)), rules.get(0).unwrap());
    let decides = std::panic::AssertUnwindSafe(|| {
        let mut locked = table.lock([key(1)].into_iter());
        assert!(locked.make(key(1), rule, false));
        let slot = locked.slot(key(1)).unwrap();
        let word = slot.word(rule, 1, 1, 0);
        assert!(slot.enter(rule, 1, 0));
        let reading = Reading { rule: 0, key: key(1), cost: 1, word };
        locked.lease.0.push(Held::new(&table, rule, &reading, None));
        panic!("in the middle of a decision");
    });
    assert!(std::panic::catch_unwind(decides).is_err());
    assert_eq!(used(&table, 1, 0), 0);
}

#[test]
fn a_flood_of_one_shot_keys_stays_within_the_budget_and_spares_an_honest_key() {
    let rules = two();
    let ten = rules.get(0).unwrap();
    let budget = 1_000 * ONE;
    let table = Table::new(budget);
    assert!(spend(&table, 0, ten, 0, 5));
    for n in 1..50_000 {
        assert!(spend(&table, n, ten, 0, 1));
        assert!(table.bytes() <= budget + ONE, "{} of {budget}", table.bytes());
    }
    assert!(table.len() >= 990, "{} keys", table.len());
    assert_eq!(used(&table, 0, 0), 5);
}
