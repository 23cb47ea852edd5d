//! `gatehouse simulate` of what a live Gatehouse has logged.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{TestProxy, TestUpstream};

const RULES: &str = "[[rate_limit]]\nname = \"global\"\nlimit = 25\nwindow = \"1h\"\n\
    [[rate_limit]]\nname = \"writes\"\nlimit = 5\nwindow = \"1h\"\n\
    match = { methods = [\"POST\"] }\nkey = [\"ip\", \"path\"]\n";

async fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.arg("simulate").args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_log_is_decided_as_it_was_live() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let mut client = proxy.client().await;
    let mut rejected = 0;
    for turn in 0..40 {
        let status = match turn % 3 {
            0 => client.post(["/a", "/b"][turn % 2], "x").await.status,
            _ => client.get("/c?token=secret").await.status,
        };
        rejected += u64::from(status == 429);
    }
    assert!(rejected > 10, "{rejected}");
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("gatehouse.toml"), folder.path().join("access.log"));
    std::fs::copy(proxy.file(), &config).unwrap();
    let records = proxy.finish().await;
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(&log, text + "no line of a log\n").unwrap();
    let page = folder.path().join("report.html");
    let [config, log, page] = [&config, &log, &page].map(|path| path.to_str().unwrap());
    let output = simulate(&["--config", config, "--json", "--html", page, log]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((&report["requests"], &report["unreadable"]), (&40.into(), &1.into()));
    assert_eq!(report["rejected"], rejected, "{report:#}");
    assert!(std::fs::read_to_string(page).unwrap().contains("Busiest keys"));
    let output = simulate(&["--config", config, log]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 lines are in no known format\n    no line of a log"), "{text}");
    assert!(output.stderr.is_empty(), "no progress where there is no terminal");
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let config = proxy.file().display().to_string();
    let output = simulate(&["--config", &config, "/no/such/log"]).await;
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: cannot read /no/such/log: "), "{message}");
    let output = simulate(&["--config", &config]).await;
    assert_eq!(output.status.code(), Some(2), "no log was named");
    proxy.finish().await;
}
