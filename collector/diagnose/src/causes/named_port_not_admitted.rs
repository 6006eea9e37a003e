//! A policy's rule names a port that the destination pod does not declare, or declares with another number.
//!
//! **What the user sees.** As with any denial: silence or a refusal, often after a container port was renamed.
//!
//! **Proof.** The nearest rule admits the other end; its named port resolves to nothing, or to another number, on the
//! destination pod. The walk ends in a policy engine's rule, and the kernel dropped first packets there after policies and
//! pods last changed.
//!
//! **Confused with.** A Service whose named targetPort no pod declares (S6): that is decided before any policy.
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicyPort.port`: a name is looked up on the destination pod, with the
//! protocol.

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial::kind::{Blamed, Kind, add_port, near_miss};
use crate::facts::Facts;
use crate::ruling::{Meta, Ruling};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N8",
    slug: "named-port-not-admitted",
    title: "a policy's rule names a port that the destination pod does not have so",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    near_miss(facts, &META, Kind::NamedPort, |blamed| {
        let Blamed { policy, miss, way, .. } = blamed;
        let way = &facts.ways[*way];
        let (port, pod) = (way.destination.port(), way.name());
        miss.misses.iter().find_map(|miss| {
            let why = match miss {
                NearMiss::NamedPortMissing { declared, name, .. } if !declared.is_empty() => {
                    let declared: Vec<String> =
                        declared.iter().map(|(number, protocol)| format!("{number}/{protocol}")).collect();
                    format!("names port {name}, which is {} on {pod}", words::list(&declared, 3))
                }
                NearMiss::NamedPortMissing { name, .. } => {
                    format!("names port {name}, which {pod} does not declare")
                }
                NearMiss::NamedPortElsewhere { name, number } => {
                    format!("names port {name}, which is {number} on {pod}, not {port}")
                }
                _ => return None,
            };
            let title = format!("NetworkPolicy {policy} {why}");
            Some((title, vec![add_port(blamed, port, way.protocol)]))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Protocol;
    use model::objects::{PolicyPort, PolicyPortSpec, PolicyRule};

    fn names(port: &str) -> Build {
        let ports = PolicyPortSpec::Name(port.into());
        let port = PolicyPort { protocol: Protocol::Tcp, ports };
        Build::shop()
            .declares("api-0", 8080)
            .declares("api-0", 9090)
            .objects(|set| {
                let declared = &mut Build::pod(set, "api-0").containers[0].ports;
                declared[0].name = Some("http".into());
                declared[1].name = Some("metrics".into());
            })
            .policy("shop", "allow-named", |policy| {
                policy.isolates_ingress = true;
                policy.ingress.push(PolicyRule { peers: Vec::new(), ports: vec![port] });
            })
    }

    #[test]
    fn found_where_the_pod_has_no_such_port() {
        let finding = found(&names("web").case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/allow-named names port web, which shop/api-0 does not declare"
        );
        assert!(finding.fixes[0].command.contains("\"port\":8080"));
    }

    #[test]
    fn found_where_it_is_another_number() {
        let finding = found(&names("metrics").case(), rule);
        assert!(finding.title.ends_with("names port metrics, which is 9090 on shop/api-0, not 8080"));
    }

    #[test]
    fn ruled_out_where_no_name_is_what_misses() {
        assert!(matches!(rule(&Facts::of(&names("http").case())), Ruling::NotApplicable));
        let number = Build::shop().admits_port("shop", "allow-443", 443).case();
        assert!(ruled_out(&number, rule).contains("in this way"));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = names("web").objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
