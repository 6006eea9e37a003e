//! Everything known about one question at one moment. Frozen: diagnosis reads it and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::evidence::{DropRecord, NodeReport};
use crate::gap::Gap;
use crate::objects::{Key, ObjectSet};
use crate::probe::{ListenerReport, Probe, ProbeOutcome};
use crate::question::Question;
use crate::time::Timestamp;

/// A probe with what it brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was asked.
    pub probe: Probe,
    /// When the answer came.
    pub at: Timestamp,
    /// What came.
    pub outcome: ProbeOutcome,
}

/// One question and all evidence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The moment the case speaks about; ages are counted from here.
    pub now: Timestamp,
    /// The question, names resolved.
    pub question: Question,
    /// The objects as they were at `now`.
    pub objects: Arc<ObjectSet>,
    /// Agents known, by node name. Empty when there is no collector.
    pub nodes: BTreeMap<String, NodeReport>,
    /// Whether nodes can be asked at all; false for objects alone.
    pub live: bool,
    /// What the probes brought so far.
    pub answers: Vec<Answer>,
    /// Drop records that may concern the question, from its time window.
    pub drops: Vec<DropRecord>,
    /// What could not be had at all.
    pub gaps: Vec<Gap>,
}

impl Case {
    /// The answer to exactly this probe.
    pub fn answer(&self, probe: &Probe) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.probe == *probe)
    }

    /// The listeners of a pod, if they were read.
    pub fn listeners(&self, pod: &Key) -> Option<&ListenerReport> {
        self.answers.iter().find_map(|answer| match (&answer.probe, &answer.outcome) {
            (Probe::Listeners { pod: target, .. }, ProbeOutcome::Listeners(report)) if target.key == *pod => {
                Some(report)
            }
            _ => None,
        })
    }

    /// Whether a node's agent is connected.
    pub fn connected(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|report| report.connected)
    }
}
