//! Where ways end, and what can be said when it cannot be told which of two was taken.
//!
//! Two ways that come to the same are one; where they differ the outcome is unknown and the gap says which rule it was.

use std::net::{IpAddr, SocketAddr};

use model::gap::Gap;
use model::walk::{Masquerade, Outcome};

use super::{RuleId, Trail};
use crate::packet::Device;

/// How a way ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// With this outcome.
    Outcome {
        outcome: Outcome,
        /// The rule or policy that decided.
        rule: Option<RuleId>,
        /// What the sender is told.
        told: Option<String>,
    },
    /// It met the way it parted from (by the number of the parting).
    Met(u32),
}

/// The end of one way.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) ending: Ending,
    pub(crate) destination: SocketAddr,
    pub(crate) masquerade: Masquerade,
    pub(crate) dnat: Option<RuleId>,
    pub(crate) output: Device,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) trail: Trail,
    pub(crate) gaps: Vec<Gap>,
}

impl End {
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.ending {
            Ending::Outcome { outcome, .. } => Some(outcome),
            Ending::Met(_) => None,
        }
    }

    /// Whether the packet got through.
    fn passes(&self) -> bool {
        matches!(self.outcome(), Some(Outcome::Forwarded | Outcome::Local))
    }

    /// Takes the certainty away.
    fn doubt(&mut self, gap: &Gap) {
        self.ending = Ending::Outcome { outcome: Outcome::Unknown, rule: None, told: None };
        self.note(gap);
    }

    fn note(&mut self, gap: &Gap) {
        if !self.gaps.contains(gap) {
            self.gaps.push(gap.clone());
        }
    }

    /// Whether both are the same result, how they came about aside.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.ending == other.ending
            && self.destination == other.destination
            && self.masquerade == other.masquerade
            && self.dnat == other.dnat
            && self.output == other.output
            && self.gateway == other.gateway
    }
}

/// Brings together the ends if a rule did not match with those if it did, where that cannot be told.
///
/// `id` numbers the parting: ends of `matched` that met the other way are the same as all of `unmatched`.
pub(crate) fn reconcile(unmatched: Vec<End>, matched: Vec<End>, id: u32, gap: &Gap) -> Vec<End> {
    let count = matched.len();
    let mut matched: Vec<End> = matched.into_iter().filter(|end| end.ending != Ending::Met(id)).collect();
    if matched.is_empty() {
        return unmatched;
    }
    if matched.len() < count {
        matched.extend(unmatched.iter().cloned());
    }
    let mut ends = unmatched;
    if ends.iter().chain(&matched).any(|end| matches!(end.ending, Ending::Met(_))) {
        // Some of them meet a way parted from earlier: what it comes to is settled there, with all of these in sight.
        for mut other in matched {
            other.note(gap);
            ends.push(other);
        }
        return ends;
    }
    for end in &mut ends {
        settle(end, &matched, gap);
    }
    let lost_only = matched.iter().all(|end| !end.passes());
    for mut other in matched {
        // A loss before the endpoint was chosen is no further destination; it already made the others doubtful.
        let known = ends.iter().any(|end| end.destination == other.destination);
        if !known && !lost_only {
            other.doubt(gap);
            ends.push(other);
        }
    }
    ends
}

/// What is left of an end when one of `others` may have happened instead.
fn settle(end: &mut End, others: &[End], gap: &Gap) {
    let Ending::Outcome { outcome, rule, told } = &end.ending else {
        return;
    };
    let (outcome, rule, told) = (*outcome, *rule, told.clone());
    let passes = end.passes();
    let alike =
        |other: &&End| other.outcome() == Some(outcome) && (!passes || other.destination == end.destination);
    let agreeing: Vec<&End> = others.iter().filter(alike).collect();
    // With losses every other way must be a loss of the same kind; a pass needs its like among the others, and no loss.
    let agreed = if passes {
        !agreeing.is_empty() && others.iter().all(End::passes)
    } else {
        agreeing.len() == others.len()
    };
    if !agreed {
        end.doubt(gap);
        for reason in others.iter().flat_map(|other| &other.gaps) {
            end.note(reason);
        }
        return;
    }
    let masquerade = agreeing.iter().all(|other| other.masquerade == end.masquerade);
    let decided = agreeing.iter().all(|other| matches!(&other.ending, Ending::Outcome { rule: theirs, told: words, .. } if *theirs == rule && *words == told));
    let leaves = agreeing.iter().all(|other| other.output == end.output && other.gateway == end.gateway);
    if !masquerade {
        end.masquerade = Masquerade::Maybe;
    }
    if !decided {
        let same_words = agreeing
            .iter()
            .all(|other| matches!(&other.ending, Ending::Outcome { told: words, .. } if *words == told));
        end.ending = Ending::Outcome { outcome, rule: None, told: told.filter(|_| same_words) };
    }
    if !leaves {
        end.output = Device::Unknown;
        end.gateway = None;
    }
    if !(masquerade && decided && leaves) {
        end.note(gap);
    }
}
