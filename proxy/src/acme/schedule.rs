//! When a certificate is renewed, and when a failed attempt is repeated: decisions, with the time
//! as an argument.
//!
//! The CA knows best (ARI, RFC 9773): then it is a random moment of the window that it suggests.
//! Else it is soon after two thirds of the certificate's life, be that 160 hours or a year.

use std::time::{Duration, SystemTime};

/// Waits after the first failure, the second, and so on. Within an hour they come to the five
/// failures per name that Let's Encrypt allows.
const WAITS: [Duration; 7] = [
    Duration::from_secs(10),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1_800),
    Duration::from_secs(3_600),
    Duration::from_secs(3 * 3_600),
    Duration::from_secs(6 * 3_600),
];

/// The longest wait that a CA may ask for: a little over a week, which Let's Encrypt's longest
/// limit lasts.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(8 * 86_400);

/// Failures in a row that are no chance any more.
pub(crate) const REPEATED: u32 = 2;

/// The window in which a CA suggests to renew (RFC 9773, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
}

/// When to renew a certificate. `chance` is 0 to 1 and spreads many certificates over time.
pub(crate) fn renew_at(
    not_before: SystemTime,
    not_after: SystemTime,
    window: Option<Window>,
    chance: f64,
) -> SystemTime {
    let chance = chance.clamp(0.0, 1.0);
    let Some(Window { start, end }) = window else {
        let life = not_after.duration_since(not_before).unwrap_or_default();
        return not_before + life * 2 / 3 + (life / 30).mul_f64(chance);
    };
    start + end.duration_since(start).unwrap_or_default().mul_f64(chance)
}

/// Which CA and which kind of challenge has its turn after so many failed turns: each CA is asked
/// at least twice, and once with each kind, before the next one is.
pub(crate) fn turn(failed: u32, kinds: usize, cas: usize) -> (usize, usize) {
    let failed = usize::try_from(failed).unwrap_or(usize::MAX);
    let times = times(kinds);
    (failed / times % cas.max(1), failed % times % kinds.max(1))
}

/// How often a CA is asked before the next one is.
fn times(kinds: usize) -> usize {
    kinds.max(usize::try_from(REPEATED).unwrap_or(usize::MAX))
}

/// The first turn at the CA after the one that has its turn now.
pub(crate) fn next_ca(failed: u32, kinds: usize) -> u32 {
    let times = u32::try_from(times(kinds)).unwrap_or(u32::MAX);
    (failed / times).saturating_add(1).saturating_mul(times)
}

/// Whether every CA has had its turns.
pub(crate) fn all_were_asked(failed: u32, kinds: usize, cas: usize) -> bool {
    let failed = usize::try_from(failed).unwrap_or(usize::MAX);
    failed >= times(kinds).saturating_mul(cas)
}

/// When to try again after so many failures in a row, at least one. `asked` is what the CA says in
/// `Retry-After`; `chance` is 0 to 1.
pub(crate) fn retry_at(
    now: SystemTime,
    failures: u32,
    asked: Option<Duration>,
    chance: f64,
) -> SystemTime {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = WAITS.get(index).copied().unwrap_or(Duration::from_secs(6 * 3_600));
    let wait = wait + wait.mul_f64(chance.clamp(0.0, 1.0) / 4.0);
    now + wait.max(asked.unwrap_or_default().min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn lives_from_160_hours_to_a_year_end_after_the_renewal_with_a_third_to_spare() {
        let from = UNIX_EPOCH + HOUR * 500_000;
        for hours in [160, 24 * 45, 24 * 64, 24 * 90, 24 * 365] {
            let life = HOUR * hours;
            let first = renew_at(from, from + life, None, 0.0);
            let last = renew_at(from, from + life, None, 1.0);
            assert_eq!(first, from + life * 2 / 3, "{hours} h");
            assert_eq!(last, first + life / 30, "{hours} h");
            // Six failures in a row later there is still time.
            let mut at = last;
            for failures in 1..=6 {
                at = retry_at(at, failures, None, 1.0);
            }
            assert!(at < from + life, "{hours} h");
        }
    }

    #[test]
    fn every_ca_is_asked_repeatedly_before_the_next_and_the_first_again_in_the_end() {
        let turns = |kinds, cas| -> Vec<(usize, usize)> {
            (0..7).map(|failed| turn(failed, kinds, cas)).collect()
        };
        assert_eq!(turns(1, 1), [(0, 0); 7]);
        assert_eq!(turns(2, 1), [(0, 0), (0, 1), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)]);
        assert_eq!(turns(1, 2), [(0, 0), (0, 0), (1, 0), (1, 0), (0, 0), (0, 0), (1, 0)]);
        assert_eq!(turns(3, 2), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 0)]);
        assert_eq!([0, 1, 2, 3].map(|failed| next_ca(failed, 1)), [2, 2, 4, 4]);
        assert_eq!(next_ca(1, 3), 3);
    }

    #[test]
    fn a_suggested_window_wins_even_if_it_is_past() {
        let from = UNIX_EPOCH + HOUR * 500_000;
        let renewed = |start: Duration, end: Duration, chance| {
            let window = Window { start: from + start, end: from + end };
            renew_at(from, from + HOUR * 160, Some(window), chance)
        };
        assert_eq!(renewed(HOUR * 10, HOUR * 20, 0.5), from + HOUR * 15);
        assert_eq!(renewed(HOUR * 10, HOUR * 20, 0.0), from + HOUR * 10);
        assert_eq!(renewed(HOUR * 10, HOUR * 20, 1.0), from + HOUR * 20);
        // Nonsense of a CA: the window ends before it begins.
        assert_eq!(renewed(HOUR * 20, HOUR * 10, 0.5), from + HOUR * 20);
    }

    #[test]
    fn waits_grow_and_a_ca_may_ask_for_more() {
        let now = UNIX_EPOCH + HOUR * 500_000;
        let wait = |failures, asked, chance| {
            retry_at(now, failures, asked, chance).duration_since(now).unwrap().as_secs()
        };
        let waits: Vec<u64> = (1..=9).map(|failures| wait(failures, None, 0.0)).collect();
        assert_eq!(waits, [10, 120, 600, 1_800, 3_600, 10_800, 21_600, 21_600, 21_600]);
        assert_eq!(wait(1, None, 1.0), 12);
        assert_eq!(wait(1, Some(HOUR), 1.0), 3_600);
        assert_eq!(wait(9, Some(HOUR), 0.0), 21_600, "asking for less does not shorten it");
        assert_eq!(wait(1, Some(HOUR * 24 * 3_650), 0.0), 8 * 86_400, "nobody waits for years");
        // Let's Encrypt allows five failures of a name in an hour; the first is at its beginning.
        let again = waits.iter().scan(0, |at, wait| {
            *at += wait;
            Some(*at)
        });
        assert_eq!(again.filter(|at| *at < 3_600).count(), 4);
    }
}
