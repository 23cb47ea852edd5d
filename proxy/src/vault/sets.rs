//! Sets of values that other secrets have sealed, in the same store. They are neither read nor
//! touched, and that is said: an instance with a wrong secret would otherwise order everything anew
//! without a word, and private keys that were once kept unencrypted would stay for ever.

use std::sync::LazyLock;

use super::shared::Shared;
use crate::store::Script;

static SETS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("sets.lua")]));
static EXISTS: LazyLock<Script> =
    LazyLock::new(|| Script::new(&["return redis.call('EXISTS', KEYS[1])"]));

/// The set of those who have no secret.
pub(super) const PLAIN: &str = "plain";

/// How all keys begin, in whichever set; in braces what chooses the slot of a cluster.
pub(super) const ALL: &str = "{gatehouse}:certificates";

/// The keys of a set, after its prefix.
const KEYS: &str = "values,changes,meta,fences,instances";

impl Shared {
    /// Says which sets there are beside this one, and what to do about each.
    pub(super) async fn others(&self) -> Result<Vec<String>, String> {
        let own = |command: &mut redis::Cmd| {
            command.arg(self.set());
        };
        let sets: Vec<String> = self.line.ask_all(&SETS, &["sets"], own).await?;
        let mut said = Vec::new();
        for set in sets.iter().filter(|set| *set != self.set()) {
            let values = format!("{set}:values");
            if self.line.ask_all::<u64>(&EXISTS, &[&values], |_| ()).await? == 0 {
                continue;
            }
            let what = match set == PLAIN {
                true => "private keys that are not encrypted, of instances without a",
                false => "certificates that are not read here, for they were sealed by another",
            };
            said.push(format!(
                "the shared store has {what} GATEHOUSE_STORE_KEY: give all instances the same; \
                 when none uses the other any more: redis-cli DEL '{ALL}:{set}:'{{{KEYS}}}"
            ));
        }
        Ok(said)
    }
}
