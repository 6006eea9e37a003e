//! The process listens on the port, but not on the address the packet comes to: on the other IP family, or on one address.
//!
//! **What the user sees.** "Connection refused" at once over one family, while the other works; clients that try both hide it
//! behind a delay.
//!
//! **Proof.** The pod's socket table has the port bound, by no socket that takes this address, and its kernel dropped first
//! packets for want of a socket (`NO_SOCKET`) after Service and pod last changed.
//!
//! **Confused with.** Nothing listening at all (P1), or on loopback only (P2): the same on the wire.
//!
//! **References.** `net/ipv4/inet_hashtables.c`, `compute_score`; ipv6(7), `IPV6_V6ONLY`.

use model::explanation::EvidenceKind;
use model::{Family, ObjectRef, Place, Stage, Verdict};

use crate::facts::{Facts, Listening, Way};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "P3",
    slug: "one-family-only",
    title: "the process listens on another address or family only",
    stage: Stage::Destination,
    needs: &[EvidenceKind::Sockets, EvidenceKind::Drop],
    supersedes: &["H28"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.live_ways().next().is_none() {
        return Ruling::NotApplicable;
    }
    let mut unknown = None;
    let mut ways = Vec::new();
    for (index, way) in facts.live_ways() {
        match way.listening() {
            Listening::OtherAddress(_) => ways.push(index),
            Listening::Unknown(gap) => unknown = unknown.or(Some(gap)),
            _ => {}
        }
    }
    let Some(first) = ways.first().map(|way| &facts.ways[*way]) else {
        return match unknown {
            Some(gap) => Ruling::CannotTell(gap),
            None => Ruling::RuledOut("no pod binds the port to other addresses only".into()),
        };
    };
    let port = first.destination.port();
    let names = facts.names(&ways);
    let proof = facts.prove_no_socket(&ways);
    let at = first.pod.map_or(Place::intent(Stage::Destination), |pod| {
        Place::pod(pod.node.clone(), pod.key().clone(), Stage::Destination)
    });
    let mut reasons = ways.iter().filter_map(|index| {
        let way = &facts.ways[*index];
        let (Ok(report), Some(node), Listening::OtherAddress(listener)) =
            (&way.listeners, way.node, way.listening())
        else {
            return None;
        };
        let by = listener.process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
        let text =
            format!("{} has {port} bound to {}{by}, not to {}", way.name(), listener.local, way.destination);
        Some(facts.sockets(node, report, text))
    });
    let Some(reason) = reasons.next() else { return Ruling::NotApplicable };
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        Verdict::Rejected,
        at,
        facts.some_backends(&names, &format!("on {port}, but not on {}", family(first)), "listens", "listen"),
        reason,
    )
    .because_all(reasons.take(4))
    .on_ways(ways.iter().copied());
    for pod in ways.iter().filter_map(|way| facts.ways[*way].pod) {
        finding = finding.blame(ObjectRef::pod(pod.key(), "spec.containers"));
    }
    let every = if first.destination.is_ipv6() { "[::]" } else { "0.0.0.0" };
    let fix = format!("Let {} listen on {every}:{port} too", words::list(&names, 3));
    Ruling::Found(Box::new(finding.fix(fix, "")))
}

/// What the sockets leave out: the family, or this one address of it.
fn family(way: &Way<'_>) -> String {
    match way.listening() {
        Listening::OtherAddress(listener) if listener.local.is_ipv6() == way.destination.is_ipv6() => {
            way.destination.ip().to_string()
        }
        _ => Family::of(way.destination.ip()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Certainty;

    fn bound(sockets: &[&str]) -> Build {
        Build::shop().live().forwarded().arrives().listens("api-0", sockets)
    }

    #[test]
    fn found_by_the_socket_table() {
        let finding = found(&bound(&["10.244.2.99:8080"]).case(), rule);
        assert_eq!(finding.title, "shop/api-0 listens on 8080, but not on 10.244.2.10");
        assert_eq!(finding.certainty, Certainty::Likely);
        let other = found(&bound(&["[fd02::10]:8080"]).case(), rule);
        assert_eq!(other.title, "shop/api-0 listens on 8080, but not on IPv4");
    }

    #[test]
    fn proven_by_a_packet_without_a_socket() {
        let case = bound(&["[fd02::10]:8080"]).no_socket("api-0", 1, 2_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn ruled_out_where_it_is_bound_to_all() {
        assert!(ruled_out(&bound(&["0.0.0.0:8080"]).case(), rule).contains("no pod binds"));
    }

    #[test]
    fn cannot_tell_without_the_socket_table() {
        let case = Build::shop().live().forwarded().arrives().case();
        assert_eq!(cannot_tell(&case, rule).what, "listeners of shop/api-0");
    }
}
