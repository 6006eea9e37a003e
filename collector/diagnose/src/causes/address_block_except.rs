//! A policy's rule admits an address block, but leaves out the part of it that the address lies in.
//!
//! **What the user sees.** As with any denial: silence or a refusal, for some addresses only.
//!
//! **Proof.** The nearest rule admits the port, and its `ipBlock` holds the address, which lies in one of its `except`
//! blocks. The walk ends in a policy engine's rule, and the kernel dropped first packets there after policies and pods last
//! changed.
//!
//! **Confused with.** A block that does not hold the address at all (N1, N2).
//!
//! **References.** networking.k8s.io/v1 `IPBlock.except`; whether blocks match pods at all is left to the plugin
//! (cilium/cilium issue 12277).

use model::Stage;
use model::explanation::EvidenceKind;
use policy::NearMiss;

use crate::denial::kind::{Blamed, Kind, near_miss};
use crate::facts::Facts;
use crate::ruling::{Meta, Ruling};

pub(super) const META: Meta = Meta {
    id: "N10",
    slug: "address-block-except",
    title: "the address lies in a part that a policy's address block leaves out",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    near_miss(facts, &META, Kind::Except, |blamed| {
        let Blamed { policy, miss, .. } = blamed;
        let rule = miss.rule;
        miss.misses.iter().find_map(|miss| {
            let NearMiss::InsideExcept { cidr, except, address, .. } = miss else { return None };
            let title = format!("NetworkPolicy {policy} admits {cidr} except {except}, where {address} lies");
            let fix = format!(
                "Take {except} out of the except of rule {rule}, if {address} is meant to be admitted"
            );
            Some((title, vec![(fix, String::new())]))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::objects::{IpBlock, Peer, PolicyRule};

    fn blocks(except: &str) -> Build {
        let block = IpBlock {
            cidr: "10.244.0.0/16".parse().expect("a block"),
            except: vec![except.parse().expect("a block")],
        };
        Build::shop().policy("shop", "allow-block", |policy| {
            policy.isolates_ingress = true;
            policy.ingress.push(PolicyRule { peers: vec![Peer::Block(block)], ports: Vec::new() });
        })
    }

    #[test]
    fn found_with_the_hole() {
        assert_eq!(
            found(&blocks("10.244.1.0/24").case(), rule).title,
            "NetworkPolicy shop/allow-block admits 10.244.0.0/16 except 10.244.1.0/24, where 10.244.1.9 lies"
        );
    }

    #[test]
    fn ruled_out_where_no_hole_is_what_misses() {
        assert!(matches!(rule(&Facts::of(&blocks("10.244.7.0/24").case())), Ruling::NotApplicable));
        let labels = Build::shop().admits_pods("shop", "allow-web", "app", "frontend").case();
        assert!(ruled_out(&labels, rule).contains("in this way"));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = blocks("10.244.1.0/24").objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
