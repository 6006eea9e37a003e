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
use model::{Family, Stage};

use crate::bound::{self, Bound};
use crate::facts::{Facts, Listening, Way};
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "P3",
    slug: "one-family-only",
    title: "the process listens on another address or family only",
    stage: Stage::Destination,
    needs: &[EvidenceKind::Sockets, EvidenceKind::Drop],
    supersedes: &["H28"],
};

static BOUND: Bound = Bound {
    meta: &META,
    socket: |listening| match listening {
        Listening::OtherAddress(listener) => Some(listener),
        _ => None,
    },
    binding: |way, listener, by| format!("{}{by}, not to {}", listener.local, way.destination),
    title: |way| format!(", but not on {}", family(way)),
    advice: " too",
    ruled_out: "no pod binds the port to other addresses only",
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    bound::rule(facts, &BOUND)
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
