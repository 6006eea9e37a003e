//! The policies deny the connection, and the rules of the node that should enforce them let it pass.
//!
//! **What the user sees.** A policy without effect; or, where an engine out of sight of netfilter enforces it, silence.
//!
//! **Proof.** The policies, evaluated as the API defines them, deny; the walk through all netfilter rules of the enforcing
//! node passes. That is a contradiction, so this is a remark and never blamed for a failure: a program on the device (tc,
//! XDP) may still enforce.
//!
//! **Confused with.** A denial that is enforced (N1, N2, N3).
//!
//! **References.** Network Policies: "Creating a NetworkPolicy resource without a controller that implements it will have
//! no effect".

use model::explanation::EvidenceKind;
use model::{Place, Stage, Verdict};
use policy::PolicyKind;

use crate::denial;
use crate::facts::{Direction, Enforced, Facts};
use crate::ruling::{Finding, Meta, Ruling, Sure};

pub(super) const META: Meta = Meta {
    id: "N13",
    slug: "policy-not-enforced",
    title: "policies deny it, but the node's rules let it pass",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object, EvidenceKind::Rules],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if !facts.case.live || facts.live_ways().next().is_none() {
        return Ruling::NotApplicable;
    }
    let mut unknown = None;
    let mut denied = false;
    for direction in [Direction::Egress, Direction::Ingress] {
        for way in facts.denied(direction) {
            denied = true;
            match facts.enforced(way, direction) {
                Enforced::Passes { node, walk } => {
                    let denying = facts.denying(way, direction);
                    let name = facts.ways[way].name();
                    let deny = if denying.len() == 1 { "denies" } else { "deny" };
                    let names: Vec<String> = denying.iter().map(|part| part.policy.to_string()).collect();
                    let who = denial::denying(facts, way, direction);
                    let all_network = denying.iter().all(|part| part.kind == PolicyKind::NetworkPolicy);
                    let names = if all_network {
                        format!(": {}", crate::words::list(&names, 3))
                    } else {
                        String::new()
                    };
                    let text = format!("{who} {deny} it for {}{names}", direction.word());
                    let stage = match direction {
                        Direction::Egress => Stage::SourceNode,
                        Direction::Ingress => Stage::DestinationNode,
                    };
                    let mut finding = Finding::new(
                        &META,
                        Sure::Likely,
                        Verdict::Inconclusive,
                        Place::node(node, stage),
                        format!(
                            "policies deny {} to {name}, but the rules of {node} let it pass",
                            facts.source.name
                        ),
                        facts.objects(text),
                    )
                    .because(facts.rules(node, walk, format!("all netfilter rules of {node} admit it")))
                    .on_ways([way])
                    .note();
                    for part in &denying {
                        finding = finding.blame(denial::object(part, ""));
                    }
                    return Ruling::Found(Box::new(finding.fix(
                        "See whether a policy engine runs there; one that works by BPF is out of sight here",
                        format!(
                            "kubectl get pods -A -o wide --field-selector spec.nodeName={}",
                            crate::words::shell(node)
                        ),
                    )));
                }
                Enforced::Unknown(gap) => unknown = unknown.or(Some(gap)),
                Enforced::Stopped(_) => {}
            }
        }
    }
    match unknown {
        Some(gap) => Ruling::CannotTell(gap),
        None if denied => Ruling::RuledOut("what the policies deny, the nodes' rules stop".into()),
        None => Ruling::RuledOut("no policy denies it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::Effect;

    fn denied() -> Build {
        Build::shop().isolates("shop", "default-deny").live().forwarded()
    }

    #[test]
    fn found_as_a_remark_where_the_rules_let_it_pass() {
        let finding = found(&denied().arrives().case(), rule);
        assert_eq!(finding.effect, Effect::Note);
        assert!(finding.title.ends_with("but the rules of node-2 let it pass"));
    }

    #[test]
    fn ruled_out_where_it_is_enforced_or_nothing_denies() {
        let engine = rule_ref("KUBE-POD-FW-A", "-j REJECT", "kube-router");
        assert!(ruled_out(&denied().dropped_at_destination(engine).case(), rule).contains("rules stop"));
        let none = Build::shop().live().forwarded().arrives().case();
        assert_eq!(ruled_out(&none, rule), "no policy denies it");
    }

    #[test]
    fn cannot_tell_without_the_node() {
        let case = denied().silent("node-2", 60_000).case();
        assert_eq!(cannot_tell(&case, rule).what, "rules of node-2");
    }
}
