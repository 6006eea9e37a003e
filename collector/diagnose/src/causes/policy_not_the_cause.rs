//! Policies select one of the ends, but they admit the connection: what fails, fails for another reason.
//!
//! **What the user sees.** A failing connection and a NetworkPolicy nearby, which is the first thing people edit.
//!
//! **Proof.** The policies, evaluated as the API defines them, admit the connection in both directions, and something else
//! is seen to stop it. Never blamed for anything: this only keeps hands off the wrong object.
//!
//! **Confused with.** A denial (N1, N2, N3).
//!
//! **References.** Network Policies: allowed is the union of all rules, in both directions.

use std::collections::BTreeSet;

use model::explanation::{EvidenceKind, PolicyVerdict};
use model::{Key, ObjectRef, Place, Stage, Verdict};
use policy::{DetailedPolicy, Outcome, PolicyKind};

use crate::facts::{Direction, Facts, Listening};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

pub(super) const META: Meta = Meta {
    id: "N20",
    slug: "policy-not-the-cause",
    title: "policies select the ends, but they admit it",
    stage: Stage::DestinationNode,
    needs: &[EvidenceKind::Object],
    supersedes: &[],
};

pub(super) fn rule(facts: &Facts<'_>) -> Ruling {
    if facts.ways.is_empty() {
        return Ruling::NotApplicable;
    }
    let mut admitting: BTreeSet<(PolicyKind, Key)> = BTreeSet::new();
    let mut isolated = false;
    for way in 0..facts.ways.len() {
        for direction in [Direction::Egress, Direction::Ingress] {
            let Some(found) = facts.direction(way, direction) else { continue };
            match found.effect {
                PolicyVerdict::Deny => {
                    return Ruling::RuledOut(format!("policies do deny {}", direction.word()));
                }
                PolicyVerdict::Unknown => {
                    let doubt = found.doubts.first().map_or_else(String::new, ToString::to_string);
                    let end = match direction {
                        Direction::Egress => facts.source.name.clone(),
                        Direction::Ingress => facts.ways[way].name(),
                    };
                    let what = format!("{} policies for {end}", direction.word());
                    return Ruling::CannotTell(model::Gap::new(what, doubt));
                }
                PolicyVerdict::Allow => {
                    isolated |= found.isolated;
                    let admits =
                        |part: &&DetailedPolicy| part.asked && matches!(part.outcome, Outcome::Allows(_));
                    admitting.extend(found.all().filter(admits).map(|part| (part.kind, part.policy.clone())));
                }
            }
        }
    }
    if admitting.is_empty() {
        let why = if isolated {
            "a pod's own node, and the pod itself, are admitted whatever its policies say"
        } else {
            "no policy selects either end"
        };
        return Ruling::RuledOut(why.into());
    }
    let one = admitting.len() == 1;
    let who = if admitting.iter().all(|(kind, _)| *kind == PolicyKind::NetworkPolicy) {
        let keys: Vec<String> = admitting.iter().map(|(_, key)| key.to_string()).collect();
        format!("NetworkPolic{} {}", if one { "y" } else { "ies" }, words::list(&keys, 3))
    } else {
        let names: Vec<String> =
            admitting.iter().map(|(kind, key)| format!("{} {key}", kind.word())).collect();
        words::list(&names, 3)
    };
    let admit = format!("{who} {} this", if one { "admits" } else { "admit" });
    if !fails(facts) {
        return Ruling::RuledOut(format!("{admit}, and nothing is seen to fail"));
    }
    let mut finding = Finding::new(
        &META,
        Sure::Likely,
        Verdict::Inconclusive,
        Place::intent(Stage::DestinationNode),
        format!("{admit}; look elsewhere"),
        facts.objects(format!("{admit} in both directions")),
    )
    .note();
    for (kind, key) in &admitting {
        finding = finding.blame(match kind {
            PolicyKind::NetworkPolicy => ObjectRef::network_policy(key, ""),
            PolicyKind::Cluster(kind) => ObjectRef::cluster_policy(*kind, &key.name, ""),
        });
    }
    Ruling::Found(Box::new(finding))
}

/// Whether something is seen to stop the connection.
fn fails(facts: &Facts<'_>) -> bool {
    !facts.stops().is_empty()
        || facts
            .live_ways()
            .any(|(_, way)| !matches!(way.listening(), Listening::Accepts(_) | Listening::Unknown(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Build, cannot_tell, found, ruled_out};
    use model::Effect;

    fn admitted() -> Build {
        Build::shop().isolates("shop", "deny").admits_pods("shop", "allow", "app", "client")
    }

    #[test]
    fn found_as_a_remark_where_something_else_fails() {
        let case = admitted().live().forwarded().arrives().listens("api-0", &[]).case();
        let finding = found(&case, rule);
        assert_eq!(finding.effect, Effect::Note);
        assert_eq!(finding.title, "NetworkPolicy shop/allow admits this; look elsewhere");
    }

    #[test]
    fn ruled_out_where_nothing_fails_or_policies_deny() {
        let healthy = admitted().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"]).case();
        assert!(ruled_out(&healthy, rule).contains("nothing is seen to fail"));
        assert!(ruled_out(&Build::shop().isolates("shop", "deny").case(), rule).contains("do deny"));
        assert_eq!(ruled_out(&Build::shop().case(), rule), "no policy selects either end");
    }

    #[test]
    fn cannot_tell_without_policies() {
        let case = admitted().objects(|set| set.coverage.policies = false).case();
        assert!(cannot_tell(&case, rule).why.contains("not read"));
    }
}
