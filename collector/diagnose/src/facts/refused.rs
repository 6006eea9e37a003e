//! Which ways end in a pod where no socket takes the connection, and whether the Service or the pod is odd.
//!
//! Shared by the causes about listeners, so that they never blame the same way twice.

use std::collections::BTreeSet;

use super::Facts;
use super::drops::{Proof, RuleNow};
use super::listening::Listening;
use crate::words;

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
        let service = self.target.service().is_some_and(super::Named::translated);
        let somebody = self.live_ways().any(|(_, way)| {
            // A pod that declares the port says itself that it should listen there.
            let declares = way.pod.is_some_and(|pod| {
                let mut ports = pod.declared_ports();
                ports.any(|port| port.port == way.destination.port() && port.protocol == way.protocol)
            });
            let binds = matches!(
                way.listening(),
                Listening::Accepts(_) | Listening::LoopbackOnly(_) | Listening::OtherAddress(_)
            );
            declares || binds
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

    /// Proof that the pods at the end of these ways had no socket for the packet.
    pub fn prove_no_socket(&self, ways: &[usize]) -> Option<Proof> {
        let drops = self.drops.iter().filter(|drop| {
            drop.no_socket()
                && drop.way.is_some_and(|way| {
                    ways.contains(&way) && self.ways[way].pod.is_some_and(|pod| drop.in_pod(pod.key()))
                })
        });
        let changed = ways.iter().map(|way| self.way_changed(&self.ways[*way])).max().unwrap_or_default();
        self.prove(drops, changed, RuleNow::NoRule)
    }

    /// A sentence about some ends: by their names, or as a share of a Service's backends where not all are meant.
    pub fn some_backends(&self, names: &[String], rest: &str, one: &str, many: &str) -> String {
        let all: Vec<usize> = self.live_ways().map(|(index, _)| index).collect();
        let total = self.names(&all).len();
        let verb = if names.len() == 1 { one } else { many };
        match self.target.service() {
            Some(named) if names.len() < total => {
                format!("{} of {total} backends of {} {verb} {rest}", names.len(), named.name())
            }
            _ => format!("{} {verb} {rest}", words::list(names, 3)),
        }
    }
}
