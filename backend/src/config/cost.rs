//! What a password hash costs: argon2id's parameters (RFC 9106), within bounds that neither make
//! guessing cheap nor let one login take the machine.

use std::ops::RangeInclusive;

use argon2::Params;

use super::Environment;

/// Least: OWASP's leanest choice of 7 MiB. Most: 1 GiB.
const MEMORY_KIB: RangeInclusive<u32> = 7168..=1_048_576;
const ITERATIONS: RangeInclusive<u32> = 1..=20;
const PARALLELISM: RangeInclusive<u32> = 1..=16;

pub(super) fn read(env: &mut Environment<'_>) -> Params {
    let memory = env.number("ARGON2_MEMORY_KIB", MEMORY_KIB, Params::DEFAULT_M_COST);
    let iterations = env.number("ARGON2_ITERATIONS", ITERATIONS, Params::DEFAULT_T_COST);
    let parallelism = env.number("ARGON2_PARALLELISM", PARALLELISM, Params::DEFAULT_P_COST);
    // argon2 itself only asks for 8 KiB per lane, which these ranges always give.
    Params::new(memory, iterations, parallelism, None).unwrap_or(Params::DEFAULT)
}
