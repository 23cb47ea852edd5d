//! What the file of reports keeps, and every way in which it can be of no use.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;

fn violation(page: &str) -> Violation {
    Violation {
        site: "a".to_owned(),
        page: page.to_owned(),
        directive: "img-src".to_owned(),
        blocked: "data".to_owned(),
        enforced: false,
        source: String::new(),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &Path) -> File {
    File::new(folder).unwrap()
}

/// What a new process finds.
fn loaded(folder: &Path, now: u64) -> Vec<Entry> {
    let (mut table, mut file) = (Table::default(), file(folder));
    file.load(&mut table, now);
    assert!(!file.failed);
    table.entries()
}

/// A process that adds reports of these pages at a time.
fn report(folder: &Path, pages: &[&str], now: u64) -> bool {
    let mut table = Table::default();
    pages.iter().for_each(|page| _ = table.add(violation(page), now));
    file(folder).add(&table.unsaved(), now)
}

#[test]
fn what_was_reported_outlives_the_process_and_old_reports_do_not() {
    let folder = folder();
    assert!(report(folder.path(), &["/old"], 10));
    assert!(report(folder.path(), &["/new", "/new"], OLDEST));
    assert_eq!(loaded(folder.path(), OLDEST).len(), 2);
    assert!(report(folder.path(), &["/new"], OLDEST + 11));
    let expected =
        Entry { violation: violation("/new"), count: 3, first: OLDEST, last: OLDEST + 11 };
    // The old one is gone from the file itself.
    assert_eq!(loaded(folder.path(), OLDEST), [expected]);
    let mode = |name| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode(NAME) & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn the_file_has_no_more_rows_than_the_table() {
    let folder = folder();
    for (process, now) in [("a", 1), ("b", 2), ("c", 3)] {
        let pages: Vec<_> = (0..Table::MOST_OF_SITE).map(|n| format!("/{process}{n}")).collect();
        let pages: Vec<_> = pages.iter().map(String::as_str).collect();
        assert!(report(folder.path(), &pages, now));
    }
    let all = async |connection: &mut _| load(connection, 0).await;
    let rows = file(folder.path()).attempt(&all).unwrap();
    assert_eq!(rows.len(), Table::MOST);
    assert!(rows.iter().all(|entry| entry.last > 1), "the oldest have gone");
    let size = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes");
}

#[test]
fn processes_add_up_and_wait_for_each_other() {
    const PROCESSES: usize = 4;
    const BATCHES: usize = 25;
    let (folder, together) = (folder(), Barrier::new(PROCESSES));
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (folder, together) = (folder.path(), &together);
            scope.spawn(move || {
                let own = format!("/{process}");
                let mut file = file(folder);
                together.wait();
                for _ in 0..BATCHES {
                    let mut table = Table::default();
                    table.add(violation("/"), 1);
                    table.add(violation(&own), 1);
                    // Whoever waits too long tries again with the next batch.
                    while !file.add(&table.unsaved(), 1) {}
                }
            });
        }
    });
    let entries = loaded(folder.path(), 1);
    let counts: Vec<_> = entries.iter().map(|entry| entry.count as usize).collect();
    assert_eq!(counts, [PROCESSES * BATCHES, BATCHES, BATCHES, BATCHES, BATCHES]);
}

#[test]
fn a_file_that_is_none_is_set_aside() {
    let foreign = |path: &Path| {
        let other = async {
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql("CREATE TABLE theirs (x)").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        };
        Builder::new_current_thread().enable_time().build().unwrap().block_on(other);
    };
    let text = |path: &Path| std::fs::write(path, "[{\"not\":\"a database\"}]".repeat(99)).unwrap();
    let torn = |path: &Path| {
        let pages: Vec<_> = (0..500).map(|n| format!("/{n}")).collect();
        let pages: Vec<_> = pages.iter().map(String::as_str).collect();
        report(path.parent().unwrap(), &pages, 1);
        let mut bytes = std::fs::read(path).unwrap();
        bytes[2_000..].fill(7);
        std::fs::write(path, bytes).unwrap();
    };
    type Spoil<'s> = &'s dyn Fn(&Path);
    let ways = [("foreign", &foreign as Spoil<'_>), ("text", &text), ("torn", &torn)];
    for (what, spoil) in ways {
        let folder = folder();
        let path = folder.path().join(NAME);
        spoil(&path);
        let before = std::fs::read(&path).unwrap();
        std::fs::write(folder.path().join(journal(NAME)), "of the file that was").unwrap();
        assert!(report(folder.path(), &["/"], 1), "{what}");
        assert_eq!(loaded(folder.path(), 1).len(), 1, "{what}");
        let aside = folder.path().join(format!("{NAME}.aside"));
        assert!(std::fs::read(aside).unwrap() == before, "{what} is kept");
    }
}

#[test]
fn where_nothing_can_be_written_reports_stay_in_memory() {
    let mut table = Table::default();
    table.add(violation("/"), 1);
    // No such folder; one that no file can be made in; a folder in the place of the file.
    let taken = folder();
    std::fs::create_dir(taken.path().join(NAME)).unwrap();
    for folder in [Path::new("/no/such/folder"), Path::new("/proc/self"), taken.path()] {
        let mut file = file(folder);
        file.load(&mut table, 1);
        assert!(!file.add(&table.unsaved(), 1) && file.failed, "{}", folder.display());
        assert_eq!(table.unsaved().len(), 1);
    }
    // Once there is a folder, the next batch brings everything.
    let parent = folder();
    let missing = parent.path().join("later");
    let mut file = file(&missing);
    assert!(!file.add(&table.unsaved(), 1));
    std::fs::create_dir(&missing).unwrap();
    assert!(file.add(&table.unsaved(), 1));
    assert_eq!(loaded(&missing, 1).len(), 1);
}

#[test]
fn a_full_file_keeps_what_it_has() {
    let folder = folder();
    assert!(report(folder.path(), &["/first"], 1));
    let mut table = Table::default();
    (0..500).for_each(|n| _ = table.add(violation(&format!("/{n}")), 1));
    let mut file = file(folder.path());
    file.pages = 8;
    assert!(!file.add(&table.unsaved(), 1), "it has no page left");
    assert_eq!(table.unsaved().len(), 500, "they stay in memory");
    assert_eq!(loaded(folder.path(), 1).len(), 1, "a batch is written whole or not at all");
    file.pages = PAGES;
    assert!(file.add(&table.unsaved(), 1));
    assert_eq!(loaded(folder.path(), 1).len(), 501);
}

#[test]
fn a_file_that_another_process_holds_is_waited_for_and_then_tried_again() {
    let folder = folder();
    assert!(report(folder.path(), &["/"], 1));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let mut other = runtime.block_on(open(&folder.path().join(NAME), PAGES)).unwrap();
    let holding = runtime.block_on(other.begin_with("BEGIN EXCLUSIVE")).unwrap();
    assert!(!report(folder.path(), &["/"], 2), "it is busy");
    runtime.block_on(holding.rollback()).unwrap();
    assert!(report(folder.path(), &["/"], 3));
    assert_eq!(loaded(folder.path(), 3)[0].count, 2);
}
