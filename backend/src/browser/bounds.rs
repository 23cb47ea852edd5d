//! How much a page may take of the machine: memory and disk, of all the browser's processes.
//!
//! # Why
//! A page of a few lines has a browser take all memory there is, and then the kernel ends whatever
//! is largest, perhaps the database. Limits of a process (`setrlimit`) do not help, since a page
//! can have hundreds; a control group would, but not everybody may make one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

/// Most memory of one browser that is its own and no file's, in MiB. An empty one has 200.
const MEMORY_MAX_MIB: u64 = 1024;
/// Most that its folder may hold, in MiB. A profile that was just made has 3.
const FILES_MAX_MIB: u64 = 256;
/// How often the memory is looked at: in this time a page can take some hundred MiB more.
const MEMORY_EVERY: Duration = Duration::from_millis(200);
/// How often the disk is: every so many looks at the memory.
const FILES_EVERY: u32 = 5;

/// Resolves, with the reason, once the browser in `group` with its files in `folder` has taken more
/// than it may.
pub(super) async fn outgrown(group: Option<Pid>, folder: PathBuf) -> String {
    let mut ticks = tokio::time::interval(MEMORY_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut turns = (0..FILES_EVERY).cycle();
    loop {
        ticks.tick().await;
        let folder = Some(folder.clone()).filter(|_| turns.next() == Some(0));
        let look =
            move || (group.map_or(0, memory_mib), folder.map_or(0, |folder| files_mib(&folder)));
        let (memory, files) = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        if memory > MEMORY_MAX_MIB {
            return format!("the page takes more than {MEMORY_MAX_MIB} MiB of memory");
        }
        if files > FILES_MAX_MIB {
            return format!("the page takes more than {FILES_MAX_MIB} MiB of the disk");
        }
    }
}

/// The memory of all processes of a group.
fn memory_mib(group: Pid) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let kib = processes.filter_map(|process| {
        let folder = process.path();
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // After the name, which may hold anything: state, parent, group.
        let of = stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok();
        (of == Some(group.as_raw_nonzero().get())).then(|| own_kib(&folder))
    });
    kib.sum::<u64>() / 1024
}

fn own_kib(process: &Path) -> u64 {
    // Gone meanwhile is nothing.
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let own = |line: &str| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    status.lines().filter_map(own).sum()
}

/// What a folder holds.
fn files_mib(folder: &Path) -> u64 {
    let (mut bytes, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // Of a link its own, not what it leads to.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            bytes += std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        }
    }
    bytes / (1024 * 1024)
}
