//! Where the source's node ends an attempt before any endpoint was chosen.
//!
//! Shared by the causes about Services without endpoints; which of them it is, they say.

use model::walk::Branch;
use model::{Outcome, Place, Stage, Timestamp, Verdict, Walk};

use super::drops::{Proof, RuleNow};
use super::{Facts, SeenDrop};

/// An attempt that the source's node stops, or sends on untranslated.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// The attempt, by index.
    pub attempt: usize,
    /// The node.
    pub node: &'a str,
    /// The walk through its rules.
    pub walk: &'a Walk,
    /// What becomes of the packet.
    pub branch: &'a Branch,
}

impl Refusal<'_> {
    /// How the connection ends.
    pub fn verdict(&self) -> Verdict {
        match self.branch.outcome {
            Outcome::Rejected => Verdict::Rejected,
            _ => Verdict::Dropped,
        }
    }

    /// `reject`, `drop`: what its rules do.
    pub fn verb(&self) -> &'static str {
        if self.verdict() == Verdict::Rejected { "reject" } else { "drop" }
    }

    /// Whether a rule ends it, rather than letting it leave as it came.
    pub fn stops(&self) -> bool {
        matches!(self.branch.outcome, Outcome::Rejected | Outcome::Dropped)
    }
}

impl<'a> Facts<'a> {
    /// What becomes of connections to a Service without endpoints, and where: the end of a sentence, as
    /// `so node-1 refuses every connection to it`.
    pub fn without_endpoint(&self) -> (Verdict, Place, String) {
        if self.target.service().is_some_and(|named| named.service.headless) {
            let text = "so its name leads to no address".to_owned();
            return (Verdict::Unresolved, Place::intent(Stage::Name), text);
        }
        if let Some(refusal) = self.refusal().filter(Refusal::stops) {
            let verb = if refusal.verdict() == Verdict::Rejected { "refuses" } else { "drops" };
            let text = format!("so {} {verb} every connection to it", refusal.node);
            return (refusal.verdict(), Place::node(refusal.node, Stage::SourceNode), text);
        }
        let text = "so every connection to it is refused".to_owned();
        (Verdict::Rejected, Place::intent(Stage::Endpoints), text)
    }

    /// The first attempt that is not translated by its node, if any.
    pub fn refusal(&self) -> Option<Refusal<'a>> {
        let node = self.source.node?;
        self.attempts.iter().enumerate().find_map(|(attempt, facts)| {
            let walk = *facts.walk.as_ref().ok()?;
            Some(Refusal { attempt, node, walk, branch: facts.direct()? })
        })
    }

    /// Whether the source's node sends the packet on to some endpoint.
    pub fn sent_on(&self) -> bool {
        self.ways.iter().any(|way| way.branch.is_some())
    }

    /// Drops of untranslated packets on the source's node.
    pub fn untranslated_drops(&self, node: &str) -> impl Iterator<Item = &SeenDrop<'a>> {
        self.drops.iter().filter(move |drop| drop.way.is_none() && drop.on_node(node))
    }

    /// Proof that the source's node refuses this attempt, newer than `changed`.
    pub fn prove_refusal(&self, refusal: &Refusal<'a>, changed: Timestamp) -> Option<Proof> {
        let drops = self.untranslated_drops(refusal.node);
        if refusal.stops() {
            let rule = RuleNow::Stops { branch: refusal.branch, since: refusal.walk.rules.unchanged_since };
            self.prove(drops.filter(|drop| drop.by_rule()), changed, rule)
        } else {
            self.prove(drops.filter(|drop| !drop.by_rule()), changed, RuleNow::NoRule)
        }
    }
}
