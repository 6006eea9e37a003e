//! What happened on a way, by position: rules are named by where they stand until somebody reads the answer.
//!
//! Their texts and owners are the business of `report`.

use std::rc::Rc;

use model::walk::Action;

use crate::ir::{ChainId, SetId};

/// A rule, or a chain's policy, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleId {
    /// Index of the rule set.
    pub(crate) set: usize,
    /// Index of its table.
    pub(crate) table: usize,
    /// Chain in it.
    pub(crate) chain: ChainId,
    /// Index of the rule; `None` for the policy.
    pub(crate) rule: Option<usize>,
    /// The element of a map that said what to do.
    pub(crate) element: Option<(SetId, u32)>,
}

/// Something that happened, by position.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) hook: &'static str,
    pub(crate) rule: Option<RuleId>,
    pub(crate) action: Action,
    /// Whether it is why a rule did not match: worth telling where the packet gets lost.
    pub(crate) missed: bool,
}

/// What happened so far, newest first; ways that part share what they had in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Option<Rc<Link>>);

#[derive(Debug)]
struct Link {
    event: Event,
    before: Trail,
}

impl Trail {
    pub(super) fn push(&mut self, event: Event) {
        let before = self.clone();
        self.0 = Some(Rc::new(Link { event, before }));
    }

    /// All events, oldest first.
    pub(crate) fn events(&self) -> Vec<&Event> {
        let mut events = Vec::new();
        let mut at = self;
        while let Some(link) = &at.0 {
            events.push(&link.event);
            at = &link.before;
        }
        events.reverse();
        events
    }
}
