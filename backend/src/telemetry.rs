//! Logs on standard output: text for people in development, one JSON object per line in production.

use std::io::IsTerminal as _;

use tracing_subscriber::fmt;

use crate::config::{AppEnv, LogConfig};

/// Installs the subscriber for the whole process. Call it once.
pub fn install(config: LogConfig) {
    let LogConfig { app_env, filter } = config;
    let lines = fmt().with_env_filter(filter);
    match app_env {
        AppEnv::Production => lines.json().flatten_event(true).with_span_list(false).init(),
        AppEnv::Development => lines.with_ansi(std::io::stdout().is_terminal()).init(),
    }
}
