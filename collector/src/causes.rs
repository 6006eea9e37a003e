//! Likely causes for lists of drops: what a filter may ask for, the walk each drop is judged by, and how long it may take.
//!
//! Which cause a drop has, `diagnose` says.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diagnose::{DropCauses, Likely};
use model::evidence::Location;
use model::{DropRecord, ObjectSet, Timestamp, Tuple};
use objects::nearest;
use proto::v1;
use tonic::Status;

/// Agents walk a flow again a minute after they last did, or when the rules changed. A walk that is older than twice that
/// may be of other rules: the agent had too many flows to walk.
pub(crate) const WALK_HOLDS_MS: u64 = 120_000;

/// How long the causes of one list may take. A kind of drop costs about 0.1 ms where there are 10,000 pods, and a list
/// shows a thousand drops; a filter by cause may look at fifty times as many.
const TIME: Duration = Duration::from_secs(2);

/// The catalogue id of the cause a filter asks for, by id or slug; empty text asks for none.
pub(crate) fn asked(text: &str) -> Result<Option<&'static str>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let entries = diagnose::catalogue();
    let found = entries
        .iter()
        .find(|entry| entry.id.eq_ignore_ascii_case(text) || entry.slug.eq_ignore_ascii_case(text));
    if let Some(entry) = found {
        return Ok(Some(entry.id));
    }
    let (slug, id) = (text.to_lowercase(), text.to_uppercase());
    let near = nearest::nearest(&slug, entries.iter().map(|entry| entry.slug))
        .or_else(|| nearest::nearest(&id, entries.iter().map(|entry| entry.id)));
    let hint = near.map_or_else(
        || "`why-dropped causes` lists them".to_owned(),
        |near| format!("did you mean `{near}`? `why-dropped causes` lists them all"),
    );
    Err(Status::invalid_argument(format!("cause: no cause `{}`; {hint}", text.escape_debug())))
}

/// What the rules did to each flow, by the records that say so.
#[derive(Debug)]
pub(crate) struct Walks<R> {
    by_flow: HashMap<Flow, R>,
    most: usize,
}

/// A flow as one agent tells it from others.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Flow {
    node: String,
    boot: String,
    netns: u64,
    tuple: Tuple,
    reason: String,
    location: Location,
}

impl<R: Deref<Target = DropRecord> + Clone> Walks<R> {
    /// None yet, and never more than so many flows.
    pub(crate) fn at_most(most: usize) -> Self {
        Self { by_flow: HashMap::new(), most }
    }

    /// The record with the walk that holds for this one: itself, or an earlier one of its flow. Older records first.
    pub(crate) fn of(&mut self, record: R) -> Option<R> {
        let flow = Flow {
            node: record.id.node.clone(),
            boot: record.id.boot.clone(),
            netns: record.netns.cookie,
            tuple: record.tuple,
            reason: record.reason.clone(),
            location: record.location.clone(),
        };
        if record.walk.is_none() {
            let walked = self.by_flow.get(&flow)?;
            return (walked.last_at.age_ms(record.last_at) <= WALK_HOLDS_MS).then(|| walked.clone());
        }
        if self.by_flow.len() >= self.most {
            self.by_flow.clear();
        }
        self.by_flow.insert(flow, record.clone());
        Some(record)
    }
}

/// The causes of one list, as far as its time goes.
#[derive(Debug)]
pub(crate) struct Causes {
    known: DropCauses,
    until: Instant,
    not_told: u64,
}

impl Causes {
    /// By these objects, from now on.
    pub(crate) fn new(objects: Arc<ObjectSet>) -> Self {
        Self { known: DropCauses::new(objects), until: Instant::now() + TIME, not_told: 0 }
    }

    /// The likely cause of a drop by the walk in `walked`.
    pub(crate) fn of(
        &mut self,
        record: &DropRecord,
        walked: Option<&DropRecord>,
        now: Timestamp,
    ) -> Option<Likely> {
        let walk = walked.and_then(|walked| walked.walk.as_deref());
        if Instant::now() >= self.until && !self.known.holds(record, walk) {
            self.not_told += 1;
            return None;
        }
        self.known.of(record, walk, now)
    }

    /// What a caller must know about them.
    pub(crate) fn not_told(&self) -> Option<v1::NotChecked> {
        (self.not_told > 0).then(|| v1::NotChecked {
            what: match self.not_told {
                1 => "the likely cause of 1 drop".to_owned(),
                number => format!("the likely causes of {number} drops"),
            },
            why: format!("those of the others took {} s", TIME.as_secs()),
            remedy: "look back less far, or at one node".to_owned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests; a step that fails fails the test")]
mod tests {
    use super::*;
    use model::walk::{ProxyFacts, RulesStamp};
    use model::{Netns, NetnsOwner, Outcome, Packet, Protocol, RecordId, ServiceProxy, Walk};

    fn record(sequence: u64, at: u64, walked: bool) -> DropRecord {
        let tuple = Tuple {
            protocol: Protocol::Tcp,
            src: "10.244.1.9".parse().unwrap(),
            dst: "10.96.12.7:80".parse().unwrap(),
        };
        let walk = || Walk {
            packet: Packet {
                origin: model::Origin::Pod,
                in_interface: None,
                protocol: tuple.protocol,
                src: tuple.src,
                src_port: None,
                dst: tuple.dst,
            },
            outcome: Outcome::Unknown,
            branches: Vec::new(),
            proxy: ProxyFacts {
                mode: ServiceProxy::None,
                services: 0,
                knows_destination: false,
                knows_address: false,
                evidence: Vec::new(),
            },
            rules: RulesStamp { read_at: Timestamp(at), fingerprint: 1, unchanged_since: Timestamp(at) },
            gaps: Vec::new(),
        };
        DropRecord {
            id: RecordId { node: "node-1".into(), boot: "boot".into(), sequence },
            netns: Netns { cookie: 1, inode: 0, owner: NetnsOwner::Node },
            tuple,
            last_src_port: 40_000,
            reply: false,
            reason: "NETFILTER_DROP".into(),
            location: Location { symbol: "nf_hook_slow".into(), offset: 0 },
            in_interface: None,
            count: 1,
            first_at: Timestamp(at),
            last_at: Timestamp(at),
            walk: walked.then(|| Box::new(walk())),
        }
    }

    #[test]
    fn a_walk_holds_for_its_flow_and_for_a_while() {
        let mut walks = Walks::at_most(8);
        let (first, near, far) =
            (record(1, 0, true), record(2, WALK_HOLDS_MS, false), record(3, WALK_HOLDS_MS + 1, false));
        let (newer, restarted) = (record(4, WALK_HOLDS_MS + 2, true), record(5, WALK_HOLDS_MS + 3, false));
        let other = DropRecord { reason: "NO_SOCKET".into(), ..near.clone() };
        let mut of =
            |record| walks.of(record).map(|walked: &DropRecord| walked.id.sequence).unwrap_or_default();
        assert_eq!([of(&near), of(&first), of(&near), of(&other), of(&far)], [0, 1, 1, 0, 0]);
        assert_eq!([of(&newer), of(&far)], [4, 4]);
        let restarted =
            DropRecord { id: RecordId { boot: "next".into(), ..restarted.id.clone() }, ..restarted };
        assert_eq!(of(&restarted), 0);
    }

    #[test]
    fn what_takes_too_long_is_counted_and_said() {
        let (one, two) = (record(1, 5, true), record(2, 6, false));
        let mut causes = Causes::new(Arc::default());
        assert_eq!((causes.of(&one, Some(&one), Timestamp(9)), causes.not_told()), (None, None));
        causes.until = Instant::now();
        // The same kind again costs nothing; another one would.
        assert_eq!((causes.of(&two, Some(&one), Timestamp(9)), causes.not_told()), (None, None));
        causes.of(&two, None, Timestamp(9));
        let told = causes.not_told().unwrap();
        assert_eq!(
            (told.what.as_str(), told.why.as_str()),
            ("the likely cause of 1 drop", "those of the others took 2 s")
        );
    }
}
