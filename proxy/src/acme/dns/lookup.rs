//! Whether the name servers of a record have it: those that the operator names, or those that are
//! responsible for it, found through the system's resolver.
//!
//! DNS is spoken over TCP (RFC 7766), which neither truncates nor takes anybody's word.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Record;
use crate::config::Dns;

/// How long a name server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Aliases that are followed (RFC 1034, 3.6.2), as CAs follow them.
const LONGEST_CHAIN: usize = 8;

const RESOLVERS: &str = "/etc/resolv.conf";

/// The first server that does not have a record.
pub(super) async fn missing(dns: &Dns, record: &Record) -> io::Result<Option<SocketAddr>> {
    let mut name = name(&record.name)?;
    for _ in 0..LONGEST_CHAIN {
        let servers = match dns.servers.as_slice() {
            [] => responsible(&name).await?,
            named => named.to_vec(),
        };
        let mut alias = None;
        for server in servers {
            let answer = ask(server, &name, RecordType::TXT).await?;
            let mut data = answer.answers.iter().map(|record| &record.data);
            if data.any(|data| matches!(data, RData::TXT(text) if is(text, &record.value))) {
                continue;
            }
            for record in &answer.answers {
                if let RData::CNAME(to) = &record.data {
                    alias = Some(to.0.clone());
                }
            }
            if alias.is_none() {
                return Ok(Some(server));
            }
        }
        match alias {
            Some(alias) => name = alias,
            None => return Ok(None),
        }
    }
    Err(io::Error::other("too many aliases"))
}

/// Whether a TXT record, of one or several strings, says this.
fn is(text: &hickory_proto::rr::rdata::TXT, value: &str) -> bool {
    text.txt_data.concat() == value.as_bytes()
}

/// The name servers of the zone that a name is in.
async fn responsible(name: &Name) -> io::Result<Vec<SocketAddr>> {
    let resolver = resolver()?;
    let mut zone = name.clone();
    while !zone.is_root() {
        let answer = ask(resolver, &zone, RecordType::NS).await?;
        let mut servers = Vec::new();
        for record in &answer.answers {
            if let RData::NS(server) = &record.data {
                let host = server.0.to_ascii();
                servers.extend(tokio::net::lookup_host((host.trim_end_matches('.'), 53)).await?);
            }
        }
        if !servers.is_empty() {
            return Ok(servers);
        }
        zone = zone.base_name();
    }
    Err(io::Error::other(format!("no name server is known for {name}; name some in `dns_servers`")))
}

/// The first resolver of the system.
fn resolver() -> io::Result<SocketAddr> {
    let text = std::fs::read_to_string(RESOLVERS)?;
    let addresses = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let address = { addresses }.find_map(|address| address.trim().parse::<IpAddr>().ok());
    let missing = || io::Error::other(format!("{RESOLVERS} names no resolver"));
    Ok(SocketAddr::new(address.ok_or_else(missing)?, 53))
}

/// One question, answered with records or with their absence.
pub(super) async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = exchange(server, &question.to_vec().map_err(io::Error::other)?).await?;
    let answer = Message::from_vec(&bytes).map_err(io::Error::other)?;
    let code = answer.metadata.response_code;
    let answered = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !answered || answer.id != question.id {
        return Err(io::Error::other(format!("the name server {server} says {code}")));
    }
    Ok(answer)
}

/// One message and its answer.
pub(super) async fn exchange(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let outcome = tokio::time::timeout(PATIENCE, exchange).await;
    let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    outcome.map_err(|error| io::Error::other(format!("the name server {server}: {error}")))
}

/// A name of DNS.
pub(super) fn name(text: &str) -> io::Result<Name> {
    let mut name = Name::from_ascii(text).map_err(io::Error::other)?;
    name.set_fqdn(true);
    Ok(name)
}
