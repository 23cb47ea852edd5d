//! The reading of what wrk, h2load and the TLS client print.

use super::super::scenario::SCENARIOS;
use super::*;

const WRK: &str = "\
Running 4s test @ https://localhost:18100/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.42ms  512.00us  12.11ms   88.42%
    Req/Sec    45.13k     2.04k   48.90k    72.50%
  Latency Distribution
     50%    1.35ms
     75%    1.60ms
     90%    1.93ms
     99%    3.21ms
  179613 requests in 4.01s, 150.38MB read
Requests/sec:  44790.12
Transfer/sec:     37.50MB
";

#[test]
fn wrk_is_read() {
    let report = wrk_report(WRK).unwrap();
    let expected = Report {
        requests: 179_613,
        seconds: 4.01,
        p50_us: 1350.0,
        p99_us: 3210.0,
        refused: 0,
        errors: 0,
    };
    assert_eq!(report, expected);
}

#[test]
fn what_wrk_complains_about_is_read() {
    let text = format!(
        "{WRK}  Socket errors: connect 1, read 2, write 3, timeout 4\n  \
         Non-2xx or 3xx responses: 179600\n"
    );
    let report = wrk_report(&text).unwrap();
    assert_eq!((report.refused, report.errors), (179_600, 10));
    assert!(wrk_report("unable to connect to localhost:1 Connection refused\n").is_none());
}

const H2LOAD: &str = "\
starting benchmark...
finished in 2.50s, 400.00 req/s, 400.10MB/s
requests: 1000 total, 1000 started, 999 done, 990 succeeded, 10 failed, 1 errored, 0 timeout
status codes: 990 2xx, 0 3xx, 9 4xx, 0 5xx
traffic: 1000.25MB (1048838144) total, 12.30KB (12595) headers (space savings 90%)
                     min         max         mean         sd        +/- sd
time for request:      812us     50.10ms     19.92ms      3.50ms    84.20%
";

#[test]
fn h2load_is_read_with_the_percentiles_of_its_log() {
    let log: String = (1..=100).rev().map(|us| format!("1700000000\t200\t{us}\n")).collect();
    let report = h2load_report(H2LOAD, &log).unwrap();
    let expected =
        Report { requests: 999, seconds: 2.5, p50_us: 50.0, p99_us: 99.0, refused: 9, errors: 1 };
    assert_eq!(report, expected);
    assert_eq!(h2load_rate(H2LOAD), Some(400.0));
    assert_eq!(h2load_rate("finished in 1.00s, 0.00 req/s, 0B/s"), None);
    assert!(h2load_report(H2LOAD, "").is_none());
}

#[test]
fn the_tls_client_is_read() {
    let text = "requests 9\nseconds 1.5\np50_us 20\np99_us 30\nresumed 8\nrefused 1\nfailed 2\n";
    let report = tls_client_report(text).unwrap();
    assert_eq!((report.requests, report.refused, report.errors), (9, 1, 2));
    assert_eq!(named(text, "resumed"), Some(8.0));
}

#[test]
fn durations_of_every_unit_are_read() {
    for (text, us) in [("300.00us", 300.0), ("1.25ms", 1250.0), ("2s", 2e6), ("1.50m", 9e7)] {
        assert_eq!(microseconds(text), Some(us), "{text}");
    }
    assert_eq!(microseconds("fast"), None);
}

#[test]
fn a_report_of_other_work_is_refused() {
    let scenario = |name: &str| SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let report = |refused, errors| Report {
        requests: 10_000,
        seconds: 1.0,
        p50_us: 1.0,
        p99_us: 1.0,
        refused,
        errors,
    };
    assert!(report(0, 0).must_be_of(scenario("h1")).is_ok());
    assert!(report(11, 0).must_be_of(scenario("h1")).is_err());
    assert!(report(0, 11).must_be_of(scenario("h2")).is_err());
    assert!(report(9_990, 0).must_be_of(scenario("429-h1")).is_ok());
    assert!(report(5_000, 0).must_be_of(scenario("429-h2")).is_err());
}
