//! `dns-01`: a TXT record that proves a name (RFC 8555, 8.4), put up by a command of the operator's
//! or by a dynamic update, and looked for where the CA will look before the CA is told to.

mod hook;
mod lookup;
mod update;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::Failure;
use crate::config::{Dns, DnsWriter};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// `_acme-challenge.HOST`, without a final dot.
    pub(super) name: String,
    pub(super) value: String,
}

impl Record {
    /// The record that proves a host. A wildcard is proven by its parent.
    pub(super) fn new(host: &str, value: String) -> Self {
        let host = host.strip_prefix("*.").unwrap_or(host);
        Self { name: format!("_acme-challenge.{host}"), value }
    }
}

/// Puts a record up, or takes it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Present,
    Cleanup,
}

/// Has a record written.
pub(super) async fn write(dns: &Dns, action: Action, record: &Record) -> Result<(), Failure> {
    let written = match &dns.writer {
        DnsWriter::Hook(command) => hook::run(command, action, record, dns.timeout).await,
        DnsWriter::Update(update) => update::send(update, action, record).await,
    };
    written.map_err(|why| Failure::name(format!("dns-01, {}: {why}", record.name)))
}

/// Waits until every server that a CA may ask has every record.
pub(super) async fn seen(dns: &Dns, records: &[Record]) -> Result<(), Failure> {
    let deadline = Instant::now() + dns.timeout;
    for record in records {
        loop {
            let why = match lookup::missing(dns, record).await {
                Ok(None) => break,
                Ok(Some(server)) => format!("it is not on the name server {server}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() + LOOK_AGAIN > deadline {
                let name = &record.name;
                let waited = dns.timeout.as_secs();
                let text = format!("dns-01, {name}: after {waited} s of waiting for it, {why}");
                return Err(Failure::name(text));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_proven_by_its_parent() {
        for host in ["example.com", "*.example.com"] {
            let record = Record::new(host, "value".to_owned());
            assert_eq!(record.name, "_acme-challenge.example.com");
        }
    }
}
