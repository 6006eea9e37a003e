//! A policy's rule lists the port of a Service, but policies see the port of the pods behind it.
//!
//! **What the user sees.** As with any denial: silence or a refusal, although the rule seems to list the very port that is
//! connected to.
//!
//! **Proof.** The nearest rule admits the other end, and lists the port of a Service that selects the destination pod and
//! sends to another port of it. The walk ends in a policy engine's rule, and the kernel dropped first packets there after
//! policies and pods last changed.
//!
//! **Confused with.** A rule for another port altogether (N1, N2).
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicyPort`; policies are enforced after a Service's address is translated.

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial::kind::{Blamed, Kind, add_port, near_miss};
use crate::facts::Facts;
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "N6",
    slug: "service-port-in-policy",
    title: "a policy's rule lists the Service's port instead of the pods' port",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    near_miss(facts, &META, Kind::ServicePort, |blamed| {
        let Blamed { policy, miss, way, to, .. } = blamed;
        let protocol = facts.ways[*way].protocol;
        miss.misses.iter().find_map(|miss| {
            let NearMiss::ServicePort { service, service_port, pod_port } = miss else { return None };
            let title = format!(
                "NetworkPolicy {policy} lists port {service_port} of Service {service}, but policies see {pod_port}, the \
                 port of {to}"
            );
            Some((title, vec![add_port(blamed, *pod_port, protocol)]))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Certainty;

    #[test]
    fn found_with_the_port_to_list() {
        let finding = found(&Build::shop().admits_port("shop", "allow-80", 80).case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/allow-80 lists port 80 of Service shop/api, but policies see 8080, the port of shop/api-0"
        );
        assert_eq!(finding.certainty, Certainty::Likely);
        assert_eq!(
            finding.fixes[0].command,
            "kubectl -n shop patch networkpolicy allow-80 --type=json -p \
             '[{\"op\":\"add\",\"path\":\"/spec/ingress/0/ports/-\",\"value\":{\"protocol\":\"TCP\",\"port\":8080}}]'"
        );
    }

    #[test]
    fn ruled_out_where_another_port_or_the_right_one_is_listed() {
        let other = Build::shop().admits_port("shop", "allow-443", 443).case();
        assert!(ruled_out(&other, rule).contains("in this way"));
        let right = Build::shop().admits_port("shop", "allow-8080", 8080).case();
        assert!(matches!(rule(&Facts::of(&right)), Ruling::NotApplicable));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = Build::shop().objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
