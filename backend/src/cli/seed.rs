//! `nomation seed`: with a bar on a terminal, with one line per table elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{FAILURE, UNUSABLE, failed, unusable};
use crate::config::{AppEnv, Config};
use crate::domain::password::{Hasher, NewPassword};
use crate::http::problem::Causes;
use crate::seed::{self, EMAIL, PASSWORD, Progress, Size};
use crate::store::migrations;

/// Characters of the bar.
const BAR: usize = 30;
/// How often it is drawn.
const DRAW: Duration = Duration::from_millis(100);

pub(super) async fn run(rows: u32) -> ExitCode {
    let (database, log) = match Config::read_database_alone(&|name| std::env::var_os(name)) {
        Ok(read) => read,
        Err(faults) => return unusable(&faults),
    };
    if log.app_env == AppEnv::Production {
        let why = "seed makes users whose password everybody knows: not with APP_ENV=production";
        return failed(UNUSABLE, why);
    }
    let broken =
        |cause: &dyn std::error::Error| failed(FAILURE, &format!("{database}: {}", Causes(cause)));
    if let Err(error) = migrations::run(&database).await {
        return broken(&error);
    }
    let hash = match hash().await {
        Ok(hash) => hash,
        Err(why) => return failed(FAILURE, &why),
    };
    let size = Size::of(rows);
    let mut teller = Teller::new(size.total());
    if let Err(error) = seed::seed(&database, size, &hash, |progress| teller.tell(progress)).await {
        teller.end_line();
        return broken(&error);
    }
    teller.end_line();
    println!("{database} has {} rows; log in as {EMAIL}, {PASSWORD}", size.total());
    ExitCode::SUCCESS
}

async fn hash() -> Result<crate::domain::password::PasswordHash, String> {
    let password = NewPassword::parse(PASSWORD)?;
    let hasher = Hasher::new(argon2::Params::DEFAULT).map_err(|e| Causes(&e).to_string())?;
    hasher.hash(password).await.map_err(|e| Causes(&e).to_string())
}

/// Says how far it is.
struct Teller {
    is_terminal: bool,
    total: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Teller {
    fn new(total: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_terminal, total, started: Instant::now(), drawn: None }
    }

    fn tell(&mut self, progress: Progress) {
        if self.is_terminal {
            let is_time = self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW);
            if is_time || progress.total == self.total {
                self.drawn = Some(Instant::now());
                eprint!("\r{}", bar(progress, self.total, self.started.elapsed()));
                let _ = std::io::stderr().flush();
            }
        } else if progress.is_full {
            let seconds = self.started.elapsed().as_secs_f64();
            eprintln!("{} {} rows, after {seconds:.1} s", progress.table, progress.rows);
        }
    }

    /// Leaves the bar as it is.
    fn end_line(&self) {
        if self.drawn.is_some() {
            eprintln!();
        }
    }
}

/// One line, as long as the one before or longer, so that nothing of that is left.
fn bar(progress: Progress, total: u64, elapsed: Duration) -> String {
    let of = |parts: u64| progress.total.saturating_mul(parts) / total.max(1);
    let full = usize::try_from(of(30)).unwrap_or(BAR).min(BAR);
    let (percent, seconds) = (of(100), elapsed.as_secs());
    format!(
        "[{:<BAR$}] {percent:>3} %  {:>9} of {total} rows  {seconds} s  {:<22}",
        "#".repeat(full),
        progress.total,
        progress.table
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_the_rows_and_keeps_its_length() {
        let at = |total| {
            let progress = Progress { table: "tests", rows: 1, is_full: false, total };
            bar(progress, 2000, Duration::from_secs(3))
        };
        assert!(at(0).starts_with("[      "), "{}", at(0));
        assert!(at(1000).starts_with("[###############               ]  50 % "), "{}", at(1000));
        assert!(at(2000).starts_with("[##############################] 100 % "));
        assert_eq!(at(0).len(), at(2000).len());
    }
}
