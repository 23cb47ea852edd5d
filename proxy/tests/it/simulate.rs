//! `gatehouse simulate` of what a live Gatehouse has logged.

use std::io::Write as _;
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

#[tokio::test]
async fn of_a_packed_log_that_is_cut_short_what_there_is_counts() {
    let upstream = TestUpstream::start().await;
    let proxy = TestProxy::start(&upstream, RULES);
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..10_000)
        .map(|n| {
            format!(
                "192.0.2.{} - - [24/Nov/2026:12:00:00 +0000] \"GET /{n} HTTP/1.1\" 200 1\n",
                n % 250
            )
        })
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = [
        ("log.gz", gzip.finish().unwrap()),
        ("log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap()),
    ];
    let config = proxy.file().display().to_string();
    for (name, bytes) in packed {
        let log = folder.path().join(name).display().to_string();
        std::fs::write(&log, &bytes[..bytes.len() / 2]).unwrap();
        let output = simulate(&["--config", &config, "--json", &log]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let requests = report["requests"].as_u64().unwrap();
        assert!((1_000..9_000).contains(&requests) && report["unreadable"] == 0, "{requests}");
        let output = simulate(&["--config", &config, &log]).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("warning: cannot read the rest of {log}: ")), "{said}");
        std::fs::write(&log, &bytes[..8]).unwrap();
        assert_eq!(simulate(&["--config", &config, &log]).await.status.code(), Some(1));
    }
    proxy.finish().await;
}
