//! What only shows from inside: the written format, and values damaged behind the engine's back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::evidence::Location;
use model::flow::{Family, Origin, Packet, Protocol, Tuple};
use model::netns::{Netns, NetnsOwner};
use model::walk::{Action, Backend, Branch, Masquerade, ProxyFacts, RulesStamp, Step};
use model::{DropRecord, Gap, Outcome, RecordId, RuleRef, ServiceProxy, Timestamp, Walk};
use redb::{Durability, TableDefinition};

use crate::record::{self, FORMAT};
use crate::tables::RECORDS;
use crate::{Limits, Query, Store, StoreError};

const LIMITS: Limits = Limits { keep: Duration::from_mins(10), max_bytes: 1 << 20 };

/// A record in which every type that is kept occurs.
fn sample() -> DropRecord {
    let src = "10.244.1.9".parse().expect("an address");
    let dst = "10.96.12.7:80".parse().expect("an address and port");
    let rule = RuleRef {
        backend: Backend::IptablesNft,
        family: Family::Ipv4,
        table: "filter".into(),
        chain: "KUBE-SERVICES".into(),
        handle: Some(31),
        text: "-d 10.96.12.7/32 -j REJECT".into(),
        owner: "kube-proxy".into(),
        object: "service shop/api:http".into(),
    };
    let walk = Walk {
        packet: Packet {
            origin: Origin::Pod,
            in_interface: Some("veth1".into()),
            protocol: Protocol::Tcp,
            src,
            src_port: Some(40000),
            dst,
        },
        outcome: Outcome::Rejected,
        branches: vec![Branch {
            destination: dst,
            outcome: Outcome::Rejected,
            masquerade: Masquerade::No,
            dnat_rule: None,
            terminal_rule: Some(rule.clone()),
            reject_with: Some("icmp-port-unreachable".into()),
            out_interface: None,
            gateway: Some("fd00::1".parse().expect("an address")),
            steps: vec![Step {
                hook: "FORWARD".into(),
                rule: Some(rule),
                action: Action::Reject("icmp-port-unreachable".into()),
                packets: Some(3),
            }],
            gaps: vec![Gap::new("what", "why")],
        }],
        proxy: ProxyFacts {
            mode: ServiceProxy::Iptables,
            services: 12,
            knows_destination: true,
            knows_address: true,
            evidence: vec!["KUBE-SERVICES is hooked".into()],
        },
        rules: RulesStamp { read_at: Timestamp(5), fingerprint: 6, unchanged_since: Timestamp(4) },
        gaps: vec![],
    };
    DropRecord {
        id: RecordId { node: "node-1".into(), boot: "boot".into(), sequence: 42 },
        netns: Netns {
            cookie: 4097,
            inode: 7,
            owner: NetnsOwner::Pod { uid: Some("uid".into()), addresses: vec![src] },
        },
        tuple: Tuple { protocol: Protocol::Tcp, src, dst },
        last_src_port: 40001,
        reply: false,
        reason: "NETFILTER_DROP".into(),
        location: Location { symbol: "nf_hook_slow".into(), offset: 0xd1 },
        in_interface: Some("veth1".into()),
        count: 3,
        first_at: Timestamp(1000),
        last_at: Timestamp(4500),
        walk: Some(Box::new(walk)),
    }
}

/// Fails when a kept type changes without a new [`FORMAT`]. Raise it, and write the new file with
/// `WHY_DROPPED_WRITE_GOLDEN=1`.
#[test]
fn the_format_is_the_one_written_down() {
    let name = format!("tests/golden/record-{FORMAT}.bin");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let written = record::encode(&record::id_key(&sample().id), &sample());
    if !path.exists() && std::env::var_os("WHY_DROPPED_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &written).expect("written");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(record::decode(&golden), Ok(sample()));
    assert_eq!(golden, written);
}

#[test]
fn records_of_another_version_are_discarded() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path(), LIMITS).expect("opens");
    store.append(&[sample()]).expect("appended");
    store
        .write("change", Durability::Immediate, |transaction| {
            transaction.open_table(TableDefinition::<&str, u64>::new("meta"))?.insert("format", 200)?;
            Ok(())
        })
        .expect("changed");
    drop(store);
    let store = Store::open(directory.path(), LIMITS).expect("opens");
    let stats = store.stats().expect("stats");
    assert_eq!((stats.records, stats.bytes), (0, 0));
    assert_eq!(store.append(&[sample()]).expect("appended").new, 1);
}

#[test]
fn a_damaged_record_is_told_not_skipped() {
    for (damage, words) in [
        (&[][..], "cut short"),
        (&[FORMAT, 0, 0][..], "cut short"),
        (&[FORMAT, 255, 0, 0, 0, 0, 0, 0, 0][..], "cut short"),
        (&[FORMAT, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], "cannot be read"),
        (&[9, 0][..], "has format 9"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), LIMITS).expect("opens");
        store
            .write("change", Durability::Immediate, |transaction| {
                let key = record::time_key(Timestamp(1), 0);
                transaction.open_table(RECORDS)?.insert(key.as_slice(), damage)?;
                Ok(())
            })
            .expect("changed");
        let error = store.query(&Query::since(Timestamp(0), 1)).expect_err("told");
        assert_told(&error, words, store.path());
    }
}

fn assert_told(error: &StoreError, words: &str, path: &Path) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(text.contains(words) && text.contains(&path.display().to_string()), "{text}");
}
