//! Policies isolate the source pod for egress, and none of them admits this connection.
//!
//! **What the user sees.** Silence or a refusal, as the engine has it; often already at the DNS look-up.
//!
//! **Proof.** The policies, evaluated as the API defines them, deny; the walk on the source's node ends in a policy engine's
//! rule, and the kernel dropped first packets there after policies and pods last changed.
//!
//! **Confused with.** A denial on the way into the destination (N1, N3): that is enforced on the destination's node.
//!
//! **References.** networking.k8s.io/v1 `NetworkPolicySpec.egress`; policies see the pod behind a Service and its own port.

use model::Stage;
use model::explanation::EvidenceKind;

use crate::denial;
use crate::denial::kind::{Kind, kind};
use crate::facts::{Direction, Facts};
use crate::ruling::{Meta, Ruling};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N2",
    slug: "default-deny-egress",
    title: "policies isolate the source for egress and none admits this",
    stage: Stage::SourceNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    let denial = match denial::look(facts, Direction::Egress, |found| {
        matches!(kind(found), Kind::Far | Kind::PodLabels)
    }) {
        Ok(denial) => denial,
        Err(ruling) => return ruling,
    };
    let names = facts.names(&denial.ways);
    let first = denial.ways[0];
    let port = facts.ways[first].destination.port();
    let to = words::list(&names, 2);
    let source = &facts.source.name;
    let title = match facts.isolating(first, Direction::Egress).as_slice() {
        [only] => format!("NetworkPolicy {only} does not let {source} out to {to} on {port}"),
        many => format!(
            "none of {} that isolate {source} lets it out to {to} on {port}",
            denial::count(many.len())
        ),
    };
    let mut finding = denial::finding(facts, &META, Direction::Egress, &denial, title);
    if let Some(command) = denial::admit(facts, first, Direction::Egress) {
        finding = finding.fix(format!("Let {source} out by a policy of its own"), command);
    }
    Ruling::Found(Box::new(finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::Certainty;

    fn denied() -> Build {
        Build::shop().isolates_egress("web", "no-way-out")
    }

    #[test]
    fn found_and_proven_on_the_source_node() {
        let finding = found(&denied().case(), rule);
        assert_eq!(
            finding.title,
            "NetworkPolicy web/no-way-out does not let web/client out to shop/api-0 on 8080"
        );
        let engine = rule_ref("KUBE-POD-FW-A", "-j REJECT", "kube-router");
        let build = denied().live().dropped_at_source(engine);
        let case = build.drop_on("node-1", "api-0", "NETFILTER_DROP", 1, 500).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn ruled_out_without_a_policy() {
        assert_eq!(ruled_out(&Build::shop().case(), rule), "no policy isolates web/client for egress");
    }

    #[test]
    fn cannot_tell_where_the_node_lets_it_pass() {
        let case = denied().live().forwarded().arrives().case();
        assert!(cannot_tell(&case, rule).why.contains("node-1 let it pass"));
    }
}
