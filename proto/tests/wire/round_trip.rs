//! Model to bytes and back loses nothing; hostile messages are refused with the field's path.

use model::NodeReport;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use proto::{ConvertError, convert, v1};

use crate::{samples, strategies};

fn through_bytes<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("own bytes decode")
}

proptest! {
    #[test]
    fn drop_records(record in strategies::drop_record()) {
        prop_assert_eq!(convert::drop_to_model(through_bytes(&convert::drop_record(&record))), Ok(record));
    }

    #[test]
    fn probes(probe in strategies::probe(), id in any::<u64>()) {
        let sent = through_bytes(&convert::probe(id, 250, &probe));
        prop_assert_eq!((sent.id, sent.timeout_ms), (id, 250));
        prop_assert_eq!(convert::probe_to_model(sent), Ok(probe));
    }

    #[test]
    fn probe_answers(outcome in strategies::probe_outcome(), id in any::<u64>()) {
        let sent = through_bytes(&convert::probe_answer(id, &outcome));
        prop_assert_eq!(convert::probe_answer_to_model(sent), Ok(convert::ProbeReply { id, outcome }));
    }

    #[test]
    fn states(
        sources in vec(strategies::source_state(), 0..4),
        lost in any::<u64>(),
        proxy in option::of(strategies::service_proxy()),
    ) {
        let mut report = unheard();
        convert::apply_status(&mut report, through_bytes(&convert::status(&sources, lost, proxy))).expect("applied");
        let expected = NodeReport { sources, lost, service_proxy: proxy, ..unheard() };
        prop_assert_eq!(report, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..256)) {
        if let Ok(message) = v1::Drops::decode(bytes.as_slice()) {
            drop(convert::drops_to_model(message));
        }
        if let Ok(message) = v1::ProbeAnswer::decode(bytes.as_slice()) {
            drop(convert::probe_answer_to_model(message));
        }
    }
}

fn unheard() -> NodeReport {
    NodeReport {
        name: "node-1".into(),
        connected: true,
        last_seen: None,
        agent_version: String::new(),
        kernel: String::new(),
        service_proxy: None,
        sources: vec![],
        lost: 0,
    }
}

/// What a change to a whole message makes of it, and the path of the error.
fn refused(change: impl FnOnce(&mut v1::DropRecord)) -> ConvertError {
    let mut message = convert::drop_record(&samples::drop_record());
    change(&mut message);
    let batch = v1::Drops { records: vec![convert::drop_record(&samples::drop_record()), message] };
    convert::drops_to_model(batch).expect_err("refused")
}

fn walk_of(record: &mut v1::DropRecord) -> &mut v1::Walk {
    record.walk.as_mut().expect("the sample has a walk")
}

#[test]
fn errors_name_the_field() {
    let cases: [(ConvertError, &str); 8] = [
        (refused(|record| record.id = None), "records[1].id: missing"),
        (refused(|record| record.protocol = 9), "records[1].protocol: unknown value 9"),
        (refused(|record| record.protocol = 0), "records[1].protocol: unknown value 0"),
        (refused(|record| record.src = vec![1, 2, 3]), "records[1].src: an address has 4 or 16 bytes, not 3"),
        (refused(|record| record.last_src_port = 65_536), "records[1].last_src_port: 65536 is no port"),
        (
            refused(|record| walk_of(record).branches[0].steps[1].action = None),
            "records[1].walk.branches[0].steps[1].action: missing",
        ),
        (refused(|record| walk_of(record).branches.clear()), "records[1].walk.branches: empty"),
        (
            refused(|record| walk_of(record).proxy.as_mut().expect("facts").mode = 77),
            "records[1].walk.proxy.mode: unknown value 77",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert!(text.starts_with(error.path()));
    }
}

#[test]
fn sizes_are_bounded() {
    let long = refused(|record| record.reason = "x".repeat(600));
    assert_eq!(long.to_string(), "records[1].reason: text of 600 bytes; at most 512 are taken");
    let many = refused(|record| {
        let walk = walk_of(record);
        walk.gaps = vec![walk.gaps[0].clone(); 1025];
    });
    assert_eq!(many.to_string(), "records[1].walk.gaps: list of 1025; at most 1024 are taken");
}

#[test]
fn a_bad_state_changes_nothing() {
    let mut report = unheard();
    let mut sent = convert::status(&[], 7, None);
    sent.service_proxy = Some(99);
    assert!(convert::apply_status(&mut report, sent).is_err());
    assert_eq!(report, unheard());
}
