//! The process listens, but on the pod's loopback address only, so nobody outside the pod can connect.
//!
//! **What the user sees.** "Connection refused" at once; from inside the pod, on 127.0.0.1, it works.
//!
//! **Proof.** The pod's socket table has the port bound to 127.0.0.0/8 or ::1 and to nothing else, and its kernel dropped
//! first packets for want of a socket (`NO_SOCKET`) after Service and pod last changed.
//!
//! **Confused with.** Nothing listening at all (P1): the same on the wire; only the socket table tells them apart.
//!
//! **References.** `net/ipv4/inet_hashtables.c`, `compute_score`: a bound address must equal the packet's destination.

use model::Stage;
use model::explanation::EvidenceKind;

use crate::bound::{self, Bound};
use crate::facts::{Facts, Listening};
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "P2",
    slug: "loopback-only",
    title: "the process listens on loopback only",
    stage: Stage::Destination,
    needs: &[EvidenceKind::Sockets, EvidenceKind::Drop],
    supersedes: &["H28"],
};

static BOUND: Bound = Bound {
    meta: &META,
    socket: |listening| match listening {
        Listening::LoopbackOnly(listener) => Some(listener),
        _ => None,
    },
    binding: |_, listener, by| format!("{} only{by}", listener.local),
    title: |_| " on loopback only".to_owned(),
    advice: ", not on loopback",
    ruled_out: "no pod binds the port to loopback only",
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    bound::rule(facts, &BOUND)
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
        let finding = found(&bound(&["127.0.0.1:8080"]).case(), rule);
        assert_eq!(finding.title, "shop/api-0 listens on 8080 on loopback only");
        assert_eq!(finding.certainty, Certainty::Likely);
    }

    #[test]
    fn proven_by_a_packet_without_a_socket() {
        let case = bound(&["127.0.0.1:8080"]).no_socket("api-0", 1, 2_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn ruled_out_where_it_is_bound_to_all() {
        assert!(ruled_out(&bound(&["0.0.0.0:8080", "127.0.0.1:8080"]).case(), rule).contains("no pod binds"));
        assert!(ruled_out(&bound(&[]).case(), rule).contains("no pod binds"));
    }

    #[test]
    fn cannot_tell_without_the_socket_table() {
        let case = Build::shop().live().forwarded().arrives().case();
        assert_eq!(cannot_tell(&case, rule).what, "listeners of shop/api-0");
    }
}
