//! The kinds of work that are measured, and what is read off each.

/// One kind of work.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) load: Load,
    /// The proxy's limit is ten requests a minute, so that nearly every answer is a 429.
    pub(super) limited: bool,
}

/// What makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// wrk: keep-alive connections, `GET /`.
    Wrk,
    /// h2load, over either protocol.
    H2load { http1: bool, connections: u32, streams: u32, work: Work },
    /// The TLS client of the bench: new connections, one `GET /` each.
    Handshakes { resumed: bool },
    /// The TLS client of the bench: connections that rest after one `GET /`.
    Idle,
}

/// What a request of h2load asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Get,
    Download,
    Upload,
}

impl Work {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Get => "/",
            Self::Download => "/1m",
            Self::Upload => "/upload",
        }
    }
}

/// A figure of a scenario: its key in JSON and its heading in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) key: &'static str,
    pub(super) heading: &'static str,
}

const OF_LOAD: [Column; 4] = [
    Column { key: "requests_per_second", heading: "req/s" },
    Column { key: "p50_us", heading: "p50 µs" },
    Column { key: "p99_us", heading: "p99 µs" },
    Column { key: "cpu_us_per_request", heading: "CPU µs/req" },
];
const OF_IDLE: [Column; 1] = [Column { key: "kib_per_connection", heading: "KiB/conn" }];

impl Scenario {
    /// The figures of a sample, in this order.
    pub(super) fn columns(&self) -> &'static [Column] {
        if self.load == Load::Idle { &OF_IDLE } else { &OF_LOAD }
    }
}

const GET_H2: Load = Load::H2load { http1: false, connections: 8, streams: 32, work: Work::Get };

const fn bulk(http1: bool, work: Work) -> Load {
    let (connections, streams) = if http1 { (8, 1) } else { (4, 4) };
    Load::H2load { http1, connections, streams, work }
}

const fn open(name: &'static str, title: &'static str, load: Load) -> Scenario {
    Scenario { name, title, load, limited: false }
}

const fn limited(name: &'static str, title: &'static str, load: Load) -> Scenario {
    Scenario { name, title, load, limited: true }
}

pub(super) static SCENARIOS: [Scenario; 11] = [
    open("h1", "HTTP/1.1 over TLS, keep-alive, 64 connections, GET /", Load::Wrk),
    open("h2", "HTTP/2 over TLS, 8 connections x 32 streams, GET /", GET_H2),
    open(
        "full",
        "new TLS 1.3 connection, full handshake, one GET /",
        Load::Handshakes { resumed: false },
    ),
    open(
        "resumed",
        "new TLS 1.3 connection, resumed, one GET /",
        Load::Handshakes { resumed: true },
    ),
    open("down-h1", "1 MiB down, HTTP/1.1, 8 connections", bulk(true, Work::Download)),
    open("down-h2", "1 MiB down, HTTP/2, 4 connections x 4 streams", bulk(false, Work::Download)),
    open("up-h1", "1 MiB up, HTTP/1.1, 8 connections", bulk(true, Work::Upload)),
    open("up-h2", "1 MiB up, HTTP/2, 4 connections x 4 streams", bulk(false, Work::Upload)),
    limited("429-h1", "429 flood, HTTP/1.1 over TLS, 64 connections", Load::Wrk),
    limited("429-h2", "429 flood, HTTP/2 over TLS, 8 connections x 32 streams", GET_H2),
    open("idle", "5,000 idle TLS connections, resident memory of each", Load::Idle),
];
