//! The vocabulary that every other crate speaks: what a flow, a rule walk, a drop, a gap, a finding and an answer are.
//!
//! It holds values and their small invariants, never I/O, parsing of foreign formats or decisions about causes.
//! Types derive `serde` because the store and a recorded case keep them on disk; the wire and the JSON answer are
//! the business of the `proto` crate alone.

#![forbid(unsafe_code)]

pub mod case;
pub mod drift;
pub mod evidence;
pub mod explanation;
pub mod flow;
pub mod gap;
pub mod netns;
pub mod node_state;
pub mod objects;
pub mod place;
pub mod probe;
pub mod question;
pub mod service_proxy;
pub mod time;
pub mod walk;

pub use case::{Answer, Case};
pub use evidence::{DropRecord, NodeReport, RecordId, SourceHealth, SourceState};
pub use explanation::{Basis, Certainty, Effect, Explanation, Finding, Verdict};
pub use flow::{Family, Origin, Packet, PortRange, Protocol, Tuple};
pub use gap::Gap;
pub use netns::{Netns, NetnsOwner};
pub use node_state::NodeState;
pub use objects::{Key, ObjectRef, ObjectSet};
pub use place::{Place, Stage};
pub use probe::{Probe, ProbeOutcome};
pub use question::Question;
pub use service_proxy::ServiceProxy;
pub use time::Timestamp;
pub use walk::{Outcome, RuleRef, Walk};
