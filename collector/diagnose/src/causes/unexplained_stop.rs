//! A rule or a route stops the connection, and no known cause explains why it is there.
//!
//! **What the user sees.** Silence, a refusal, or "no route to host", as the rule has it.
//!
//! **Proof.** The walk through the node's rules ends there, and the kernel dropped first packets of this connection by
//! netfilter after both pods last changed, under the same decision. The finding names the rule, its owner where one is known,
//! and nothing more: it says what stops the connection, not why.
//!
//! **Confused with.** Everything that has a cause of its own; this one gives way to all of them.
//!
//! **References.** `net/netfilter/core.c`, `nf_hook_slow`; `net/ipv4/ip_input.c` for routes.

use model::explanation::{EvidenceKind, PolicyVerdict, Reason};
use model::{RuleRef, Stage};

use super::forward_policy_drop::is_forward_policy;
use crate::facts::{Direction, Facts, Stop, is_policy_engine};
use crate::ruling::{Finding, Meta, Ruling, Sure};

pub(super) const META: Meta = Meta {
    id: "H27",
    slug: "unexplained-stop",
    title: "a rule or route stops it that no known cause explains",
    stage: Stage::SourceNode,
    needs: &[EvidenceKind::Rules, EvidenceKind::Drop],
    supersedes: &["H28"],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.attempts.is_empty() || !facts.case.live {
        return Ruling::NotApplicable;
    }
    let stops: Vec<Stop<'_>> = facts.stops().into_iter().filter(|stop| !explained(facts, stop)).collect();
    let Some(first) = stops.first() else {
        return match facts.missing_rules() {
            Some(gap) => Ruling::CannotTell(gap),
            None => Ruling::RuledOut("no rule or route stops it without a known cause".into()),
        };
    };
    let same: Vec<Stop<'_>> = stops
        .iter()
        .filter(|stop| stop.place == first.place && stop.rule() == first.rule())
        .cloned()
        .collect();
    let proof = facts.prove_stops(&same, facts.stops_changed(&same));
    let to = first.branch.destination;
    let (what, said) = match (first.rule(), first.route()) {
        (Some(rule), _) => (format!("a rule of {}", owner(rule)), format!("{rule} {} {to}", first.verb())),
        (None, Some(route)) => ("its route".to_owned(), format!("the route for {to}: {route}")),
        (None, None) => ("something".to_owned(), format!("the walk for {to} ends without a rule")),
    };
    let told = first.branch.reject_with.as_deref().map(|with| format!(" ({with})")).unwrap_or_default();
    let mut finding = Finding::new(
        &META,
        Sure::by(proof),
        first.verdict(),
        first.place.clone(),
        format!("{} {} what is sent to {to}, by {what}{told}", first.place, first.verb()),
        facts.rules(first.node, first.walk, said),
    )
    .on_stops(&same);
    if let Some(rule) = first.rule() {
        if let Some(reason) = beside(facts, rule) {
            finding = finding.because(reason);
        }
        finding = finding.fix(
            format!("See who wrote the rule on {}, and whether it should cover this", first.node),
            listing(rule),
        );
    }
    Ruling::Found(Box::new(finding))
}

/// What the objects say beside a rule whose owner is known.
fn beside(facts: &Facts<'_>, rule: &RuleRef) -> Option<Reason> {
    if is_policy_engine(rule) {
        let text = "the NetworkPolicies at hand admit it; the engine may be behind, or know other policies";
        return Some(facts.objects(text));
    }
    let named = facts.target.service().filter(|_| rule.owner == "kube-proxy")?;
    if let Some(local) = facts.only_local() {
        return Some(facts.object(&named.service.meta, local));
    }
    if facts.intended.iter().any(|backend| backend.used) {
        let text = "the Service has ready endpoints; kube-proxy's rules there do not show them";
        return Some(facts.objects(text));
    }
    if named.selects() {
        return Some(facts.objects("which pods the Service has is not known from the objects"));
    }
    let text =
        format!("{} has no selector, and no EndpointSlice gives it an endpoint for this port", named.name());
    Some(facts.object(&named.service.meta, text))
}

/// Whether a cause of its own speaks for a stop.
fn explained(facts: &Facts<'_>, stop: &Stop<'_>) -> bool {
    let Some(rule) = stop.rule() else { return false };
    if is_forward_policy(rule) {
        return true;
    }
    match stop.way {
        // Refused for want of endpoints or of the port, as it should be: S2, S3, E1.
        None => {
            rule.owner == "kube-proxy"
                && facts.target.service().is_some_and(|named| {
                    // Without a selector, or without the pods, neither S3 nor E1 speaks.
                    let spoken_for = named.selects()
                        && facts.case.objects.coverage.pods
                        && facts.pods_not_given().is_none();
                    named.port.is_none() || (spoken_for && !facts.intended.iter().any(|backend| backend.used))
                })
        }
        Some(way) => {
            let denies = |direction| {
                facts.direction(way, direction).is_some_and(|found| found.evaluated == PolicyVerdict::Deny)
            };
            is_policy_engine(rule) && (denies(Direction::Egress) || denies(Direction::Ingress))
        }
    }
}

fn owner(rule: &RuleRef) -> String {
    match (rule.owner.as_str(), rule.object.as_str()) {
        ("", _) => format!("unknown origin in {} {}", rule.table, rule.chain),
        (owner, "") => format!("{owner} in {} {}", rule.table, rule.chain),
        (owner, object) => format!("{owner} ({object})"),
    }
}

/// How to see the rule on the node.
fn listing(rule: &RuleRef) -> String {
    use model::walk::Backend;
    let six = if rule.family == model::Family::Ipv6 { "6" } else { "" };
    let chain = crate::words::shell(&rule.chain);
    match rule.backend {
        Backend::IptablesNft => format!("ip{six}tables-nft -t {} -S {chain}", rule.table),
        Backend::IptablesLegacy => format!("ip{six}tables-legacy -t {} -S {chain}", rule.table),
        Backend::Nftables => {
            let family = if six.is_empty() { "ip" } else { "ip6" };
            format!("nft -a list chain {family} {} {chain}", crate::words::shell(&rule.table))
        }
        Backend::Ipvs => "ipvsadm -Ln".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, rule_ref, ruled_out};
    use model::Certainty;

    fn stranger() -> RuleRef {
        rule_ref("FORWARD", "-p tcp -m tcp --dport 8080 -j DROP", "")
    }

    #[test]
    fn found_with_the_rule_quoted() {
        let case = Build::shop().live().dropped_at_source(stranger()).case();
        let finding = found(&case, rule);
        assert_eq!(
            finding.title,
            "node-1 drops what is sent to 10.244.2.10:8080, by a rule of unknown origin in filter FORWARD"
        );
        assert!(finding.because[0].text.contains("--dport 8080 -j DROP"));
        assert_eq!(finding.fixes[0].command, "iptables-nft -t filter -S FORWARD");
        assert_eq!(finding.certainty, Certainty::Likely);
    }

    #[test]
    fn proven_by_a_fresh_drop() {
        let build = Build::shop().live().dropped_at_source(stranger());
        let case = build.drop_on("node-1", "api-0", "NETFILTER_DROP", 1, 1_000).case();
        assert_eq!(found(&case, rule).certainty, Certainty::Proven);
    }

    #[test]
    fn a_policy_engine_that_drops_what_policies_admit_is_told() {
        let engine = rule_ref("KUBE-POD-FW-X", "-j REJECT", "kube-router");
        let case = Build::shop().live().forwarded().dropped_at_destination(engine).case();
        assert!(found(&case, rule).because[1].text.contains("admit it"));
    }

    #[test]
    fn ruled_out_where_everything_passes_or_is_explained() {
        let passes = Build::shop().live().forwarded().arrives().case();
        assert!(ruled_out(&passes, rule).starts_with("no rule or route"));
        let policy = Build::shop().live().dropped_at_source(rule_ref("FORWARD", "policy DROP", "")).case();
        assert!(ruled_out(&policy, rule).starts_with("no rule or route"));
    }

    #[test]
    fn cannot_tell_without_the_rules() {
        let case = Build::shop().live().unknown_at_source().case();
        assert_eq!(cannot_tell(&case, rule).why, "a rule with -m u32 is not modelled");
    }
}
