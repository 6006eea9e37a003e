//! Bytes written by this and earlier versions still mean the same: `tests/golden/v1`.
//!
//! A file is never rewritten. When the schema grows, add a sample and run with `WHY_DROPPED_WRITE_GOLDEN=1`, which
//! writes files that do not exist yet.

use std::fs;
use std::path::{Path, PathBuf};

use model::probe::{PodTarget, Probe, ProbeOutcome, Scope};
use model::{Key, NodeReport, ServiceProxy, SourceHealth, SourceState, Timestamp};
use prost::Message;
use proto::{convert, v1};

use crate::samples;

/// The committed bytes; `message` is what they are made from when there are none yet.
fn golden(name: &str, message: &impl Message) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name);
    if !path.exists() && std::env::var_os("WHY_DROPPED_WRITE_GOLDEN").is_some() {
        fs::write(&path, message.encode_to_vec()).expect("write golden file");
    }
    read(&path)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn drop_batch() {
    let bytes =
        golden("drops.bin", &v1::Drops { records: vec![convert::drop_record(&samples::drop_record())] });
    let sent = v1::Drops::decode(bytes.as_slice()).expect("decodes");
    assert_eq!(convert::drops_to_model(sent), Ok(vec![samples::drop_record()]));
}

#[test]
fn probes_and_answers() {
    let probe = Probe::Walk {
        node: "node-1".into(),
        scope: Scope::Pod(PodTarget {
            key: Key::new("web", "client"),
            uid: "uid-1".into(),
            addresses: vec![samples::address("fd00::9")],
        }),
        packet: samples::walk().packet,
    };
    let bytes = golden("probe.bin", &convert::probe(7, 1500, &probe));
    let sent = v1::Probe::decode(bytes.as_slice()).expect("decodes");
    assert_eq!((sent.id, sent.timeout_ms), (7, 1500));
    assert_eq!(convert::probe_to_model(sent), Ok(probe));

    let outcome = ProbeOutcome::Walk(Box::new(samples::walk()));
    let bytes = golden("probe_answer.bin", &convert::probe_answer(7, &outcome));
    let sent = v1::ProbeAnswer::decode(bytes.as_slice()).expect("decodes");
    assert_eq!(convert::probe_answer_to_model(sent), Ok(convert::ProbeReply { id: 7, outcome }));
}

#[test]
fn greetings_and_state() {
    let hello = v1::Hello {
        node: "node-1".into(),
        agent_version: "0.1.0".into(),
        kernel: "6.12.0".into(),
        boot: "b7e6-1700000000000".into(),
        protocol_version: 1,
    };
    let bytes = golden("hello.bin", &hello);
    assert_eq!(v1::Hello::decode(bytes.as_slice()), Ok(hello));

    let sources = [SourceState {
        name: "drops".into(),
        health: SourceHealth::Degraded,
        detail: "no drop reason before 5.17".into(),
    }];
    let status = convert::status(&sources, 5, Some(ServiceProxy::IptablesLegacy));
    let bytes = golden("status.bin", &status);
    assert_eq!(v1::Status::decode(bytes.as_slice()), Ok(status));
}

#[test]
fn answers() {
    let explanation = convert::explanation(&samples::explanation());
    let bytes = golden("explanation.bin", &explanation);
    assert_eq!(v1::Explanation::decode(bytes.as_slice()), Ok(explanation));

    let report = NodeReport {
        name: "node-1".into(),
        connected: true,
        last_seen: Some(Timestamp(1_700_000_000_000)),
        agent_version: "0.1.0".into(),
        kernel: "6.12.0".into(),
        service_proxy: Some(ServiceProxy::None),
        sources: vec![],
        lost: u64::MAX,
    };
    let nodes = v1::ListNodesResponse { nodes: vec![convert::node(&report, Timestamp(1_700_000_001_500))] };
    assert_eq!((nodes.nodes[0].last_seen_age_ms, nodes.nodes[0].lost), (Some(1500), u32::MAX));
    let bytes = golden("list_nodes.bin", &nodes);
    assert_eq!(v1::ListNodesResponse::decode(bytes.as_slice()), Ok(nodes));

    let drop = convert::list_drop(
        &samples::drop_record(),
        convert::DropNames { netns_pod: "web/client".into(), ..Default::default() },
        Timestamp(1_700_000_005_000),
    );
    assert_eq!((drop.location.as_str(), drop.netns_owner.as_str()), ("nf_hook_slow+0xd1", "pod web/client"));
    assert_eq!((drop.last_at.as_str(), drop.age_ms), ("2023-11-14T22:13:24.500Z", 500));
    let drops = v1::ListDropsResponse { drops: vec![drop], omitted: 2, not_checked: vec![] };
    let bytes = golden("list_drops.bin", &drops);
    assert_eq!(v1::ListDropsResponse::decode(bytes.as_slice()), Ok(drops));
}
