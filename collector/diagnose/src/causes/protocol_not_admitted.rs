//! A policy's rule lists the port, but for another protocol; one that names none means TCP.
//!
//! **What the user sees.** Nothing comes back, typically by UDP: name look-ups that time out.
//!
//! **Proof.** The nearest rule admits the other end and the port's number, and its protocol differs. The walk ends in a
//! policy engine's rule. Drops are recorded for TCP only, so that by UDP this is at most likely.
//!
//! **Confused with.** A Service that lacks the port for that protocol (S2).
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicyPort.protocol`: "If not specified, this field defaults to TCP".

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial::kind::{Blamed, Kind, add_port, near_miss};
use crate::facts::Facts;
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "N7",
    slug: "protocol-not-admitted",
    title: "a policy's rule lists the port for another protocol",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    near_miss(facts, &META, Kind::Protocol, |blamed| {
        let Blamed { policy, miss, way, to, .. } = blamed;
        let port = facts.ways[*way].destination.port();
        miss.misses.iter().find_map(|miss| {
            let NearMiss::Protocol { rule, asked } = miss else { return None };
            let title = format!(
                "NetworkPolicy {policy} admits port {port} of {to} by {} only, and this is {}",
                rule.upper(),
                asked.upper()
            );
            Some((title, vec![add_port(blamed, port, *asked)]))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Protocol;

    fn by_udp() -> Build {
        Build::shop()
            .admits_port("shop", "allow-8080", 8080)
            .objects(|set| Build::service(set).ports[0].protocol = Protocol::Udp)
            .question(|question| question.protocol = Protocol::Udp)
    }

    #[test]
    fn found_with_the_protocol_to_add() {
        let finding = found(&by_udp().case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/allow-8080 admits port 8080 of shop/api-0 by TCP only, and this is UDP"
        );
        assert!(finding.fixes[0].command.contains("\"protocol\":\"UDP\",\"port\":8080"));
    }

    #[test]
    fn ruled_out_where_the_protocol_is_not_what_differs() {
        let case = Build::shop().admits_port("shop", "allow-443", 443).case();
        assert!(ruled_out(&case, rule).contains("in this way"));
        let right = Build::shop().admits_port("shop", "allow-8080", 8080).case();
        assert!(matches!(rule(&Facts::of(&right)), Ruling::NotApplicable));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = by_udp().objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
