//! Backups that leave the machine: encrypted, few, and good for a restore, which the drill proves,
//! as it proves of a bad one that it is bad.

use super::Tally;
use super::shell::{SHORT, Shell};

pub(super) fn entrust(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    let steps = [
        ("a backup goes off the machine encrypted, and the oldest ends", SEND),
        ("an encrypted backup comes back by the drill", BRING_BACK),
        ("the drill tells of a backup that lacks rows", LACKING),
        ("a restore touches no database that is in use", REFUSED),
        ("a backup that finds no room says so, and leaves nothing behind", FULL),
    ];
    for (name, script) in steps {
        tally.check(name, || shell.run(&format!("{ACCOUNT}{script}"), 2 * SHORT).map(drop))?;
    }
    Ok(())
}

/// The guide's own.
const ACCOUNT: &str = r#"
export DRILL_EMAIL=drill@example.com DRILL_PASSWORD="three plain words"
"#;

const SEND: &str = r#"
age-keygen --output key.txt
mkdir vault
export BACKUP_RECIPIENT="$(age-keygen -y key.txt)" BACKUP_TO="$PWD/vault/" BACKUP_KEEP=1
file=$(deploy/backup)
[ "$(ls backups)" = "$(basename "$file")" ]
cmp "$file" "vault/$(basename "$file")"
[ "$(stat --format=%a "$file")" = 600 ]
head -c 21 "$file" | grep '^age-encryption.org/v1$'
not grep --quiet --text 'PRIVATE KEY' "$file"
"#;

const BRING_BACK: &str = r#"
file=$(ls vault/*.age)
not deploy/drill "$file"
BACKUP_IDENTITY=key.txt deploy/drill "$file" | tee said
grep --quiet '^drill passed' said
"#;

/// As if more had been in the database than in its dump.
const LACKING: &str = r#"
mkdir lacking
file=$(deploy/backup)
tar --extract --directory lacking --file "$file"
sed --in-place '/^public.users /s/$/0/' lacking/rows
(cd lacking && tar --create --file ../lacking.tar -- *)
not deploy/drill lacking.tar 2>&1 | tee said
grep 'drill FAILED: public.users has 1 rows' said
"#;

const REFUSED: &str = r#"
not deploy/restore "$(ls backups/*.tar | tail -1)" 2>&1 | tee said
grep 'the database is not empty' said
"#;

const FULL: &str = r#"
mkdir tiny
mount -t tmpfs -o size=64k tmpfs tiny
trap 'umount tiny' EXIT
cp metrics/backup.prom before
not deploy/backup tiny 2>&1 | tee said
grep 'deploy/backup: FAILED' said
[ -z "$(ls --almost-all tiny)" ]
cmp metrics/backup.prom before
"#;
