//! The attempts a connection may make and the ways each may go, with what is known along them.
//!
//! Walks are taken as they are; why a rule stops a packet is for the causes to say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::objects::Pod;
use model::probe::ListenerReport;
use model::walk::Branch;
use model::{Case, Family, Gap, Outcome, Probe, ProbeOutcome, Protocol, Walk};

use super::intended::Intended;
use super::listening::{Listening, listening};
use super::source::SourceFacts;
use super::target::Target;
use super::{absent, asks, blind};

/// One pair of addresses the client may use.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Address family.
    pub family: Family,
    /// The client's address; `None` for an imagined client.
    pub src: Option<IpAddr>,
    /// What it connects to, before any translation.
    pub dst: SocketAddr,
    /// Whether a Service's rules have to translate the destination.
    pub translated: bool,
    /// What the source's node does to the packet.
    pub walk: Result<&'a Walk, Gap>,
    /// Why those rules leave open what becomes of a Service's address, if they do.
    pub blind: Option<Gap>,
    /// What the source pod's own rules do; `None` where the source has no namespace of its own.
    pub pod_walk: Option<Result<&'a Walk, Gap>>,
}

/// What happens at one place on a way.
#[derive(Clone, Debug)]
pub enum State<'a> {
    /// It goes on.
    Pass,
    /// It ends here.
    Stop(&'a Branch),
    /// It cannot be told.
    Unknown(Gap),
}

impl<'a> State<'a> {
    /// The branch that stops, if it stops.
    pub const fn stop(&self) -> Option<&'a Branch> {
        match self {
            Self::Stop(branch) => Some(branch),
            Self::Pass | Self::Unknown(_) => None,
        }
    }

    /// Whether it surely goes on.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Pass)
    }
}

impl<'a> Attempt<'a> {
    /// What becomes of the packet that no rule sent on to an endpoint although it should have been: rejected for want
    /// of endpoints, dropped before, or routed as it is. `None` if it was translated or nothing is known.
    pub fn direct(&self) -> Option<&'a Branch> {
        if !self.translated || self.blind.is_some() {
            return None;
        }
        let walk = self.walk.as_ref().ok()?;
        walk.branches
            .iter()
            .find(|branch| branch.destination == self.dst && branch.outcome != Outcome::Unknown)
    }

    /// What the source pod's own rules do.
    pub fn inside(&self) -> State<'a> {
        match &self.pod_walk {
            None => State::Pass,
            Some(Err(gap)) => State::Unknown(gap.clone()),
            Some(Ok(walk)) => state(walk, walk.branches.first()),
        }
    }
}

/// One way an attempt may go: to one endpoint.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// The attempt, by index.
    pub attempt: usize,
    /// Where the packet arrives, after translation.
    pub destination: SocketAddr,
    /// The intended endpoint, by index into [`super::Facts::intended`]; `None` where only the rules know it.
    pub intended: Option<usize>,
    /// The pod that owns the address.
    pub pod: Option<&'a Pod>,
    /// That pod's node, or the node connected to.
    pub node: Option<&'a str>,
    /// The branch of the source node's walk that goes here.
    pub branch: Option<&'a Branch>,
    /// Whether a packet may really go here: the source node's rules say so, or nothing is known of them.
    pub live: bool,
    /// Whether source and destination share a node, so that one walk covers both.
    pub same_node: bool,
    /// What the destination's node does to the packet.
    pub arrival: Result<&'a Walk, Gap>,
    /// Who listens in the pod.
    pub listeners: Result<&'a ListenerReport, Gap>,
    /// The protocol asked about.
    pub protocol: Protocol,
}

impl<'a> Way<'a> {
    /// As answers call it: `shop/api-7c9`, or the address where no pod owns it.
    pub fn name(&self) -> String {
        self.pod.map_or_else(|| self.destination.ip().to_string(), |pod| pod.key().to_string())
    }

    /// What happens on the source's node.
    pub fn at_source(&self, attempt: &Attempt<'a>) -> State<'a> {
        match (&attempt.walk, &attempt.blind) {
            (Err(gap), _) | (Ok(_), Some(gap)) => State::Unknown(gap.clone()),
            (Ok(walk), None) => state(walk, self.branch),
        }
    }

    /// What happens on the destination's node.
    pub fn at_arrival(&self) -> State<'a> {
        if self.same_node {
            return State::Pass;
        }
        match &self.arrival {
            Err(gap) => State::Unknown(gap.clone()),
            Ok(walk) => state(walk, walk.branches.first()),
        }
    }

    /// Who listens at the end.
    pub fn listening(&self) -> Listening<'a> {
        listening(&self.listeners, self.protocol, self.destination)
    }
}

fn state<'a>(walk: &'a Walk, branch: Option<&'a Branch>) -> State<'a> {
    let unknown = || {
        let gaps = branch.map_or(walk.gaps.as_slice(), |branch| branch.gaps.as_slice());
        State::Unknown(
            gaps.first()
                .or_else(|| walk.gaps.iter().find(|gap| gap.what.contains("rules")))
                .or(walk.gaps.first())
                .cloned()
                .unwrap_or_else(|| Gap::new("the rules", "what they do to this packet cannot be told")),
        )
    };
    match branch {
        None => unknown(),
        Some(branch) => match branch.outcome {
            Outcome::Forwarded | Outcome::Local => State::Pass,
            Outcome::Dropped | Outcome::Rejected => State::Stop(branch),
            Outcome::Unknown => unknown(),
        },
    }
}

/// The attempts: every pair of addresses of one family.
pub(super) fn attempts<'a>(
    case: &'a Case,
    source: &SourceFacts<'a>,
    target: &Target<'a>,
    intended: &[Intended],
) -> Vec<Attempt<'a>> {
    let Some(port) = case.question.port_number() else {
        return Vec::new();
    };
    let (translated, addresses) = match target {
        Target::Service(named) if named.service.headless => {
            // A headless name resolves to the endpoints themselves, and the port is dialled as it was asked.
            (false, intended.iter().filter(|backend| backend.used).map(|backend| backend.at.ip()).collect())
        }
        Target::Service(named)
            if named.translated() && named.service.cluster_ips.is_empty() && !case.live =>
        {
            // A manifest: the address is given when it is applied.
            (true, vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)])
        }
        Target::Service(_) => (true, target.addresses()),
        _ => (false, target.addresses()),
    };
    let mut attempts = Vec::new();
    for address in addresses {
        let family = Family::of(address);
        let dst = SocketAddr::new(address, port);
        if source.addresses.is_empty() {
            let walk = Err(absent::why(case, source.node, "rules"));
            attempts.push(Attempt { family, src: None, dst, translated, walk, blind: None, pod_walk: None });
            continue;
        }
        let Some(src) = source.addresses.iter().copied().find(|src| Family::of(*src) == family) else {
            continue;
        };
        let walk = looked_up(case, asks::source_walk(case, source, src, dst).as_ref(), source.node, "rules");
        let pod_walk = source.target().map(|pod| {
            let what = format!("rules inside {}", pod.key);
            looked_up(case, asks::pod_walk(case, source, src, dst).as_ref(), source.node, &what)
        });
        let blind = match (&walk, source.node) {
            (Ok(walk), Some(node)) if translated => blind::blind(node, walk, dst),
            _ => None,
        };
        attempts.push(Attempt { family, src: Some(src), dst, translated, walk, blind, pod_walk });
    }
    attempts
}

/// The ways of all attempts, those the rules go first, then those only intent knows.
pub(super) fn ways<'a>(
    case: &'a Case,
    source: &SourceFacts<'a>,
    target: &Target<'a>,
    attempts: &[Attempt<'a>],
    intended: &[Intended],
) -> Vec<Way<'a>> {
    let mut ways = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let make = |destination: SocketAddr, branch, live| {
            let found = intended.iter().position(|backend| backend.at.ip() == destination.ip());
            way(case, source, target, attempts, index, destination, branch, intended, found, live)
        };
        let branches: &[Branch] = attempt.walk.as_ref().map_or(&[], |walk| &walk.branches);
        if !attempt.translated {
            let branch = branches.iter().find(|branch| branch.destination == attempt.dst);
            ways.push(make(attempt.dst, branch, true));
            continue;
        }
        let translated: Vec<&Branch> =
            branches.iter().filter(|branch| branch.destination != attempt.dst).collect();
        let rules_decide = attempt.direct().is_some() || !translated.is_empty();
        for branch in &translated {
            ways.push(make(branch.destination, Some(*branch), true));
        }
        let only_intended = intended.iter().enumerate().filter(|(_, backend)| {
            backend.used
                && Family::of(backend.at.ip()) == attempt.family
                && !translated.iter().any(|branch| branch.destination == backend.at)
        });
        for (found, backend) in only_intended {
            let live = !rules_decide;
            ways.push(way(
                case,
                source,
                target,
                attempts,
                index,
                backend.at,
                None,
                intended,
                Some(found),
                live,
            ));
        }
    }
    ways
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename the arguments")]
fn way<'a>(
    case: &'a Case,
    source: &SourceFacts<'a>,
    target: &Target<'a>,
    attempts: &[Attempt<'a>],
    index: usize,
    destination: SocketAddr,
    branch: Option<&'a Branch>,
    intended: &[Intended],
    found: Option<usize>,
    live: bool,
) -> Way<'a> {
    let attempt = &attempts[index];
    let pod = match target {
        Target::Pod(pod) => Some(*pod),
        _ => found
            .and_then(|found| intended[found].pod.as_ref())
            .and_then(|key| case.objects.pods.get(key))
            .or_else(|| case.objects.pod_by_address(destination.ip())),
    };
    let node = match target {
        Target::Node(node) => Some(node.meta.key.name.as_str()),
        _ => pod.and_then(|pod| pod.node.as_deref()),
    };
    let same_node = node.is_some() && node == source.node;
    let arrival = match (node, attempt.src) {
        (Some(node), Some(src)) => {
            let probe = asks::arrival_walk(case, source, src, branch, node, destination);
            looked_up(case, Some(&probe), Some(node), "rules")
        }
        (Some(node), None) if case.live => {
            Err(Gap::new(format!("rules of {node}"), "an imagined client has no address to walk with"))
        }
        (Some(_), None) => Err(absent::why(case, node, "rules")),
        (None, _) if pod.is_some() => Err(absent::why(case, None, "rules of the destination's node")),
        (None, _) => Err(Gap::new(
            format!("the way to {}", destination.ip()),
            "no pod or node in the objects owns that address",
        )),
    };
    let listeners = match (pod, node) {
        (Some(pod), Some(node)) => {
            let what = format!("listeners of {}", pod.key());
            match case.answer(&asks::listeners(case, node, pod)).map(|answer| &answer.outcome) {
                Some(ProbeOutcome::Listeners(report)) => Ok(report),
                Some(ProbeOutcome::Failed(gap)) => Err(gap.clone()),
                Some(ProbeOutcome::Walk(_)) | None => Err(absent::why(case, Some(node), &what)),
            }
        }
        (Some(pod), None) => Err(absent::why(case, None, &format!("listeners of {}", pod.key()))),
        (None, _) if !case.live => Err(absent::why(case, None, &format!("who listens on {destination}"))),
        (None, _) => Err(Gap::new(format!("who listens on {destination}"), "only pods can be asked")),
    };
    Way {
        attempt: index,
        destination,
        intended: found,
        pod,
        node,
        branch,
        live,
        same_node,
        arrival,
        listeners,
        protocol: case.question.protocol,
    }
}

fn looked_up<'a>(
    case: &'a Case,
    probe: Option<&Probe>,
    node: Option<&str>,
    what: &str,
) -> Result<&'a Walk, Gap> {
    let answer = probe.and_then(|probe| case.answer(probe));
    match answer.map(|answer| &answer.outcome) {
        Some(ProbeOutcome::Walk(walk)) => Ok(walk),
        Some(ProbeOutcome::Failed(gap)) => Err(gap.clone()),
        Some(ProbeOutcome::Listeners(_)) | None => Err(absent::why(case, node, what)),
    }
}
