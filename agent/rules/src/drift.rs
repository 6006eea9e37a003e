//! Where a host's rules do something else with packets to Services than the objects want.
//!
//! Every wanted address is walked to, so that it does not matter how a proxy wrote its rules; what only the rules know is
//! taken from their lists of Services. Only the choice of endpoints is looked at: what other rules do to the packet
//! afterwards, source addresses and affinity are not.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::drift::{AddressKind, Difference, Drift, Intended};
use model::flow::{Family, Origin, Packet, Protocol};
use model::gap::Gap;
use model::walk::Outcome;

use crate::eval::{End, Ending};
use crate::host::Host;
use crate::owner;
use crate::report;

/// Sources that are no one's: addresses for documentation (RFC 5737, RFC 3849). Those of pods and nodes have rules of
/// their own.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 99));
const SOURCE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x99));

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What differs, in the order of what is wanted, then what is left over.
    pub drifts: Vec<Drift>,
    /// How many addresses were compared.
    pub compared: u32,
    /// What could not be.
    pub gaps: Vec<Gap>,
}

/// What the rules do with packets to one address.
enum Served {
    /// They are sent to these.
    To(BTreeSet<SocketAddr>),
    /// A proxy refuses or drops them.
    Stopped,
    /// No rule translates them.
    Unknown,
    /// It cannot be told.
    Doubt(Gap),
}

impl Host {
    /// Compares what is wanted with what the rules do; `own` are the host's addresses, for node ports.
    pub fn drift(&self, wanted: &[Intended], own: &[IpAddr]) -> Comparison {
        let mut done = Comparison::default();
        for one in wanted {
            self.compare(one, own, &mut done);
        }
        self.left_over(wanted, &mut done);
        done
    }

    fn compare(&self, one: &Intended, own: &[IpAddr], done: &mut Comparison) {
        let served = match one.kind {
            AddressKind::NodePort => self.at_node_port(one, own),
            AddressKind::ClusterIp => self.served(one.at, one.protocol, Origin::Pod),
            AddressKind::ExternalIp | AddressKind::LoadBalancer => {
                self.served(one.at, one.protocol, Origin::External)
            }
        };
        let difference = match served {
            Served::Doubt(gap) => {
                if !done.gaps.contains(&gap) {
                    done.gaps.push(gap);
                }
                return;
            }
            // Nobody outside the source ranges gets to a load balancer's address, and the source asked with is in none.
            Served::Stopped if one.kind == AddressKind::LoadBalancer => None,
            Served::Stopped => (!one.sends_to.is_empty()).then_some(Difference::Stopped),
            Served::Unknown => one.required.then_some(Difference::Missing),
            Served::To(found) => endpoints(one, &found),
        };
        done.compared += 1;
        done.drifts.extend(difference.map(|difference| Drift {
            service: name(one),
            kind: Some(one.kind),
            at: one.at,
            protocol: one.protocol,
            difference,
        }));
    }

    /// A proxy may serve node ports on some of the host's addresses only (`--nodeport-addresses`).
    fn at_node_port(&self, one: &Intended, own: &[IpAddr]) -> Served {
        let family = Family::of(one.at.ip());
        let mut asked = false;
        for address in own.iter().filter(|address| Family::of(**address) == family && !address.is_loopback())
        {
            asked = true;
            let at = SocketAddr::new(*address, one.at.port());
            match self.served(at, one.protocol, Origin::External) {
                Served::Unknown => {}
                served => return served,
            }
        }
        if asked {
            Served::Unknown
        } else {
            Served::Doubt(Gap::new("node ports", format!("no {family} address of this node is known")))
        }
    }

    fn served(&self, at: SocketAddr, protocol: Protocol, origin: Origin) -> Served {
        let src = if at.is_ipv4() { SOURCE } else { SOURCE6 };
        let packet = Packet { origin, in_interface: None, protocol, src, src_port: None, dst: at };
        let ends = self.ends(&packet);
        let to: BTreeSet<SocketAddr> =
            ends.iter().filter(|end| end.dnat.is_some()).map(|end| end.destination).collect();
        if !to.is_empty() {
            return Served::To(to);
        }
        if ends.iter().any(|end| self.stopped_by_proxy(end)) {
            return Served::Stopped;
        }
        let doubt = ends.iter().find(|end| outcome(end) == Outcome::Unknown);
        match doubt.and_then(|end| end.gaps.first()) {
            Some(gap) => Served::Doubt(gap.clone()),
            None => Served::Unknown,
        }
    }

    fn stopped_by_proxy(&self, end: &End) -> bool {
        let branch = report::branch(self.rule_sets(), end);
        let stops = matches!(branch.outcome, Outcome::Dropped | Outcome::Rejected);
        let rule = branch.terminal_rule.filter(|rule| rule.owner == owner::KUBE_PROXY);
        // A proxy drops what is sent to addresses of no Service as well; that is not knowing it.
        stops && rule.is_some_and(|rule| !rule.object.is_empty() || rule.chain.contains("reject-chain"))
    }

    fn left_over(&self, wanted: &[Intended], done: &mut Comparison) {
        let known: HashSet<(SocketAddr, Protocol)> =
            wanted.iter().map(|one| (one.at, one.protocol)).collect();
        let listed: BTreeSet<(SocketAddr, Protocol)> = self.proxy.listed().collect();
        for (at, protocol) in listed.into_iter().filter(|listed| !known.contains(listed)) {
            let service = if at.ip().is_unspecified() { String::new() } else { self.named(at, protocol) };
            let (kind, difference) = (None, Difference::LeftOver);
            done.drifts.push(Drift { service, kind, at, protocol, difference });
        }
    }

    /// The Service that the rules name for an address.
    fn named(&self, at: SocketAddr, protocol: Protocol) -> String {
        let src = if at.is_ipv4() { SOURCE } else { SOURCE6 };
        let packet =
            Packet { origin: Origin::External, in_interface: None, protocol, src, src_port: None, dst: at };
        let ends = self.ends(&packet);
        let branches = ends.iter().map(|end| report::branch(self.rule_sets(), end));
        let mut objects =
            branches.filter_map(|branch| branch.dnat_rule.or(branch.terminal_rule)).map(|rule| rule.object);
        let object = objects.find(|object| !object.is_empty()).unwrap_or_default();
        object.strip_prefix("service ").map(str::to_owned).unwrap_or(object)
    }
}

fn endpoints(one: &Intended, found: &BTreeSet<SocketAddr>) -> Option<Difference> {
    let surplus: Vec<SocketAddr> = found.difference(&one.sends_to).copied().collect();
    let missing: Vec<SocketAddr> = one.sends_to.difference(found).copied().collect();
    let excused = one.some_suffice && surplus.is_empty() && missing.len() < one.sends_to.len();
    let same = (missing.is_empty() || excused) && surplus.is_empty();
    (!same).then_some(Difference::Endpoints { missing, surplus })
}

fn name(one: &Intended) -> String {
    if one.port.is_empty() { one.service.to_string() } else { format!("{}:{}", one.service, one.port) }
}

const fn outcome(end: &End) -> Outcome {
    match &end.ending {
        Ending::Outcome { outcome, .. } => *outcome,
        Ending::Met(_) => Outcome::Unknown,
    }
}
