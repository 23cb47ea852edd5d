//! Which server a request goes to, and how often it may go again.

use std::cell::Cell;

use crate::config::Balance;

/// What is looked at when a server is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// By its checks.
    pub(super) up: bool,
    /// By what requests have met.
    pub(super) passed_over: bool,
    /// Of a full share of requests, in thousandths.
    pub(super) share: usize,
    pub(super) in_flight: usize,
    /// This request has been there already.
    pub(super) tried: bool,
}

/// The next server for a request, by its place in `candidates`; `turn` goes on by one with each
/// request. `None` if there is none left that its checks do not say is down.
///
/// A server that has less than its full share (it has just returned) counts for as many more
/// requests in flight, or passes its turn as often.
pub(super) fn choose(balance: Balance, turn: usize, candidates: &[Candidate]) -> Option<usize> {
    let count = candidates.len();
    let in_turn = (0..count).map(|step| (turn + step) % count.max(1));
    let open = in_turn.filter_map(|at| candidates.get(at).map(|candidate| (at, candidate)));
    let open = open.filter(|(_, candidate)| candidate.up && !candidate.tried);
    // `min_by_key` takes the first of equals, which is the one whose turn it is.
    let best = open.min_by_key(|(_, candidate)| match balance {
        Balance::LeastConnections => {
            (candidate.passed_over, (candidate.in_flight + 1) * 1_000 / candidate.share.max(1))
        }
        Balance::RoundRobin => (candidate.passed_over, usize::from(passes(turn, candidate.share))),
    });
    best.map(|(at, _)| at)
}

/// Whether a server with this share passes its turn: the golden ratio spreads its turns evenly.
fn passes(turn: usize, share: usize) -> bool {
    turn.wrapping_mul(618) % 1_000 >= share
}

/// What may be sent again: a tenth of all requests, and ten at once.
///
/// Without it, an upstream that fails under its load would get twice that load.
#[derive(Debug)]
pub(super) struct Budget(Cell<u32>);

impl Budget {
    const PER_REQUEST: u32 = 1;
    const PER_RETRY: u32 = 10;
    const MOST: u32 = 10 * Self::PER_RETRY;

    pub(super) fn new() -> Self {
        Self(Cell::new(Self::MOST))
    }

    pub(super) fn earn(&self) {
        self.0.set((self.0.get() + Self::PER_REQUEST).min(Self::MOST));
    }

    /// Whether a request may be sent again.
    pub(super) fn spend(&self) -> bool {
        let left = self.0.get().checked_sub(Self::PER_RETRY);
        left.map(|left| self.0.set(left)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(in_flight: usize) -> Candidate {
        Candidate { up: true, passed_over: false, share: 1_000, in_flight, tried: false }
    }

    #[test]
    fn servers_are_chosen_by_turn_or_by_load() {
        let servers = [candidate(2), candidate(1), candidate(1)];
        let chosen = |balance| -> Vec<_> {
            (0..4).map(|turn| choose(balance, turn, &servers).unwrap()).collect()
        };
        assert_eq!(chosen(Balance::RoundRobin), [0, 1, 2, 0]);
        assert_eq!(chosen(Balance::LeastConnections), [1, 1, 2, 1]);
    }

    #[test]
    fn what_is_down_or_tried_is_never_chosen_and_what_failed_only_if_it_must() {
        let passed_over = Candidate { passed_over: true, ..candidate(0) };
        let down = Candidate { up: false, ..candidate(0) };
        let tried = Candidate { tried: true, ..candidate(0) };
        for (servers, expected) in [
            (vec![passed_over, candidate(9)], Some(1)),
            (vec![down, candidate(9)], Some(1)),
            (vec![tried, candidate(9)], Some(1)),
            (vec![passed_over, down], Some(0)),
            (vec![down, tried], None),
            (vec![], None),
        ] {
            let chosen = choose(Balance::LeastConnections, 0, &servers);
            assert_eq!(chosen, expected, "{servers:?}");
        }
    }

    #[test]
    fn a_server_that_has_just_returned_gets_its_share() {
        for count in [2, 3, 7] {
            for share in [50, 500, 900] {
                let mut servers = vec![candidate(0); count];
                servers[0].share = share;
                let turns = 3_000 * count;
                let chosen = (0..turns).filter_map(|t| choose(Balance::RoundRobin, t, &servers));
                let got = chosen.filter(|at| *at == 0).count();
                assert!(got.abs_diff(3 * share) <= 30, "{got} of {turns}, share {share}");
            }
        }
        // Twice as many requests in flight as the one that returns with half a share.
        let returns = Candidate { share: 500, ..candidate(0) };
        let chosen = |other| choose(Balance::LeastConnections, 0, &[returns, candidate(other)]);
        assert_eq!((chosen(0), chosen(1), chosen(2)), (Some(1), Some(0), Some(0)));
    }

    #[test]
    fn a_tenth_of_all_requests_may_go_again() {
        let budget = Budget::new();
        let spend = |budget: &Budget| (0..1_000).filter(|_| budget.spend()).count();
        assert_eq!(spend(&budget), 10);
        (0..50).for_each(|_| budget.earn());
        assert_eq!(spend(&budget), 5);
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!(spend(&budget), 10, "they are not saved up");
    }
}
