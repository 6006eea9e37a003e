//! What the NetworkPolicies say about each way, and whether the node that would enforce them does.
//!
//! The evaluation is the `policy` crate's; which policy is at fault, the causes say.

use ::policy::{
    Connection, DecidedBy, Detailed, DetailedDirection, DetailedPolicy, Doubt, End, Outcome, PolicyIndex,
};
use model::explanation::{PolicyAnswer, PolicyVerdict};
use model::question::Source;
use model::{Gap, Key, ServiceProxy, Walk};

use super::owners::{is_policy_engine, stands_for_another};
use super::{Facts, Named, State, Stop};

/// A direction of policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of the source pod.
    Egress,
    /// Into the destination pod.
    Ingress,
}

impl Direction {
    /// `egress`, `ingress`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

/// What the node that would enforce a denial does with the packet.
#[derive(Clone, Debug)]
pub enum Enforced<'a> {
    /// A policy engine's rule stops it.
    Stopped(Stop<'a>),
    /// All rules there let it pass.
    Passes {
        /// The node.
        node: &'a str,
        /// The walk.
        walk: &'a Walk,
    },
    /// It cannot be told.
    Unknown(Gap),
}

impl<'a> Facts<'a> {
    /// What the policies say about a way, by index; evaluated when first asked for.
    pub fn policy(&self, way: usize) -> Option<&Detailed> {
        self.policies.get_or_init(|| self.evaluate()).get(way)
    }

    /// One direction of it.
    pub fn direction(&self, way: usize, direction: Direction) -> Option<&DetailedDirection> {
        let detailed = self.policy(way)?;
        Some(match direction {
            Direction::Egress => &detailed.egress,
            Direction::Ingress => &detailed.ingress,
        })
    }

    /// Ways that a direction's policies deny, by index. Where nothing is live, those of intent. Policies that are not
    /// evaluated may say otherwise; see [`open_to_others`].
    pub fn denied(&self, direction: Direction) -> Vec<usize> {
        self.live_ways()
            .map(|(index, _)| index)
            .filter(|way| {
                self.direction(*way, direction).is_some_and(|found| found.evaluated == PolicyVerdict::Deny)
            })
            .collect()
    }

    /// The policies that deny a way: those that isolate, or the cluster-wide ones whose rule does.
    pub fn denying(&self, way: usize, direction: Direction) -> Vec<&DetailedPolicy> {
        let Some(found) = self.direction(way, direction) else { return Vec::new() };
        match found.decided_by {
            DecidedBy::NetworkPolicies => found.policies.iter().collect(),
            DecidedBy::Tier(_) => {
                let denies =
                    |part: &&DetailedPolicy| part.asked && matches!(part.outcome, Outcome::Denies(_));
                found.cluster.iter().filter(denies).collect()
            }
            DecidedBy::Nothing | DecidedBy::Exemption | DecidedBy::Unsure => Vec::new(),
        }
    }

    /// The policy part of the answer: the first way that is denied, else the first.
    pub fn policy_answer(&self) -> Option<PolicyAnswer> {
        if self.source.pod.is_none() && self.ways.iter().all(|way| way.pod.is_none()) {
            return None;
        }
        let all = || (0..self.ways.len()).filter_map(|way| self.policy(way));
        all()
            .find(|found| found.verdict() == PolicyVerdict::Deny)
            .or_else(|| all().next())
            .map(Detailed::answer)
    }

    /// What the node that would enforce a denial does.
    pub fn enforced(&self, index: usize, direction: Direction) -> Enforced<'a> {
        let way = &self.ways[index];
        let governed = match direction {
            Direction::Egress => self.source.pod,
            Direction::Ingress => way.pod,
        }
        .map(model::objects::Pod::key);
        let here = way.same_node || direction == Direction::Egress;
        let (node, walk, state) = if here {
            (self.source.node, &self.attempt(way).walk, way.at_source(self.attempt(way)))
        } else {
            (way.node, &way.arrival, way.at_arrival())
        };
        let (Some(node), Ok(walk)) = (node, walk) else {
            let gap = walk.as_ref().err().cloned();
            return Enforced::Unknown(
                gap.unwrap_or_else(|| Gap::new("the enforcing node", "it is not known")),
            );
        };
        match state {
            State::Unknown(gap) => Enforced::Unknown(gap),
            State::Pass if walk.proxy.mode == ServiceProxy::Other => Enforced::Unknown(Gap::new(
                format!("whether {node} enforces policies"),
                "another data plane than netfilter serves it",
            )),
            State::Pass => Enforced::Passes { node, walk },
            State::Stop(_) => {
                let stop = self.stops().into_iter().find(|stop| stop.way == Some(index) && stop.node == node);
                match stop {
                    Some(stop)
                        if stop.rule().is_some_and(|rule| {
                            is_policy_engine(rule) && !stands_for_another(rule, governed)
                        }) =>
                    {
                        Enforced::Stopped(stop)
                    }
                    _ => Enforced::Unknown(Gap::new(
                        format!("whether {node} enforces policies"),
                        "another rule ends the packet before",
                    )),
                }
            }
        }
    }

    /// Names of the NetworkPolicies that isolate a way's pod in a direction.
    pub fn isolating(&self, way: usize, direction: Direction) -> Vec<Key> {
        let found = self.direction(way, direction);
        found.map(|found| found.policies.iter().map(|part| part.policy.clone()).collect()).unwrap_or_default()
    }

    fn evaluate(&self) -> Vec<Detailed> {
        let index = PolicyIndex::new(&self.case.objects);
        let src = match &self.case.question.source {
            Source::Pod(key) => End::Pod(key.clone()),
            Source::Node(name) => End::Node { name: name.clone() },
            Source::External { address, .. } => End::Address(*address),
            Source::Any { namespace } => End::Unlabelled { namespace: namespace.clone() },
        };
        self.ways
            .iter()
            .map(|way| {
                let dst = match way.pod {
                    Some(pod) => End::Pod(pod.key().clone()),
                    None => End::Address(way.destination.ip()),
                };
                let connection = Connection {
                    src: src.clone(),
                    dst,
                    port: way.destination.port(),
                    protocol: self.case.question.protocol,
                    by_service: self.target.service().is_some_and(Named::translated),
                };
                ::policy::evaluate_detailed(&index, &connection)
            })
            .collect()
    }
}

/// Whether policies of kinds that are not evaluated could make a direction's verdict another.
pub fn open_to_others(found: &DetailedDirection) -> bool {
    found.doubts.iter().any(|doubt| matches!(doubt, Doubt::NotEvaluated { .. }))
}
