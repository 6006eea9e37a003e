//! Policies isolate the destination pod for ingress, and none of them has a rule that is meant for this connection.
//!
//! **What the user sees.** Silence with most engines, a refusal with some (kube-router answers with an ICMP error).
//!
//! **Proof.** The policies, evaluated as the API defines them, deny; the walk on the destination's node ends in a policy
//! engine's rule, and the kernel dropped first packets there after policies and pods last changed.
//!
//! **Confused with.** A rule that is meant for this client but misses it by its labels (N3), its namespace
//! (N4), a hole in a block (N10), or the port (N6, N7, N8). A denial on the way out of the
//! source (N2). A policy that admits, while something else drops (N20).
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicySpec.ingress`: "If this field is empty then this NetworkPolicy does
//! not allow any traffic".

use model::Stage;
use model::explanation::EvidenceKind;

use crate::denial;
use crate::denial::kind::{Kind, kind};
use crate::facts::{Direction, Facts};
use crate::ruling::{Meta, Ruling};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N1",
    slug: "default-deny-ingress",
    title: "policies isolate the destination for ingress and none admits this",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let denial = match denial::look(facts, Direction::Ingress, |found| kind(found) == Kind::Far) {
        Ok(denial) => denial,
        Err(ruling) => return ruling,
    };
    let names = facts.names(&denial.ways);
    let first = denial.ways[0];
    let port = facts.ways[first].destination.port();
    let isolating = facts.isolating(first, Direction::Ingress);
    let to = words::list(&names, 2);
    let title = match isolating.as_slice() {
        [only] => {
            format!("NetworkPolicy {only} does not admit {} to {to} on {port}", facts.source.name)
        }
        many => format!(
            "none of {} that isolate {to} admits {} on {port}",
            denial::count(many.len()),
            facts.source.name
        ),
    };
    let mut finding = denial::finding(facts, &META, Direction::Ingress, &denial, title);
    if let Some(command) = denial::admit(facts, first, Direction::Ingress) {
        finding = finding.fix(format!("Admit {} by a policy of its own", facts.source.name), command);
    }
    Ruling::Found(Box::new(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::{Basis, Certainty, Verdict};

    fn denied() -> Build {
        Build::shop().isolates("shop", "default-deny")
    }

    fn engine() -> model::RuleRef {
        rule_ref("KUBE-POD-FW-N6X", "-j DROP", "kube-router")
    }

    #[test]
    fn predicted_from_objects_alone() {
        let finding = found(&denied().case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy shop/default-deny does not admit web/client to shop/api-0 on 8080"
        );
        assert_eq!((finding.certainty, finding.basis()), (Certainty::Likely, Basis::Objects));
        assert_eq!(finding.because[1].text, "default-deny admits nothing");
        assert!(finding.fixes[0].command.contains("namespace: \"shop\""));
    }

    #[test]
    fn proven_by_a_drop_of_the_engine_on_the_right_node() {
        let build = denied().live().forwarded().dropped_at_destination(engine());
        let programmed = found(&build.clone().case(), rule);
        assert_eq!((programmed.certainty, programmed.basis()), (Certainty::Likely, Basis::Programmed));
        let fresh = build.clone().drop_on("node-2", "api-0", "NETFILTER_DROP", 4, 1_000).case();
        let finding = found(&fresh, rule);
        assert_eq!((finding.certainty, finding.verdict), (Certainty::Proven, Verdict::Dropped));
        let elsewhere = build.drop_on("node-1", "api-0", "NETFILTER_DROP", 4, 1_000).case();
        assert_eq!(found(&elsewhere, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn a_silent_node_leaves_what_the_policies_say() {
        let case = denied().live().forwarded().silent("node-2", 180_000).case();
        let finding = found(&case, rule);
        assert_eq!((finding.certainty, finding.basis()), (Certainty::Likely, Basis::Objects));
    }

    #[test]
    fn ruled_out_without_a_policy_or_by_one_that_admits() {
        assert!(ruled_out(&Build::shop().case(), rule).starts_with("no policy isolates"));
        let admitted = denied().admits_all("shop", "allow-all").case();
        assert!(ruled_out(&admitted, rule).contains("admit this"));
    }

    #[test]
    fn cannot_tell_where_the_node_lets_it_pass() {
        let case = denied().live().forwarded().arrives().case();
        assert!(cannot_tell(&case, rule).why.contains("let it pass"));
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = denied().objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
