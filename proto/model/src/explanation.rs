//! The answer. Its fields are the public contract `whydropped.v1.Explanation`, one for one.

use serde::{Deserialize, Serialize};

use crate::flow::Family;
use crate::gap::Gap;
use crate::objects::{Key, ObjectRef};
use crate::place::{Place, Stage};
use crate::time::Timestamp;
use crate::walk::RuleRef;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It works.
    Delivered,
    /// Some backends or families fail.
    Partial,
    /// Silence.
    Dropped,
    /// The client is told: RST, ICMP, or an error at the source.
    Rejected,
    /// There is no address to connect to.
    Unresolved,
    /// Not enough was seen to say.
    Inconclusive,
}

impl Verdict {
    /// Upper case, as answers print it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Partial => "PARTIAL",
            Self::Dropped => "DROPPED",
            Self::Rejected => "REJECTED",
            Self::Unresolved => "UNRESOLVED",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }
}

/// How sure a statement is. Ordered: `Possible < Likely < Proven`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Certainty {
    /// Would explain it; nothing speaks against it.
    Possible,
    /// Objects and programmed state agree on it.
    Likely,
    /// Direct, fresh kernel evidence of this flow.
    Proven,
}

impl Certainty {
    /// Lower case, as answers print it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Proven => "proven",
        }
    }
}

/// The strongest kind of evidence used. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Basis {
    /// Objects alone.
    Objects,
    /// What nodes were told to do.
    Programmed,
    /// What the kernel was seen doing.
    Observed,
}

impl Basis {
    /// Upper case, as the JSON answer prints it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Objects => "OBJECTS",
            Self::Programmed => "PROGRAMMED",
            Self::Observed => "OBSERVED",
        }
    }
}

/// What a finding does to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Stops it on every way.
    Stops,
    /// Stops it on some ways.
    Some,
    /// Breaks it after the handshake.
    Later,
    /// Changes nothing; worth knowing.
    Note,
}

/// What kind of evidence a reason rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EvidenceKind {
    /// An object from the API server or a file.
    Object,
    /// Programmed state: rules, routes.
    Rules,
    /// A socket table.
    Sockets,
    /// A drop the kernel made.
    Drop,
}

impl EvidenceKind {
    /// The strongest basis this kind can give.
    pub const fn basis(self) -> Basis {
        match self {
            Self::Object => Basis::Objects,
            Self::Rules | Self::Sockets => Basis::Programmed,
            Self::Drop => Basis::Observed,
        }
    }

    /// Upper case, as the JSON answer prints it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Object => "OBJECT",
            Self::Rules => "RULES",
            Self::Sockets => "SOCKETS",
            Self::Drop => "DROP",
        }
    }
}

/// One clause of a finding: a claim, and where and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The claim, as a clause with names.
    pub text: String,
    /// What kind of evidence shows it.
    pub evidence: EvidenceKind,
    /// Who saw it: `API`, a file path, a node name.
    pub source: String,
    /// When it was seen, if that is known.
    pub observed_at: Option<Timestamp>,
}

/// Something to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// The advice, imperative.
    pub text: String,
    /// A command to paste; empty if none fits.
    pub command: String,
}

/// How many of the Service's backends a finding touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affects {
    /// Touched.
    pub backends: u32,
    /// Of so many.
    pub of: u32,
}

/// A named cause with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Catalogue id: `S3`.
    pub id: String,
    /// Slug: `selector-matches-nothing`.
    pub cause: String,
    /// One sentence with this case's names.
    pub title: String,
    /// How sure.
    pub certainty: Certainty,
    /// What it does to the connection.
    pub effect: Effect,
    /// How the connection ends where this stops it; decides the verdict when the finding comes first.
    pub verdict: Verdict,
    /// Where.
    pub at: Place,
    /// Objects at fault, with the field to edit.
    pub objects: Vec<ObjectRef>,
    /// Why it is so; never empty.
    pub because: Vec<Reason>,
    /// What to do.
    pub fixes: Vec<Fix>,
    /// Backends touched; `None` where backends play no part.
    pub affects: Option<Affects>,
}

impl Finding {
    /// The strongest basis among the reasons.
    pub fn basis(&self) -> Basis {
        self.because.iter().map(|reason| reason.evidence.basis()).max().unwrap_or(Basis::Objects)
    }
}

/// How one hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HopState {
    /// Passed.
    Pass,
    /// Ended here.
    Stop,
    /// Not known.
    Unknown,
}

/// One hop of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Which stage.
    pub stage: Stage,
    /// On which node, if on one.
    pub node: Option<String>,
    /// How it ended.
    pub state: HopState,
    /// What happened, with names and addresses.
    pub detail: String,
    /// The deciding rule.
    pub rule: Option<RuleRef>,
}

/// One distinct way through the cluster, shared by the backends listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// Backends on this path, at most 20 named.
    pub backends: Vec<String>,
    /// How many backends take this path in all.
    pub backend_count: u32,
    /// Address family.
    pub family: Family,
    /// What becomes of a connection on this path.
    pub verdict: Verdict,
    /// The hops in order.
    pub hops: Vec<Hop>,
}

/// What one policy does in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PolicyEffect {
    /// One of its rules admits the packet.
    Allows,
    /// It denies by an explicit rule.
    Denies,
    /// It hands over to the next tier.
    Passes,
    /// No rule admits the peer.
    PeerMismatch,
    /// A rule admits the peer, but not the port.
    PortMismatch,
    /// It has no rules in this direction.
    NoRules,
}

/// One policy's part in a direction's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPart {
    /// `NetworkPolicy` …
    pub kind: String,
    /// `ns/name`; the name alone for cluster-scoped kinds.
    pub policy: String,
    /// What it does.
    pub effect: PolicyEffect,
    /// The deciding or nearest rule, counted from 1.
    pub rule: Option<u32>,
    /// What is missing for the nearest rule to admit, in words; empty if none is near.
    pub near_miss: String,
}

/// A policy verdict; three-valued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PolicyVerdict {
    /// Admitted.
    Allow,
    /// Not admitted.
    Deny,
    /// Cannot be told.
    Unknown,
}

/// The policy verdict of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionVerdict {
    /// Allowed or not.
    pub effect: PolicyVerdict,
    /// Whether any policy isolates the pod in this direction.
    pub isolated: bool,
    /// For a denial every policy that selects the pod; for an allowance those that admit.
    pub policies: Vec<PolicyPart>,
}

/// The policy verdict of both directions. With several backends: of the first denied one, else of the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// At the source pod.
    pub egress: DirectionVerdict,
    /// At the destination pod.
    pub ingress: DirectionVerdict,
    /// The destination pod spoken of, where there is one.
    pub destination: Option<Key>,
}

/// A cause that was looked at and is not it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// Catalogue id.
    pub id: String,
    /// Slug.
    pub cause: String,
    /// Why it is not it.
    pub why: String,
}

/// The question as understood, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedQuestion {
    /// SRC as understood: `pod web/client`.
    pub source: String,
    /// Its addresses.
    pub source_addresses: Vec<String>,
    /// DST as understood: `service shop/api`.
    pub destination: String,
    /// Its addresses.
    pub destination_addresses: Vec<String>,
    /// Port; 0 if not known.
    pub port: u16,
    /// Protocol in upper case.
    pub protocol: String,
    /// Seconds of history looked at.
    pub window_seconds: u32,
    /// What was decided while understanding.
    pub notes: Vec<String>,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The answer in one sentence, verdict word left out.
    pub summary: String,
    /// What becomes of the connection.
    pub verdict: Verdict,
    /// How sure.
    pub certainty: Certainty,
    /// On what strongest evidence.
    pub basis: Basis,
    /// The question as understood.
    pub question: AskedQuestion,
    /// Ranked; the first explains the verdict.
    pub findings: Vec<Finding>,
    /// One per distinct path.
    pub paths: Vec<Path>,
    /// The policy verdicts; `None` where neither end is a pod.
    pub policy: Option<PolicyAnswer>,
    /// What was looked at and is not it.
    pub ruled_out: Vec<RuledOut>,
    /// What was not looked at.
    pub not_checked: Vec<Gap>,
    /// The moment the answer speaks about.
    pub now: Timestamp,
}
