//! Drop records and the network namespaces they were made in.

use model::evidence::Location;
use model::{DropRecord, Netns, NetnsOwner, RecordId, Tuple};

use super::ConvertError;
use super::flow;
use super::read::{self, Read, Within};
use super::walk::{walk, walk_to_model};
use crate::v1;

/// A drop record for the wire.
pub fn drop_record(record: &DropRecord) -> v1::DropRecord {
    v1::DropRecord {
        id: Some(v1::RecordId {
            node: record.id.node.clone(),
            boot: record.id.boot.clone(),
            sequence: record.id.sequence,
        }),
        netns: Some(netns(&record.netns)),
        protocol: flow::protocol(record.tuple.protocol).into(),
        src: flow::address(record.tuple.src),
        dst: Some(flow::socket_address(record.tuple.dst)),
        last_src_port: record.last_src_port.into(),
        reply: record.reply,
        reason: record.reason.clone(),
        symbol: record.location.symbol.clone(),
        offset: record.location.offset,
        in_interface: record.in_interface.clone(),
        count: record.count,
        first_at_ms: record.first_at.0,
        last_at_ms: record.last_at.0,
        walk: record.walk.as_deref().map(walk),
    }
}

/// A drop record from the wire.
pub fn drop_to_model(sent: v1::DropRecord) -> Result<DropRecord, ConvertError> {
    let id = read::present(sent.id, "id")?;
    Ok(DropRecord {
        id: RecordId {
            node: read::name(id.node, "node").within("id")?,
            boot: read::name(id.boot, "boot").within("id")?,
            sequence: id.sequence,
        },
        netns: netns_to_model(read::present(sent.netns, "netns")?).within("netns")?,
        tuple: Tuple {
            protocol: flow::protocol_to_model(sent.protocol, "protocol")?,
            src: read::address(&sent.src, "src")?,
            dst: flow::socket_address_to_model(sent.dst, "dst")?,
        },
        last_src_port: read::port(sent.last_src_port, "last_src_port")?,
        reply: sent.reply,
        reason: read::name(sent.reason, "reason")?,
        location: Location { symbol: read::name(sent.symbol, "symbol")?, offset: sent.offset },
        in_interface: sent.in_interface.map(|name| read::name(name, "in_interface")).transpose()?,
        count: sent.count,
        first_at: read::time(sent.first_at_ms),
        last_at: read::time(sent.last_at_ms),
        walk: sent.walk.map(walk_to_model).transpose().within("walk")?.map(Box::new),
    })
}

/// A batch of drop records from the wire. One bad record refuses the batch: its sequence could not be acknowledged.
pub fn drops_to_model(sent: v1::Drops) -> Result<Vec<DropRecord>, ConvertError> {
    read::list(sent.records, read::RECORDS_MAX, "records", drop_to_model)
}

fn netns(netns: &Netns) -> v1::Netns {
    v1::Netns {
        cookie: netns.cookie,
        inode: netns.inode,
        owner: Some(match &netns.owner {
            NetnsOwner::Node => v1::netns::Owner::Node(v1::netns::NodeOwner {}),
            NetnsOwner::Pod { uid, addresses } => v1::netns::Owner::Pod(v1::netns::PodOwner {
                uid: uid.clone(),
                addresses: addresses.iter().copied().map(flow::address).collect(),
            }),
            NetnsOwner::Unknown => v1::netns::Owner::Unknown(v1::netns::UnknownOwner {}),
        }),
    }
}

fn netns_to_model(sent: v1::Netns) -> Read<Netns> {
    Ok(Netns {
        cookie: sent.cookie,
        inode: sent.inode,
        owner: match read::present(sent.owner, "owner")? {
            v1::netns::Owner::Node(_) => NetnsOwner::Node,
            v1::netns::Owner::Pod(pod) => NetnsOwner::Pod {
                uid: pod.uid.map(|uid| read::name(uid, "pod.uid")).transpose()?,
                addresses: flow::addresses_to_model(pod.addresses, "pod.addresses")?,
            },
            v1::netns::Owner::Unknown(_) => NetnsOwner::Unknown,
        },
    })
}
