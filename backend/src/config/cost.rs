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
    let memory = number(env, "ARGON2_MEMORY_KIB", MEMORY_KIB, Params::DEFAULT_M_COST);
    let iterations = number(env, "ARGON2_ITERATIONS", ITERATIONS, Params::DEFAULT_T_COST);
    let parallelism = number(env, "ARGON2_PARALLELISM", PARALLELISM, Params::DEFAULT_P_COST);
    // argon2 itself only asks for 8 KiB per lane, which these ranges always give.
    Params::new(memory, iterations, parallelism, None).unwrap_or(Params::DEFAULT)
}

fn number(
    env: &mut Environment<'_>,
    name: &'static str,
    range: RangeInclusive<u32>,
    default: u32,
) -> u32 {
    let Some(text) = env.text(name) else { return default };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.unwrap_or_else(|| {
        let (min, max) = (range.start(), range.end());
        let remedy = format!("a whole number from {min} to {max}; {default} unless set");
        env.fault(name, format!("is {text:?}"), remedy);
        default
    })
}
