//! What the cluster-wide policies of one tier do with a connection (network-policy-api: `ClusterNetworkPolicySpec`,
//! `AdminNetworkPolicySpec`).
//!
//! The rules, in the order in which they bind:
//!
//! 1. tiers are asked in the order Admin, NetworkPolicies, Baseline;
//! 2. within a tier the policy with the lowest priority number comes first;
//! 3. within a policy the first rule that matches decides;
//! 4. Accept and Deny are final, in every tier;
//! 5. Pass leaves the tier: its remaining policies are skipped, the next tier is asked;
//! 6. policies of one tier and priority may be asked in any order: where they differ, nobody can tell;
//! 7. what no rule matches is left to the next tier. Nothing is denied for lack of a rule, and behind the last tier
//!    everything is allowed.
//!
//! Whether Baseline is asked at all is decided where the tiers are put together.

use model::objects::{Action, ClusterPolicy, ClusterRule, Tier};

use crate::detail::{Doubt, Note, Outcome, PolicyKind};
use crate::index::{Candidate, Selected, subject_unread};
use crate::matching::{Direction, Question, Truth};
use crate::rule::{AnyPeer, Rule};

/// What may come of a tier: some of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends(u8);

impl Ends {
    pub(crate) const ACCEPT: Self = Self(1);
    pub(crate) const DENY: Self = Self(2);
    pub(crate) const PASS: Self = Self(4);
    /// No rule matches.
    pub(crate) const NONE: Self = Self(8);
    const ANYTHING: Self = Self(15);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn may(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn one(self) -> bool {
        self.0.is_power_of_two()
    }

    const fn of(action: Action) -> Self {
        match action {
            Action::Accept => Self::ACCEPT,
            Action::Deny => Self::DENY,
            Action::Pass => Self::PASS,
        }
    }

    fn each(self) -> impl Iterator<Item = Self> {
        [Self::ACCEPT, Self::DENY, Self::PASS, Self::NONE].into_iter().filter(move |one| self.may(*one))
    }
}

/// What comes of a tier.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) ends: Ends,
    /// Why it is not one of them.
    pub(crate) doubts: Vec<Doubt>,
}

/// One policy's part.
pub(crate) struct Part<'a> {
    pub(crate) policy: &'a ClusterPolicy,
    pub(crate) outcome: Outcome,
    pub(crate) doubts: Vec<Doubt>,
    /// Whether no policy before it decides.
    pub(crate) asked: bool,
}

/// Who is told each policy's part, if anybody.
pub(crate) type Tell<'t, 'a> = Option<&'t mut dyn FnMut(Part<'a>)>;

/// Evaluates a tier. `tell` is given the part of every policy that has rules for the direction; without one, no more is
/// worked out than the verdict needs.
pub(crate) fn tier<'a>(
    question: &Question<'a, '_>,
    selected: &Selected<'a>,
    tier: Tier,
    tell: &mut Tell<'_, 'a>,
) -> Verdict {
    let newer = generation(question, selected.of(tier, false), tier, tell);
    let older = generation(question, selected.of(tier, true), tier, tell);
    let mut doubts = newer.doubts;
    doubts.extend(older.doubts);
    // Which of the two is asked first is not defined; where one says nothing, that is no matter.
    let mut ends = Ends::default();
    for one in newer.ends.each() {
        for other in older.ends.each() {
            ends = ends.with(match (one, other) {
                (Ends::NONE, any) | (any, Ends::NONE) => any,
                (one, other) => {
                    if one != other {
                        doubts.push(Doubt::BothApis { tier });
                    }
                    one.with(other)
                }
            });
        }
    }
    Verdict { ends, doubts }
}

/// The policies of one generation of the API, by priority.
fn generation<'a>(
    question: &Question<'a, '_>,
    candidates: impl Iterator<Item = Candidate<'a>>,
    tier: Tier,
    tell: &mut Tell<'_, 'a>,
) -> Verdict {
    let mut ends = Ends::NONE;
    let mut doubts = Vec::new();
    let mut candidates =
        candidates.filter(|candidate| speaks(candidate.policy, question.direction)).peekable();
    while let Some(first) = candidates.next() {
        let asked = ends.may(Ends::NONE);
        if !asked && tell.is_none() {
            break;
        }
        let priority = first.policy.priority;
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(candidate) = next {
            let found = matched(question, candidate);
            if asked {
                group.add(candidate.policy, &found);
            }
            if let Some(tell) = tell {
                let outcome = found.outcome(question, candidate.policy);
                tell(Part { policy: candidate.policy, outcome, doubts: found.doubts.clone(), asked });
            }
            if asked {
                doubts.extend(found.doubts);
            }
            next = candidates.next_if(|next| next.policy.priority == priority);
        }
        if asked {
            ends = ends.without(Ends::NONE).with(group.ends());
            doubts.extend(group.doubt(tier, priority));
        }
    }
    Verdict { ends, doubts }
}

/// Whether a policy says anything about a direction.
fn speaks(policy: &ClusterPolicy, direction: Direction) -> bool {
    !rules(policy, direction).is_empty() || direction_unread(policy, direction) || subject_unread(policy)
}

/// The rules of a cluster-wide policy in one direction.
pub(crate) fn rules(policy: &ClusterPolicy, direction: Direction) -> &[ClusterRule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

fn direction_unread(policy: &ClusterPolicy, direction: Direction) -> bool {
    let list = match direction {
        Direction::Ingress => "spec.ingress",
        Direction::Egress => "spec.egress",
    };
    policy.unread.iter().any(|field| field == list)
}

/// Policies of one priority: any of those that match may be the one that decides.
#[derive(Default)]
struct Group<'a> {
    any: Ends,
    all_may_leave: bool,
    started: bool,
    names: Vec<&'a str>,
}

impl<'a> Group<'a> {
    fn add(&mut self, policy: &'a ClusterPolicy, found: &Found) {
        self.all_may_leave = found.ends.may(Ends::NONE) && (self.all_may_leave || !self.started);
        self.started = true;
        let does = found.ends.without(Ends::NONE);
        if does != Ends::default() {
            self.any = self.any.with(does);
            self.names.push(policy.name());
        }
    }

    const fn ends(&self) -> Ends {
        if self.all_may_leave { self.any.with(Ends::NONE) } else { self.any }
    }

    fn doubt(&self, tier: Tier, priority: u16) -> Option<Doubt> {
        let differ = !self.any.one() && self.any != Ends::default() && self.names.len() > 1;
        let policies = || self.names.iter().map(|name| (*name).to_owned()).collect();
        differ.then(|| Doubt::SamePriority { tier, priority, policies: policies() })
    }
}

/// What one policy may do, and by which rule it surely does it.
struct Found {
    ends: Ends,
    rule: Option<u32>,
    doubts: Vec<Doubt>,
}

impl Found {
    fn outcome(&self, question: &Question<'_, '_>, policy: &ClusterPolicy) -> Outcome {
        match (self.ends, self.rule) {
            (Ends::ACCEPT, Some(rule)) => Outcome::Allows(rule),
            (Ends::DENY, Some(rule)) => Outcome::Denies(rule),
            (Ends::PASS, Some(rule)) => Outcome::Passes(rule),
            (Ends::NONE, _) => {
                let by_peer = |rule| question.peers(Rule::Cluster(rule)) == Truth::Yes;
                if nearest_of(rules(policy, question.direction)).any(|(_, rule)| by_peer(rule)) {
                    Outcome::PortMismatch
                } else {
                    Outcome::PeerMismatch
                }
            }
            _ => Outcome::Unknown,
        }
    }
}

/// The rules among which the one nearest to matching is looked for, with their numbers: those that let through, or, where
/// a policy has none, all.
pub(crate) fn nearest_of(rules: &[ClusterRule]) -> impl Iterator<Item = (u32, &ClusterRule)> {
    let some = rules.iter().any(|rule| rule.action == Action::Accept);
    (1..).zip(rules).filter(move |(_, rule)| !some || rule.action == Action::Accept)
}

/// The first rule that matches, and those before it that may.
fn matched(question: &Question<'_, '_>, candidate: Candidate<'_>) -> Found {
    let policy = candidate.policy;
    let unread = || Doubt::Unread {
        kind: PolicyKind::Cluster(policy.kind),
        policy: policy.meta.key.clone(),
        fields: policy.unread.clone(),
    };
    if subject_unread(policy) || direction_unread(policy, question.direction) {
        return Found { ends: Ends::ANYTHING, rule: None, doubts: vec![unread()] };
    }
    let mut found = Found { ends: Ends::default(), rule: None, doubts: Vec::new() };
    if !candidate.sure {
        let namespace = question.subject.namespace().unwrap_or_default().to_owned();
        found.ends = Ends::NONE;
        found.doubts.push(Doubt::NoSuchNamespace(namespace));
    }
    for (number, rule) in (1..).zip(rules(policy, question.direction)) {
        if rule.unread {
            found.ends = found.ends.with(Ends::ANYTHING.without(Ends::NONE));
            found.doubts.push(unread());
            continue;
        }
        match question.rule(Rule::Cluster(rule)) {
            Truth::No => {}
            Truth::Unknown(doubt) => {
                found.ends = found.ends.with(Ends::of(rule.action));
                found.doubts.push(doubt);
            }
            Truth::Yes => {
                found.ends = found.ends.with(Ends::of(rule.action));
                found.rule = Some(number);
                return found;
            }
        }
    }
    found.ends = found.ends.with(Ends::NONE);
    found
}

/// The names of a policy's rules that would match on the port and are taken not to be those of the pod asked about.
pub(crate) fn names_of_others(question: &Question<'_, '_>, policy: &ClusterPolicy) -> Option<Note> {
    let by_name = rules(policy, question.direction).iter().any(|rule| {
        let rule = Rule::Cluster(rule);
        rule.peers().any(|peer| matches!(peer, AnyPeer::Names(_)) && question.peer(peer) == Truth::No)
            && question.ports(rule) != Truth::No
    });
    by_name.then(|| Note::NamesOfOthers {
        kind: policy.kind,
        policy: policy.name().to_owned(),
        pod: question.peer.word(),
    })
}
