//! What is asked of the kernel's sets about a packet, and what they answer.
//!
//! Which members a set has is `ipset`'s business.

use crate::ipset::{Asked, Held, Sets};
use crate::ir::{InSet, RuleSet};
use crate::network::Tri;
use crate::packet::Passing;

/// Whether a set holds the packet, negation aside.
pub(super) fn holds(rules: &RuleSet, wanted: InSet, packet: &Passing, ipsets: &Sets) -> Tri {
    match ipsets.holds(rules.text(wanted.name), &asked(rules, wanted, packet)) {
        // How many packets the member has counted by the time this one comes is not known.
        Held::Yes if wanted.counted => Tri::Unknown,
        Held::Yes => Tri::Yes,
        Held::No => Tri::No,
        Held::Unknown(_) => Tri::Unknown,
    }
}

/// What a set answers in words: `set KUBE-DST-X has 10.244.1.5`.
pub(super) fn in_words(rules: &RuleSet, wanted: InSet, packet: &Passing, ipsets: &Sets) -> String {
    let name = rules.text(wanted.name);
    let asked = asked(rules, wanted, packet);
    let question = ipsets.question(name, &asked);
    match ipsets.holds(name, &asked) {
        Held::Yes if wanted.counted => {
            format!("set {name} has {question}; what its counters say is not known")
        }
        Held::Yes if wanted.excepted => format!("set {name} excepts {question}"),
        Held::Yes => format!("set {name} has {question}"),
        Held::No if wanted.excepted => format!("set {name} does not except {question}"),
        Held::No => format!("set {name} has no {question}"),
        Held::Unknown(doubt) => {
            format!("whether set {name} has {question} cannot be told: {}", ipsets.why(name, doubt))
        }
    }
}

fn asked<'a>(rules: &RuleSet, wanted: InSet, packet: &'a Passing) -> Asked<'a> {
    let InSet { dimensions, sources, excepted, .. } = wanted;
    Asked {
        family: rules.family,
        dimensions,
        sources,
        excepted,
        // What it becomes is chosen when it leaves.
        src: (!packet.masqueraded).then_some(packet.src),
        dst: packet.dst.ip(),
        src_port: packet.src_port.filter(|_| !packet.masqueraded),
        dst_port: packet.dst.port(),
        protocol: packet.protocol.number(),
        mark: packet.mark,
        input: &packet.input,
        output: &packet.output,
    }
}
