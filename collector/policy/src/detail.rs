//! A policy verdict with everything it rests on, so that causes can be told apart.
//!
//! The public answer (`PolicyAnswer`) is made from it and says less.

mod doubt;
mod miss;

use model::explanation::{PolicyAnswer, PolicyVerdict};
use model::objects::{ClusterPolicyKind, Key, Tier};

use crate::patch::Patch;

pub use doubt::{Doubt, Note};
pub use miss::{LabelMiss, ListedPort, NearMiss, RuleMiss};

/// The kinds of policies that are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// A NetworkPolicy of a namespace.
    NetworkPolicy,
    /// A cluster-wide policy.
    Cluster(ClusterPolicyKind),
}

impl PolicyKind {
    /// The kind as objects write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Cluster(kind) => kind.word(),
        }
    }
}

/// What one policy does in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This rule admits, counted from 1.
    Allows(u32),
    /// This rule denies, counted from 1.
    Denies(u32),
    /// This rule leaves it to the next tier, counted from 1.
    Passes(u32),
    /// It has no rules.
    NoRules,
    /// No rule admits the peer.
    PeerMismatch,
    /// A rule admits the peer, none of them the port.
    PortMismatch,
    /// Whether a rule admits cannot be told.
    Unknown,
}

/// One policy that selects the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedPolicy {
    /// Its kind.
    pub kind: PolicyKind,
    /// The policy.
    pub policy: Key,
    /// What it does.
    pub outcome: Outcome,
    /// The rule nearest to matching and what it lacks; none where one matches, or there is none.
    pub nearest: Option<RuleMiss>,
    /// Why it cannot be told.
    pub doubts: Vec<Doubt>,
    /// What the matching rule says, in words; only of cluster-wide policies.
    pub says: String,
    /// Whether it is asked at all: not behind one that decides before.
    pub asked: bool,
}

impl DetailedPolicy {
    /// The nearest rule, where none admits.
    pub const fn nearest(&self) -> Option<&RuleMiss> {
        self.nearest.as_ref()
    }
}

/// What a direction is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// No policy says anything about it.
    Nothing,
    /// It is outside of what policies can govern.
    Exemption,
    /// Cluster-wide policies of a tier.
    Tier(Tier),
    /// NetworkPolicies.
    NetworkPolicies,
    /// It cannot be told.
    Unsure,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetailedDirection {
    /// Allowed or not.
    pub effect: PolicyVerdict,
    /// Allowed or not by the policies that are evaluated, were there no others.
    pub evaluated: PolicyVerdict,
    /// What `evaluated` is decided by.
    pub decided_by: DecidedBy,
    /// Whether any NetworkPolicy isolates the pod in this direction.
    pub isolated: bool,
    /// Every NetworkPolicy that isolates the pod in this direction, by name.
    pub policies: Vec<DetailedPolicy>,
    /// Every cluster-wide policy that selects the pod and has rules for this direction, in the order they are asked.
    pub cluster: Vec<DetailedPolicy>,
    /// How many of those are asked before the NetworkPolicies.
    pub before: usize,
    /// Why the verdict is unknown; empty where it is not.
    pub doubts: Vec<Doubt>,
    /// What the verdict takes for granted.
    pub notes: Vec<Note>,
    /// The smallest change of a policy that would admit a connection that policies deny, if there is one.
    pub patch: Option<Patch>,
}

impl DetailedDirection {
    /// All evaluated policies that say something, in the order in which they are asked.
    pub fn all(&self) -> impl Iterator<Item = &DetailedPolicy> {
        let (admin, baseline) = self.cluster.split_at(self.before.min(self.cluster.len()));
        admin.iter().chain(&self.policies).chain(baseline)
    }
}

/// Both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detailed {
    /// At the source pod.
    pub egress: DetailedDirection,
    /// At the destination pod.
    pub ingress: DetailedDirection,
    /// The destination pod, where there is one.
    pub destination: Option<Key>,
}

impl Detailed {
    /// Both directions together: both must allow.
    pub const fn verdict(&self) -> PolicyVerdict {
        both(self.egress.effect, self.ingress.effect)
    }

    /// The public answer.
    pub fn answer(&self) -> PolicyAnswer {
        self.clone().into()
    }
}

/// A connection needs both directions: one denial is enough, and one unknown spoils an allowance.
pub(crate) const fn both(egress: PolicyVerdict, ingress: PolicyVerdict) -> PolicyVerdict {
    match (egress, ingress) {
        (PolicyVerdict::Deny, _) | (_, PolicyVerdict::Deny) => PolicyVerdict::Deny,
        (PolicyVerdict::Unknown, _) | (_, PolicyVerdict::Unknown) => PolicyVerdict::Unknown,
        (PolicyVerdict::Allow, PolicyVerdict::Allow) => PolicyVerdict::Allow,
    }
}
