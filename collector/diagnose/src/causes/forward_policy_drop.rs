//! A node's FORWARD chain ends in its policy DROP, and no rule before it accepts the pod's traffic.
//!
//! **What the user sees.** Silence. Docker sets the policy to DROP when it starts; so do some hardening guides.
//!
//! **Proof.** The walk ends in the policy of chain FORWARD, and the kernel dropped first packets there by netfilter
//! after both pods last changed, under the same decision.
//!
//! **Confused with.** A NetworkPolicy (N1): then a policy engine's rule decides. A rule of a firewall (H3, H27).
//!
//! **References.** kubernetes/kubernetes issue 40182; Docker, "Packet filtering and firewalls": "Docker sets the default
//! policy for the FORWARD chain to DROP".

use model::explanation::EvidenceKind;
use model::{RuleRef, Stage};

use crate::facts::{Facts, Stop};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "H2",
    slug: "forward-policy-drop",
    title: "the FORWARD chain's policy drops it",
    stage: Stage::SourceNode,
    needs: &[EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &[],
};

/// Whether a rule is the policy DROP of a FORWARD chain.
pub(super) fn is_forward_policy(rule: &RuleRef) -> bool {
    rule.chain == "FORWARD" && rule.text.starts_with("policy DROP")
}

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.attempts.is_empty() || !facts.case.live {
        return Ruling::NotApplicable;
    }
    // What leaks for want of a Service rule is not at home in FORWARD anyway: that is K18's.
    let knows = |stop: &Stop<'_>| stop.way.is_some() || stop.walk.proxy.knows_destination;
    let stops: Vec<Stop<'_>> = facts
        .stops()
        .into_iter()
        .filter(|stop| stop.rule().is_some_and(is_forward_policy) && knows(stop))
        .collect();
    let Some(first) = stops.first() else {
        return match facts.missing_rules() {
            Some(gap) => Ruling::CannotTell(gap),
            None => Ruling::RuledOut("no FORWARD policy on the way drops it".into()),
        };
    };
    let here: Vec<Stop<'_>> = stops.iter().filter(|stop| stop.node == first.node).cloned().collect();
    let proof = facts.prove_stops(&here, facts.stops_changed(&here));
    let node = first.node;
    let rule = first.rule().map(ToString::to_string).unwrap_or_default();
    let reason = facts.rules(
        node,
        first.walk,
        format!("no rule accepts {} on {node}; it falls to {rule}", first.branch.destination),
    );
    let finding = Finding::new(
        &META,
        Sure::by(proof),
        first.verdict(),
        first.place.clone(),
        format!(
            "{node} drops what it should forward to {}: its FORWARD chain has policy DROP",
            first.branch.destination
        ),
        reason,
    )
    .on_stops(&stops);
    let tool = match first.rule().map(|rule| rule.family) {
        Some(model::Family::Ipv6) => "ip6tables",
        _ => "iptables",
    };
    Ruling::Found(Box::new(
        finding
            .fix(
                format!("On {}, accept forwarded traffic", words::list(&Stop::nodes(&stops), 3)),
                format!("{tool} -P FORWARD ACCEPT"),
            )
            .fix("Let what set it do so no more: Docker has the option `ip-forward-no-drop`", ""),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::Certainty;

    fn policy() -> RuleRef {
        rule_ref("FORWARD", "policy DROP", "")
    }

    #[test]
    fn found_on_either_node() {
        let source = Build::shop().live().dropped_at_source(policy()).case();
        assert!(found(&source, rule).title.starts_with("node-1 drops"));
        let arrival = Build::shop().live().forwarded().dropped_at_destination(policy()).case();
        let finding = found(&arrival, rule);
        assert!(finding.title.starts_with("node-2 drops"));
        assert_eq!(finding.at.stage, Stage::DestinationNode);
        assert_eq!(finding.certainty, Certainty::Likely);
    }

    #[test]
    fn proven_by_a_fresh_drop_there() {
        let build = Build::shop().live().forwarded().dropped_at_destination(policy());
        let fresh = build.clone().drop_on("node-2", "api-0", "NETFILTER_DROP", 3, 1_000).case();
        assert_eq!(found(&fresh, rule).certainty, Certainty::Proven);
        let elsewhere = build.drop_on("node-1", "api-0", "NETFILTER_DROP", 3, 1_000).case();
        assert_eq!(found(&elsewhere, rule).certainty, Certainty::Likely);
    }

    #[test]
    fn ruled_out_where_everything_passes() {
        let case = Build::shop().live().forwarded().arrives().case();
        assert!(ruled_out(&case, rule).contains("no FORWARD policy"));
    }

    #[test]
    fn cannot_tell_without_the_rules() {
        let case = Build::shop().live().forwarded().silent("node-2", 180_000).case();
        assert_eq!(cannot_tell(&case, rule).what, "rules of node-2");
    }
}
