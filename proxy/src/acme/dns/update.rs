//! A dynamic update (RFC 2136), signed with a key that the name server shares (TSIG, RFC 8945).

use std::io;
use std::time::UNIX_EPOCH;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{DNSClass, Name, RData, Record as DnsRecord, RecordType, TSigner};

use super::lookup::{ask, exchange, name};
use super::{Action, Record};
use crate::config::{DnsUpdate, TsigHash};
use crate::worker::wall_clock;

/// How long the record may be kept by others, in seconds.
const TTL: u32 = 60;

/// How far the clocks may be apart, in seconds (RFC 8945, 10).
const FUDGE: u16 = 300;

/// Sends it, and believes only an answer that is signed with the same key.
pub(super) async fn send(update: &DnsUpdate, action: Action, record: &Record) -> io::Result<()> {
    let owner = name(&record.name)?;
    let zone = match &update.zone {
        Some(zone) => name(zone)?,
        None => zone(update, &owner).await?,
    };
    let text = RData::TXT(TXT::new(vec![record.value.clone()]));
    let mut entry = DnsRecord::from_rdata(owner, TTL, text);
    if action == Action::Cleanup {
        // This one, and no other of the name (RFC 2136, 2.5.4).
        (entry.dns_class, entry.ttl) = (DNSClass::NONE, 0);
    }
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.add_query(Query::query(zone, RecordType::SOA));
    message.add_authority(entry);
    let now = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let key = signer(update)?;
    let verifier = message.finalize(&key, now).map_err(io::Error::other)?;
    let bytes = exchange(update.server, &message.to_vec().map_err(io::Error::other)?).await?;
    let answer = Message::from_vec(&bytes).map_err(io::Error::other)?;
    let server = update.server;
    if answer.metadata.response_code != ResponseCode::NoError {
        let code = answer.metadata.response_code;
        return Err(io::Error::other(format!("the name server {server} says {code}")));
    }
    let verified = verifier.map(|mut verifier| verifier.verify(&bytes).map(|_| ())).transpose();
    verified.map_err(|error| io::Error::other(format!("the name server {server}: {error}")))?;
    Ok(())
}

fn signer(update: &DnsUpdate) -> io::Result<TSigner> {
    let algorithm = match update.hash {
        TsigHash::Sha256 => TsigAlgorithm::HmacSha256,
        TsigHash::Sha384 => TsigAlgorithm::HmacSha384,
        TsigHash::Sha512 => TsigAlgorithm::HmacSha512,
    };
    let key = name(&update.key_name)?;
    TSigner::new(update.secret.clone(), algorithm, key, FUDGE).map_err(io::Error::other)
}

/// The zone that a name is in, by the server that is to be updated.
async fn zone(update: &DnsUpdate, owner: &Name) -> io::Result<Name> {
    let answer = ask(update.server, owner, RecordType::SOA).await?;
    let mut records = answer.answers.iter().chain(&answer.authorities);
    let start = records.find(|record| record.record_type() == RecordType::SOA);
    let zone = start.map(|record| record.name.clone());
    zone.ok_or_else(|| {
        io::Error::other(format!("the name server {} has no zone for {owner}", update.server))
    })
}
