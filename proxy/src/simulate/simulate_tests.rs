//! Whole simulations of small logs.

use std::path::Path;

use super::*;
use crate::config;

const RULES: &str = "[[site]]\nhosts = [\"a.example\"]\nissuer = \"internal\"\n\
    upstream = \"http://127.0.0.1:1\"\n\
    [[rate_limit]]\nname = \"global\"\nlimit = 100\nwindow = \"60s\"\n\
    [[rate_limit]]\nname = \"failures\"\nlimit = 3\nwindow = \"60s\"\n\
    match = { path = \"/login\" }\ncount = { status = [401] }\n\
    [[rate_limit]]\nname = \"key\"\nlimit = 1000\nwindow = \"1h\"\nkey = \"header:x-api-key\"\n\
    mode = \"shadow\"\n";

fn config() -> Config {
    config::load_text(Path::new("test.toml"), RULES, &|_| None).unwrap()
}

/// A request of client `192.0.2.N`, so many milliseconds after noon.
fn line(client: u8, millis: u64, path: &str, status: u16) -> String {
    let (minutes, seconds, millis) = (millis / 60_000, millis / 1_000 % 60, millis % 1_000);
    format!(
        "{{\"time\":\"2026-11-24T12:{minutes:02}:{seconds:02}.{millis:03}Z\",\
         \"client\":\"192.0.2.{client}\",\"method\":\"GET\",\"host\":\"a.example\",\
         \"path\":\"{path}\",\"status\":{status},\"route\":\"/{{*rest}}\"}}"
    )
}

fn simulated<'a>(lines: impl IntoIterator<Item = &'a String>) -> Report {
    let config = config();
    let mut simulation = Simulation::new(&config);
    lines.into_iter().for_each(|line| simulation.line(line.as_bytes()));
    simulation.finish()
}

#[test]
fn a_client_over_the_limit_is_rejected_as_it_would_be_live() {
    // 150 in 30 s, of which 100 pass; a minute later 10 more, which all do.
    let burst = (0..150).map(|n| line(1, n * 200, "/", 200));
    let later = (0..10).map(|n| line(1, 95_000 + n, "/", 200));
    let other = (0..20).map(|n| line(2, n * 1_000, "/", 200));
    let lines: Vec<_> = burst.chain(other).chain(later).collect();
    let report = simulated(&lines);
    assert_eq!((report.requests, report.rejected), (180, 50));
    let global = &report.rules[0];
    assert_eq!((global.keys, global.keys_rejected), (2, 1));
    assert_eq!((global.rates.p50, global.rates.most), (20, 150));
    assert_eq!(global.limits.as_ref().unwrap().nobody, 150);
    let busiest = &global.busiest[0];
    assert_eq!((busiest.key.as_str(), busiest.requests, busiest.rejected), ("192.0.2.1", 160, 50));
    assert_eq!(report.timeline.iter().map(|column| column.rejected).sum::<u64>(), 50);
}

#[test]
fn a_limit_that_rejects_nobody_rejects_nobody() {
    let lines: Vec<_> = (0..400_u64).map(|n| line(1, n * n % 90_000, "/", 200)).collect();
    let nobody = simulated(&lines).rules[0].limits.as_ref().unwrap().nobody;
    let with = |limit: u64| {
        let text = RULES.replace("limit = 100\n", &format!("limit = {limit}\n"));
        let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
        let mut simulation = Simulation::new(&config);
        lines.iter().for_each(|line| simulation.line(line.as_bytes()));
        simulation.finish().rejected
    };
    assert_eq!(with(nobody), 0);
    assert!(with(nobody - 1) > 0, "{nobody} is the least such limit");
}

#[test]
fn lines_out_of_order_are_put_in_order() {
    let mut lines: Vec<_> = (0..300).map(|n| line(1, n * 1_000, "/", 200)).collect();
    let expected = simulated(&lines).rejected;
    lines.chunks_mut(50).for_each(<[_]>::reverse);
    assert_eq!(simulated(&lines).rejected, expected);
}

#[test]
fn lines_that_come_too_late_are_told_of() {
    let hour = |from: u64| (from..from + 2).map(|n| line(1, n * 1_000, "/", 200));
    let between = (0..HELD as u64).map(|n| line(2, 600_000 + n, "/", 200));
    let lines: Vec<_> = hour(0).chain(between).chain(hour(500)).collect();
    assert_eq!(simulated(&lines).out_of_order, 0, "they could be held for long enough");
    let between = (0..3 * HELD as u64).map(|n| line(2, 600_000 + n, "/", 200));
    let lines: Vec<_> = hour(0).chain(between).chain(hour(500)).collect();
    let report = simulated(&lines);
    assert_eq!((report.out_of_order, report.requests), (2, lines.len() as u64));
    assert!(report.warnings()[0].starts_with("2 lines are older"), "{:?}", report.warnings());
    assert!(html(&report).contains("<p class=\"note\">2 lines are older"));
}

#[test]
fn only_answers_that_count_take_quota() {
    let good = (0..20).map(|n| line(1, n, "/login", 200));
    let bad = (0..10).map(|n| line(2, n, "/login", 401));
    let report = simulated(&good.chain(bad).collect::<Vec<_>>());
    let failures = &report.rules[1];
    assert_eq!((failures.requests, failures.rejected, failures.keys_rejected), (30, 7, 1));
}

#[test]
fn what_cannot_be_decided_is_counted_and_said() {
    let foreign = line(1, 0, "/", 200).replace("a.example", "b.example");
    let climbing = line(1, 1, "/%2e%2e/%2e%2e/x", 200);
    let lines = ["noise\u{1b}[31m".to_owned(), String::new(), foreign, climbing];
    let report = simulated(&lines);
    assert_eq!((report.lines, report.unreadable, report.no_site), (4, 1, 1));
    assert_eq!((report.undecided, report.requests), (1, 0));
    assert_eq!(report.examples, ["noise[31m"]);
    assert!(report.rules[2].note.as_ref().unwrap().contains("x-api-key"));
    assert!(report.from.is_none());
}

#[test]
fn the_page_is_whole_and_nothing_of_a_log_is_markup() {
    let text = RULES.replace("\"header:x-api-key\"", "\"path\"");
    let config = config::load_text(Path::new("test.toml"), &text, &|_| None).unwrap();
    let mut simulation = Simulation::new(&config);
    simulation.line(line(1, 0, "/<script>alert(1)</script>", 200).as_bytes());
    let page = html(&simulation.finish());
    assert!(page.ends_with("</html>\n") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script"), "{page}");
}
