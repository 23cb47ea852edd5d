//! `[log]`: where records and messages go.

use std::path::PathBuf;

/// The `[log]` section.
#[derive(Debug, Clone)]
pub struct Log {
    /// Where records go.
    pub access: AccessLog,
    /// The form of a record (default JSON).
    pub format: LogFormat,
    /// The level of messages on standard error (default `info`).
    pub level: tracing::Level,
}

/// The form of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON document per line.
    Json,
    /// The "combined" format of Apache and nginx.
    Combined,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output (the default).
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to.
    File(PathBuf),
}
