//! Session tickets (RFC 8446, 4.6.1; RFC 5077) that every instance takes: their keys are derived
//! from a secret that all have, so that nothing is kept per session and nobody is asked.
//!
//! A key is for one period of the wall clock and one policy of client certificates. Tickets of the
//! period before are taken as well, and those of the next, because clocks differ.
//!
//! # Why
//!
//! Keys that an instance makes up for itself are forgotten for good when they rotate; these can be
//! derived again by whoever has the secret. What that opens is TLS 1.2, whose resumed sessions have
//! no key exchange of their own: TLS 1.3 has one with every resumption.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use rustls::server::ProducesTickets;

use crate::config::{ClientCertificates, TlsVersion};
use crate::worker::wall_clock;

/// How long a key is used for new tickets, in seconds, as it is with keys of an instance's own.
const PERIOD: u64 = 6 * 3_600;

/// Before what is sealed stands the number of its period.
const PREFIX: usize = size_of::<u64>();

/// What the keys of all instances are derived from.
pub(crate) struct TicketSecret(ArcSwap<[u8; 32]>);

impl TicketSecret {
    pub(crate) fn new(secret: [u8; 32]) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(secret)))
    }

    /// Another secret is everybody's; tickets by the one before are taken no longer.
    pub(crate) fn set(&self, secret: [u8; 32]) {
        if **self.0.load() != secret {
            self.0.store(Arc::new(secret));
        }
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret")
    }
}

/// The tickets of one policy.
#[derive(Debug)]
pub(crate) struct SharedTickets {
    secret: Arc<TicketSecret>,
    /// The digest of the policy.
    policy: [u8; 32],
    keys: ArcSwapOption<Keys>,
}

/// The keys of three periods.
struct Keys {
    secret: Arc<[u8; 32]>,
    /// The period that is now.
    period: u64,
    keys: [RandomizedNonceKey; 3],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("period", &self.period).finish_non_exhaustive()
    }
}

impl SharedTickets {
    /// Policies that are the same on two instances have the same keys.
    pub(crate) fn new(
        secret: Arc<TicketSecret>,
        min_version: TlsVersion,
        clients: Option<&ClientCertificates>,
    ) -> Self {
        let mut context = digest::Context::new(&SHA256);
        context.update(match min_version {
            TlsVersion::V1_2 => b"1.2",
            TlsVersion::V1_3 => b"1.3",
        });
        if let Some(clients) = clients {
            context.update(if clients.required { b"required" } else { b"optional" });
            for ca in &clients.ca {
                context.update(digest::digest(&SHA256, ca).as_ref());
            }
        }
        let mut policy = [0; 32];
        policy.copy_from_slice(context.finish().as_ref());
        Self { secret, policy, keys: ArcSwapOption::empty() }
    }

    fn encrypt_at(&self, plain: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let keys = self.keys(now)?;
        let mut text = plain.to_vec();
        let period = keys.period.to_be_bytes();
        let nonce = keys.of(keys.period)?.seal_in_place_append_tag(Aad::from(period), &mut text);
        Some([&period[..], &nonce.ok()?.as_ref()[..], &text].concat())
    }

    fn decrypt_at(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (period, rest) = ticket.split_first_chunk::<PREFIX>()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let keys = self.keys(now)?;
        let key = keys.of(u64::from_be_bytes(*period))?;
        let mut text = text.to_vec();
        let length = key.open_in_place(nonce, Aad::from(period), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    /// The keys of a moment; they are derived once in a period.
    fn keys(&self, now: SystemTime) -> Option<Arc<Keys>> {
        let period = now.duration_since(UNIX_EPOCH).ok()?.as_secs() / PERIOD;
        let secret = self.secret.0.load_full();
        let known = self.keys.load_full();
        if let Some(keys) = known
            && keys.period == period
            && Arc::ptr_eq(&keys.secret, &secret)
        {
            return Some(keys);
        }
        let key = |period| key(&secret, &self.policy, period);
        let keys = [key(period.wrapping_sub(1))?, key(period)?, key(period + 1)?];
        let keys = Arc::new(Keys { secret, period, keys });
        self.keys.store(Some(Arc::clone(&keys)));
        Some(keys)
    }
}

impl Keys {
    /// That of a period, if it is this one, the one before or the next.
    fn of(&self, period: u64) -> Option<&RandomizedNonceKey> {
        let place = period.wrapping_sub(self.period.wrapping_sub(1));
        self.keys.get(usize::try_from(place).ok()?)
    }
}

fn key(secret: &[u8; 32], policy: &[u8; 32], period: u64) -> Option<RandomizedNonceKey> {
    let (period, mut bytes) = (period.to_be_bytes(), [0; 32]);
    let info = [&b"ticket"[..], policy, &period];
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    secret.expand(&info, HKDF_SHA256).ok()?.fill(&mut bytes).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "half a day in seconds")]
    fn lifetime(&self) -> u32 {
        2 * PERIOD as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(plain, wall_clock())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(ticket, wall_clock())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tickets(secret: u8, min_version: TlsVersion, required: Option<bool>) -> SharedTickets {
        let clients = required.map(|required| ClientCertificates { ca: Vec::new(), required });
        SharedTickets::new(TicketSecret::new([secret; 32]), min_version, clients.as_ref())
    }

    #[test]
    fn a_ticket_is_taken_by_every_instance_until_the_period_after_its_own_ends() {
        let (one, other) = (tickets(1, TlsVersion::V1_2, None), tickets(1, TlsVersion::V1_2, None));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(1_000 * PERIOD + seconds);
        let ticket = one.encrypt_at(b"session", at(0)).unwrap();
        for (seconds, taken) in [
            (0, true),
            (PERIOD - 1, true),
            (2 * PERIOD - 1, true),
            (2 * PERIOD, false),
            (9 * PERIOD, false),
        ] {
            let session = other.decrypt_at(&ticket, at(seconds));
            assert_eq!(session.as_deref(), taken.then_some(&b"session"[..]), "{seconds}");
        }
        // The clock of the other is a little behind, in the period before.
        let behind = UNIX_EPOCH + Duration::from_secs(1_000 * PERIOD - 1);
        assert!(other.decrypt_at(&ticket, behind).is_some());
        assert_ne!(one.encrypt_at(b"session", at(0)).unwrap(), ticket);
        for index in 0..ticket.len() {
            let mut tampered = ticket.clone();
            tampered[index] ^= 1;
            assert_eq!(other.decrypt_at(&tampered, at(0)), None, "byte {index}");
            assert_eq!(other.decrypt_at(&ticket[..index], at(0)), None, "{index} bytes");
        }
    }

    #[test]
    fn no_ticket_is_taken_under_another_policy_or_secret() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let all = [
            tickets(1, TlsVersion::V1_2, None),
            tickets(1, TlsVersion::V1_3, None),
            tickets(1, TlsVersion::V1_2, Some(true)),
            tickets(1, TlsVersion::V1_2, Some(false)),
            tickets(2, TlsVersion::V1_2, None),
        ];
        for (index, from) in all.iter().enumerate() {
            let ticket = from.encrypt_at(b"session", now).unwrap();
            for (other, to) in all.iter().enumerate() {
                let taken = to.decrypt_at(&ticket, now).is_some();
                assert_eq!(taken, index == other, "{index} {other}");
            }
        }
        let secret = TicketSecret::new([1; 32]);
        let changing = SharedTickets::new(Arc::clone(&secret), TlsVersion::V1_2, None);
        let ticket = changing.encrypt_at(b"session", now).unwrap();
        secret.set([2; 32]);
        assert_eq!(changing.decrypt_at(&ticket, now), None);
        let ticket = changing.encrypt_at(b"session", now).unwrap();
        assert!(all[4].decrypt_at(&ticket, now).is_some());
    }
}
