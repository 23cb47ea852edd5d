//! What is done about shared values that cannot be used, or that the store has lost.
//!
//! The first are renamed: neither read again nor lost. The others are given back by every instance
//! that knows them: certificates and accounts outlive a Redis without persistence for as long as
//! one instance runs.

use std::sync::LazyLock;

use redis::Cmd;

use super::shared::Shared;
use crate::store::Script;

static ASIDE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("aside.lua")]));
static RESTORE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("restore.lua")]));

impl Shared {
    /// Gives back what a store that has begun anew does not have.
    pub(super) async fn give_back(&self) -> Result<(), String> {
        let lost = self.known.borrow().lost();
        for (file, text) in lost {
            let sealed = self.sealed(&file, text.as_bytes())?;
            let keys = ["values", "changes", "meta"];
            let complete = |command: &mut Cmd| {
                command.arg(&file).arg(&sealed);
            };
            if self.line.ask::<u64>(&RESTORE, &keys, complete).await? > 0 {
                tracing::warn!("the shared store had lost {file}, and was given it back");
            }
        }
        Ok(())
    }

    /// Renames what cannot be used.
    pub(super) async fn put_aside(&self) -> Result<(), String> {
        while let Some((file, version)) = { self.aside.borrow().last().cloned() } {
            let complete = |command: &mut Cmd| {
                command.arg(&file).arg(version).arg(format!("{file}.aside"));
            };
            self.line.ask::<u64>(&ASIDE, &["values", "changes", "meta"], complete).await?;
            self.aside.borrow_mut().retain(|done| *done != (file.clone(), version));
        }
        Ok(())
    }

    /// Has a value renamed, and forgets it. Says where it is to be then.
    pub(super) fn set_aside(&self, file: &str) -> String {
        let mut known = self.known.borrow_mut();
        self.aside.borrow_mut().push((file.to_owned(), known.version_of(file)));
        known.blot(file);
        format!("{file}.aside in the shared store")
    }
}
