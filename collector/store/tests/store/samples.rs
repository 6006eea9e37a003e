//! Records to keep.

use std::path::Path;
use std::time::Duration;

use model::evidence::Location;
use model::flow::{Protocol, Tuple};
use model::netns::{Netns, NetnsOwner};
use model::{DropRecord, RecordId, Timestamp};
use store::{Limits, Store};

pub const LIMITS: Limits = Limits { keep: Duration::from_mins(10), max_bytes: 64 << 20 };

pub fn open(directory: &Path) -> Store {
    Store::open(directory, LIMITS).expect("the store opens")
}

pub fn record(sequence: u64, at: u64) -> DropRecord {
    DropRecord {
        id: RecordId { node: "node-1".into(), boot: "boot".into(), sequence },
        netns: Netns { cookie: 1, inode: 2, owner: NetnsOwner::Node },
        tuple: Tuple {
            protocol: Protocol::Tcp,
            src: "10.244.1.9".parse().expect("an address"),
            dst: "10.96.12.7:80".parse().expect("an address and port"),
        },
        last_src_port: 40000,
        reply: false,
        reason: "NETFILTER_DROP".into(),
        location: Location { symbol: "nf_hook_slow".into(), offset: 0xd1 },
        in_interface: Some("veth1".into()),
        count: 1,
        first_at: Timestamp(at),
        last_at: Timestamp(at),
        walk: None,
    }
}

pub fn sequences(found: &store::Found) -> Vec<u64> {
    found.records.iter().map(|record| record.id.sequence).collect()
}
