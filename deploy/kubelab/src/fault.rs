//! Faults: a small world is made in a running light cluster, shown to work, broken in one way, and shown not to work.
//!
//! Each fault is a value that says what it breaks, what a client sees of it, and which cause `why-dropped` should name.
//! How it breaks is a few calls of a [`Stage`], and each of these writes down how it is put back before it changes
//! anything. So no fault knows how it is undone, all of them can be, and that by another process and from any half-way
//! point. A new fault is one more value in the list of its group.
//!
//! A world is a namespace `fault-NAME`, usually with a client on the first node, a server on the second and a Service,
//! so faults of the reach [`Reach::World`] may be in force side by side. Those that change a whole node meet others there.
//!
//! Causes are ids of the catalogue (`docs/causes`), or will be when the product knows them. What a light cluster cannot
//! show is left out:
//!
//! * whatever takes a name service (wrong resolv.conf, ndots, its pods gone), kubelets (failing probes, nodes that are not
//!   ready) or a cloud; names are looked up as a name service would find them;
//! * a node port outside the range, which the API server refuses;
//! * a connection-tracking table that is full: its size cannot be set in a network namespace other than the first;
//! * IPVS and tunnels, which these kernels may lack, and drops by XDP or tc programs, which need a BPF toolchain;
//! * a bridge port without hairpin mode: pods send to Services by way of the bridge's own address, and what it sends
//!   back out is not forwarded from port to port, so it does without;
//! * two pods with one address, which a lab refuses to make.

pub mod command;
mod conntrack;
mod endpoints;
mod force;
mod journal;
mod kernel;
mod listener;
mod names;
mod policy;
mod probe;
mod proxy;
mod routes;
mod rules;
mod service;
mod stage;

use std::fmt::Write;

use anyhow::{Result, bail, ensure};

use crate::place::Place;
use crate::spec::{Enforcement, Kind, ProxyMode, Spec};

pub use force::{Injected, Undone, inject, undo};
pub use probe::{Destination, How, Probe, Seen, Source, Symptom};
pub use stage::{Scene, Stage, Tool};

/// How unlike a name may be that is taken for a slip.
const NEAR: f64 = 0.75;

/// One way to break a connection.
pub struct Fault {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it breaks, as a part of a sentence.
    pub breaks: &'static str,
    /// The id of the cause that should be named.
    pub cause: &'static str,
    /// The connection that shows it.
    pub probe: Probe,
    /// How that ends.
    pub symptom: Symptom,
    /// What else it touches.
    pub reach: Reach,
    /// What a cluster must have for it.
    pub needs: &'static [Need],
    /// Makes what is about to be broken.
    world: fn(&Stage<'_>) -> Result<()>,
    /// Breaks it.
    inject: fn(&mut Stage<'_>) -> Result<()>,
}

/// What a fault touches beside its own world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing.
    World,
    /// A node, or rules of it that others write as well: a policy engine that puts its own first lets pass what a rule
    /// made by hand behind them would drop.
    Node,
}

/// What a fault cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Client and server on nodes of their own.
    TwoNodes,
    /// Somebody who programs NetworkPolicies.
    Policies,
    /// kube-proxy in one of these modes.
    Modes(&'static [ProxyMode]),
}

impl Fault {
    /// A client, a server, a Service between them, and nothing wrong yet.
    const USUAL: Self = Self {
        name: "",
        breaks: "",
        cause: "",
        probe: Probe { from: Source::Pod("client"), to: Destination::Service("api", 80), how: How::Tcp },
        symptom: Symptom::Refused,
        reach: Reach::World,
        needs: &[],
        world: |stage| stage.usual(),
        inject: |_| Ok(()),
    };

    /// Why a cluster cannot show it, if it cannot.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        let name = self.name;
        ensure!(
            spec.kind == Kind::Light,
            "faults are made in light clusters, and `{}` is none: `cargo xtask cluster up --light`",
            spec.name
        );
        for need in self.needs {
            match need {
                Need::TwoNodes => ensure!(spec.nodes > 1, "fault `{name}` needs two nodes"),
                Need::Policies => ensure!(
                    spec.policies != Enforcement::None,
                    "fault `{name}` needs policies to be enforced: `cargo xtask cluster up --policies kube-router`"
                ),
                Need::Modes(modes) => {
                    let names: Vec<String> = modes.iter().map(|mode| mode.word()).collect();
                    ensure!(
                        modes.contains(&spec.mode),
                        "fault `{name}` needs kube-proxy in mode {}, and this cluster has it in mode {}",
                        names.join(" or "),
                        spec.mode.word()
                    );
                }
            }
        }
        Ok(())
    }

    /// The question that it makes: who, and to what.
    pub fn question(&self, scene: &Scene) -> (String, String) {
        (self.probe.source(scene), self.probe.destination(scene))
    }
}

/// All faults, by group.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    let groups = [
        names::FAULTS,
        service::FAULTS,
        endpoints::FAULTS,
        listener::FAULTS,
        policy::FAULTS,
        proxy::FAULTS,
        rules::FAULTS,
        routes::FAULTS,
        conntrack::FAULTS,
        kernel::FAULTS,
    ];
    groups.into_iter().flatten()
}

/// The fault of this name; the error names those that are near.
pub fn find(name: &str) -> Result<&'static Fault> {
    if let Some(fault) = all().find(|fault| fault.name == name) {
        return Ok(fault);
    }
    let mut near: Vec<(f64, &str)> = all()
        .map(|fault| (strsim::jaro_winkler(fault.name, name), fault.name))
        .chain(all().filter(|fault| fault.name.contains(name)).map(|fault| (1.0, fault.name)))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut names: Vec<String> = near.iter().map(|(_, name)| format!("`{name}`")).collect();
    names.dedup();
    names.truncate(4);
    let mut message = format!("there is no fault `{name}`");
    if !names.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(message, "; near are {}", names.join(", "));
    }
    bail!("{message}; `cargo xtask cluster fault --list` tells all");
}

/// The names of the faults that have been begun in a cluster and not undone.
pub fn begun(place: &Place) -> Vec<String> {
    journal::Journal::all(place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_causes_are_well_formed_and_names_are_unique() {
        let mut seen = BTreeSet::new();
        for fault in all() {
            let Fault { name, breaks, cause, .. } = *fault;
            assert!(seen.insert(name), "`{name}` is there twice");
            let allowed = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(!name.is_empty() && name.chars().all(allowed), "`{name}`");
            // `fault-NAME-other` is the name of a namespace and a part of that of a network namespace's file.
            assert!(name.len() <= 40, "`{name}` is too long");
            assert!(!breaks.is_empty() && !breaks.ends_with('.'), "`{name}`: {breaks}");
            let (letter, number) = cause.split_at(1);
            assert!("DSENKCPHI".contains(letter) && number.parse::<u8>().is_ok(), "`{name}`: {cause}");
        }
        assert!(seen.len() >= 25, "{} faults", seen.len());
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are_near() {
        assert_eq!(find("target-port").map(|fault| fault.cause).ok(), Some("S5"));
        let told = |name| find(name).map(|fault| fault.name).expect_err("refused").to_string();
        assert!(told("targetport").contains("near are `target-port`"), "{}", told("targetport"));
        assert!(told("proxy").contains("`proxy-paused`"), "{}", told("proxy"));
        assert_eq!(told("zzz"), "there is no fault `zzz`; `cargo xtask cluster fault --list` tells all");
    }
}
