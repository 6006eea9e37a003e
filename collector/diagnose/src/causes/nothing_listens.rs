//! Nothing listens on the port in the pod.
//!
//! **What the user sees.** "Connection refused" at once: the pod's own kernel answers with a reset.
//!
//! **Proof.** The pod's socket table has no listener on the port, and its kernel dropped first packets for want of a
//! socket (`NO_SOCKET`) after Service and pod last changed.
//!
//! **Confused with.** A socket bound to loopback only (P2): the same on the wire, told apart by the socket table. A Service
//! whose targetPort is wrong (S5): then no pod of the Service listens there and all of them listen elsewhere. A Service
//! without endpoints (S3, E1): there the node refuses, not the pod.
//!
//! **References.** `net/ipv4/tcp_ipv4.c`, `tcp_v4_rcv`, `no_tcp_socket` (`SKB_DROP_REASON_NO_SOCKET`).

use model::explanation::EvidenceKind;
use model::{ObjectRef, Place, Stage, Verdict};

use crate::facts::{Facts, Listening};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "P1",
    slug: "nothing-listens",
    title: "nothing listens on the port in the pod",
    stage: Stage::Destination,
    needs: &[EvidenceKind::Sockets, EvidenceKind::Drop],
    supersedes: &["H28"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.live_ways().next().is_none() {
        return Ruling::NotApplicable;
    }
    let refused = facts.refused();
    let ways = refused.by_pod;
    if ways.is_empty() {
        let unknown = facts.live_ways().find_map(|(_, way)| match way.listening() {
            Listening::Unknown(gap) => Some(gap),
            _ => None,
        });
        return match unknown {
            Some(gap) => Ruling::CannotTell(gap),
            None if refused.by_target_port.is_empty() => {
                Ruling::RuledOut("the socket tables show the port bound in every pod".into())
            }
            None => Ruling::RuledOut("the pods listen, but on another port (S5)".into()),
        };
    }

    let proof = facts.prove_no_socket(&ways);

    let names = facts.names(&ways);
    let first = &facts.ways[ways[0]];
    let port = first.destination.port();
    let all: Vec<usize> = facts.live_ways().map(|(index, _)| index).collect();
    let title = if facts.target.service().is_some() && names.len() < facts.names(&all).len() {
        facts.some_backends(&names, &format!("on {port}"), "refuses", "refuse")
    } else {
        format!("nothing listens on {port} in {}", words::list(&names, 3))
    };
    let at = match first.pod {
        Some(pod) => Place::pod(pod.node.clone(), pod.key().clone(), Stage::Destination),
        None => Place::intent(Stage::Destination),
    };
    let mut reasons = ways.iter().filter_map(|index| {
        let way = &facts.ways[*index];
        let (Ok(report), Some(node)) = (&way.listeners, way.node) else { return None };
        let Listening::Nothing { elsewhere } = way.listening() else { return None };
        let ports: Vec<String> = elsewhere.iter().map(|listener| listener.local.port().to_string()).collect();
        let also = if ports.is_empty() {
            "it listens on no port others can reach".to_owned()
        } else {
            format!("it listens on {}", words::list(&ports, 5))
        };
        Some(facts.sockets(node, report, format!("nothing listens on {port} in {}; {also}", way.name())))
    });
    let Some(reason) = reasons.next() else {
        return Ruling::NotApplicable;
    };
    let mut finding = Finding::new(&META, Sure::by(proof), Verdict::Rejected, at, title, reason)
        .because_all(reasons.take(4))
        .on_ways(ways.iter().copied());
    for pod in ways.iter().filter_map(|way| facts.ways[*way].pod) {
        finding = finding.blame(ObjectRef::pod(pod.key(), "spec.containers"));
    }
    if let Some(pod) = first.pod {
        let key = pod.key();
        finding = finding.fix(
            format!("Start what should listen on {port}, or see why it does not"),
            format!("kubectl -n {} logs {}", words::shell(&key.namespace), words::shell(&key.name)),
        );
    }
    Ruling::Found(Box::new(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Certainty;

    #[test]
    fn found_by_the_socket_table() {
        let case = Build::shop().live().forwarded().arrives().listens("api-0", &[]).case();
        let finding = found(&case, rule);
        assert_eq!(finding.title, "nothing listens on 8080 in shop/api-0");
        assert_eq!(finding.certainty, Certainty::Likely);
        assert_eq!(finding.verdict, Verdict::Rejected);
    }

    #[test]
    fn proven_by_a_packet_without_a_socket() {
        let case = Build::shop()
            .live()
            .forwarded()
            .arrives()
            .listens("api-0", &[])
            .no_socket("api-0", 4, 1_000)
            .case();
        let finding = found(&case, rule);
        assert_eq!(finding.certainty, Certainty::Proven);
        assert_eq!(
            finding.because.last().expect("a reason").text,
            "node-2 dropped 4 SYN 10.244.1.9 -> 10.244.2.10:8080 in shop/api-0 (NO_SOCKET)"
        );
    }

    #[test]
    fn some_backends_are_counted() {
        let case = Build::shop()
            .pods(3)
            .live()
            .forwarded()
            .arrives()
            .listens("api-0", &["0.0.0.0:8080"])
            .listens("api-1", &["0.0.0.0:80"])
            .listens("api-2", &["0.0.0.0:8080"])
            .case();
        assert_eq!(found(&case, rule).title, "1 of 3 backends of shop/api refuses on 8080");
    }

    #[test]
    fn ruled_out_where_it_listens() {
        let case = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"]).case();
        assert!(ruled_out(&case, rule).contains("bound in every pod"));
    }

    #[test]
    fn ruled_out_where_the_target_port_is_to_blame() {
        let case = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:80"]).case();
        assert!(ruled_out(&case, rule).contains("S5"));
    }

    #[test]
    fn cannot_tell_without_the_socket_table() {
        let case = Build::shop().live().forwarded().arrives().case();
        assert_eq!(cannot_tell(&case, rule).what, "listeners of shop/api-0");
    }
}
