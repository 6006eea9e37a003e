//! Which ways end in a pod where no socket takes the connection, and whether the Service or the pod is odd.
//!
//! Shared by the causes about listeners, so that they never blame the same way twice.

use std::collections::BTreeSet;

use super::Facts;
use super::listening::Listening;

/// Ways whose socket table shows that nothing listens on the port, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The pods listen elsewhere and no pod of the Service listens here: the Service's target port is odd.
    pub by_target_port: Vec<usize>,
    /// Other pods do listen here, or the pod listens nowhere, or it was asked for by its own name: the pod is odd.
    pub by_pod: Vec<usize>,
}

impl Facts<'_> {
    /// Sorts the live ways on which nothing listens.
    pub fn refused(&self) -> Refused {
        let mut refused = Refused::default();
        let service = self.target.service().is_some_and(|named| named.translated());
        let somebody = self.live_ways().any(|(_, way)| {
            matches!(
                way.listening(),
                Listening::Accepts(_) | Listening::LoopbackOnly(_) | Listening::OtherAddress(_)
            )
        });
        for (index, way) in self.live_ways() {
            if let Listening::Nothing { elsewhere } = way.listening() {
                if service && !somebody && !elsewhere.is_empty() {
                    refused.by_target_port.push(index);
                } else {
                    refused.by_pod.push(index);
                }
            }
        }
        refused
    }

    /// Ports that every one of these ways' pods listens on, ascending.
    pub fn common_ports(&self, ways: &[usize]) -> Vec<u16> {
        let mut sets = ways.iter().map(|way| match self.ways[*way].listening() {
            Listening::Nothing { elsewhere } => {
                elsewhere.iter().map(|listener| listener.local.port()).collect::<BTreeSet<u16>>()
            }
            _ => BTreeSet::new(),
        });
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |common, ports| common.intersection(&ports).copied().collect()).into_iter().collect()
    }

    /// The names of some ways' ends, each once, in order.
    pub fn names(&self, ways: &[usize]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        ways.iter().map(|way| self.ways[*way].name()).filter(|name| seen.insert(name.clone())).collect()
    }
}
