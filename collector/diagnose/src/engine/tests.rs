//! Whole explanations of small cases, and what must hold for all of them.

use std::fmt::Write as _;

use model::explanation::HopState;
use model::question::{Destination, Source};
use model::{Basis, Case, Certainty, Effect, Explanation, Key, Verdict};

use super::diagnose;
use crate::next_probes;
use crate::testkit::{Build, rule_ref};

/// An explanation as text, everything that a reader sees.
fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    let head = [explanation.verdict.word(), explanation.certainty.word(), explanation.basis.word()];
    let _ = writeln!(out, "{}: {}  [{}, {}]", head[0], explanation.summary, head[1], head[2]);
    let question = &explanation.question;
    let _ = writeln!(
        out,
        "question: {} {:?} -> {} {:?} {}/{}",
        question.source,
        question.source_addresses,
        question.destination,
        question.destination_addresses,
        question.port,
        question.protocol
    );
    for finding in &explanation.findings {
        let affects = finding
            .affects
            .map(|affects| format!(" ({} of {})", affects.backends, affects.of))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "{} {} {:?} at {}{affects}: {}",
            finding.id,
            finding.certainty.word(),
            finding.effect,
            finding.at,
            finding.title
        );
        for reason in &finding.because {
            let _ = writeln!(out, "  - {}  [{} {}]", reason.text, reason.evidence.word(), reason.source);
        }
        for fix in &finding.fixes {
            let _ = writeln!(out, "  fix: {}\n    {}", fix.text, fix.command.replace('\n', "\n    "));
        }
        for object in &finding.objects {
            let _ = writeln!(out, "  at fault: {} {} {}", object.kind, object.key, object.field);
        }
    }
    for path in &explanation.paths {
        let _ = writeln!(out, "path {} {:?} {}", path.family, path.backends, path.verdict.word());
        for hop in &path.hops {
            let state = match hop.state {
                HopState::Pass => "ok",
                HopState::Stop => "X ",
                HopState::Unknown => "? ",
            };
            let _ = writeln!(out, "  {state} {}: {}", hop.stage.word(), hop.detail);
            if let Some(rule) = &hop.rule {
                let _ = writeln!(out, "       {rule}");
            }
        }
    }
    for ruled_out in &explanation.ruled_out {
        let _ = writeln!(out, "ruled out {}: {}", ruled_out.id, ruled_out.why);
    }
    for gap in &explanation.not_checked {
        let _ = writeln!(out, "not checked {gap}");
    }
    out
}

fn healthy() -> Build {
    Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"])
}

fn mislabelled() -> Build {
    Build::shop().objects(|set| {
        Build::pod(set, "api-0").meta.labels.insert("app".into(), "api-server".into());
    })
}

#[test]
fn a_healthy_connection_is_delivered_without_a_finding() {
    let explanation = diagnose(&healthy().case());
    assert_eq!(explanation.verdict, Verdict::Delivered);
    assert!(explanation.findings.is_empty(), "{}", text(&explanation));
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn a_selector_that_matches_nothing() {
    let case = mislabelled().live().rejected_at_source().drop_at_source(3, 2_000).case();
    insta::assert_snapshot!(text(&diagnose(&case)));
}

#[test]
fn a_wrong_target_port() {
    let build = Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:80"]);
    insta::assert_snapshot!(text(&diagnose(&build.no_socket("api-0", 4, 1_000).case())));
}

#[test]
fn some_backends_refuse() {
    let case = Build::shop()
        .pods(5)
        .live()
        .forwarded()
        .arrives()
        .listens("api-0", &["0.0.0.0:8080"])
        .listens("api-1", &["0.0.0.0:80"])
        .listens("api-2", &["0.0.0.0:8080"])
        .listens("api-3", &["0.0.0.0:8080"])
        .listens("api-4", &[])
        .no_socket("api-1", 2, 1_000)
        .case();
    let explanation = diagnose(&case);
    assert_eq!(explanation.verdict, Verdict::Partial);
    assert_eq!(
        explanation.summary,
        "2 of 5 backends of shop/api refuse on 8080; expect about 40 % of connections to fail."
    );
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn a_policy_with_a_near_miss() {
    let engine = rule_ref("KUBE-POD-FW-N6X", "-j DROP", "kube-router");
    let case = Build::shop()
        .isolates("shop", "default-deny")
        .admits_pods("shop", "allow-web", "app", "frontend")
        .live()
        .forwarded()
        .dropped_at_destination(engine)
        .listens("api-0", &["0.0.0.0:8080"])
        .drop_on("node-2", "api-0", "NETFILTER_DROP", 4, 1_000)
        .case();
    insta::assert_snapshot!(text(&diagnose(&case)));
}

#[test]
fn a_silent_node_is_inconclusive() {
    let explanation = diagnose(&healthy().silent("node-2", 180_000).case());
    assert_eq!(explanation.verdict, Verdict::Inconclusive);
    assert_eq!(explanation.summary, "node-2, where shop/api-0 runs, has not reported for 3 min.");
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn objects_alone_predict() {
    let explanation = diagnose(&Build::shop().case());
    assert_eq!(
        (explanation.verdict, explanation.certainty, explanation.basis),
        (Verdict::Delivered, Certainty::Likely, Basis::Objects)
    );
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn a_service_that_does_not_exist() {
    let explanation = diagnose(&Build::shop().missing("shop/apu").case());
    assert_eq!(explanation.verdict, Verdict::Unresolved);
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn the_right_name_in_the_wrong_namespace_supersedes_no_such_service() {
    let destination = Destination::NoName { name: "api".into(), tried: vec![Key::new("web", "api")] };
    let case = Build::shop().question(|question| question.destination = destination).case();
    let explanation = diagnose(&case);
    let ids: Vec<&str> = explanation.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!((explanation.verdict, ids), (Verdict::Unresolved, vec!["D1"]));
}

#[test]
fn after_the_fix_earlier_drops_blame_nothing() {
    let explanation = diagnose(&healthy().drop_at_source(9, 120_000).no_socket("api-0", 3, 5_000).case());
    assert_eq!(explanation.verdict, Verdict::Delivered);
    assert!(explanation.findings.is_empty(), "{}", text(&explanation));
}

#[test]
fn what_policies_deny_and_rules_admit_is_not_called_either_way() {
    let case = healthy().isolates("shop", "default-deny").case();
    let explanation = diagnose(&case);
    assert_eq!(explanation.verdict, Verdict::Inconclusive);
    let only: Vec<(&str, Effect)> =
        explanation.findings.iter().map(|finding| (finding.id.as_str(), finding.effect)).collect();
    assert_eq!(only, [("N13", Effect::Note)]);
}

#[test]
fn a_policy_that_admits_stays_out_of_the_first_place() {
    let case = Build::shop()
        .isolates("shop", "deny")
        .admits_pods("shop", "allow", "app", "client")
        .live()
        .forwarded()
        .arrives()
        .listens("api-0", &[])
        .case();
    let explanation = diagnose(&case);
    let ids: Vec<&str> = explanation.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids, ["P1", "N20"]);
}

#[test]
fn imagined_and_foreign_clients_get_honest_answers() {
    let any = Build::shop().question(|question| {
        question.source = Source::Any { namespace: "shop".into() };
    });
    let explanation = diagnose(&any.clone().live().case());
    assert_eq!(explanation.verdict, Verdict::Inconclusive, "{}", text(&explanation));
    assert_eq!(diagnose(&any.case()).verdict, Verdict::Delivered);
    let external = Build::shop().question(|question| {
        question.source = Source::External { address: "203.0.113.9".parse().expect("an address"), via: None };
    });
    let explanation = diagnose(&external.live().case());
    assert_eq!(explanation.verdict, Verdict::Inconclusive, "{}", text(&explanation));
}

#[test]
fn an_alias_is_not_followed_and_says_so() {
    let case = Build::shop()
        .objects(|set| {
            let service = Build::service(set);
            service.kind = model::objects::ServiceType::ExternalName;
            service.external_name = "api.example.org".into();
            service.cluster_ips.clear();
            service.selector.clear();
        })
        .live()
        .case();
    let explanation = diagnose(&case);
    assert_eq!(explanation.verdict, Verdict::Inconclusive);
    assert!(explanation.summary.contains("api.example.org"), "{}", text(&explanation));
}

/// What a manifest says: no addresses, no status, no nodes.
fn manifest() -> Build {
    Build::shop().objects(|set| {
        set.origin = model::objects::Origin::Files;
        Build::service(set).cluster_ips.clear();
        set.nodes.clear();
        for pod in set.pods.values_mut() {
            pod.addresses.clear();
            pod.conditions.clear();
            pod.phase.clear();
            pod.node = None;
            pod.meta.source = "app.yaml".into();
        }
    })
}

fn first(explanation: &Explanation) -> (&str, Certainty, Basis) {
    let finding = explanation.findings.first().unwrap_or_else(|| panic!("no finding\n{}", text(explanation)));
    (&finding.id, finding.certainty, explanation.basis)
}

#[test]
fn manifests_alone_show_a_wrong_selector() {
    let case = manifest()
        .objects(|set| {
            Build::pod(set, "api-0").meta.labels.insert("app".into(), "api-server".into());
        })
        .case();
    let explanation = diagnose(&case);
    assert_eq!(first(&explanation), ("S3", Certainty::Likely, Basis::Objects));
    assert_eq!(explanation.verdict, Verdict::Rejected);
}

#[test]
fn manifests_alone_show_a_wrong_target_port_and_no_more_than_likely() {
    let explanation = diagnose(&manifest().declares("api-0", 80).case());
    assert_eq!(first(&explanation), ("S5", Certainty::Likely, Basis::Objects));
    insta::assert_snapshot!(text(&explanation));
}

#[test]
fn manifests_alone_predict_and_name_the_pod_that_is_selected() {
    let explanation = diagnose(&manifest().declares("api-0", 8080).case());
    assert_eq!(explanation.verdict, Verdict::Delivered, "{}", text(&explanation));
    assert_eq!(
        explanation.summary,
        "the objects let web/client reach shop/api:80; its selector app=api selects shop/api-0."
    );
    assert!(
        explanation.ruled_out.iter().any(|out| out.id == "S3" && out.why == "app=api selects shop/api-0")
    );
}

#[test]
fn manifests_alone_show_a_denial() {
    let explanation = diagnose(&manifest().isolates("shop", "default-deny").case());
    assert_eq!(first(&explanation), ("N1", Certainty::Likely, Basis::Objects));
}

#[test]
fn rules_that_let_it_pass_do_not_make_a_denial_behind_them_more_than_predicted() {
    // node-1 was walked and sends it on; node-2, which would enforce the policy, is silent.
    let case = Build::shop().isolates("shop", "default-deny").live().forwarded().silent("node-2", 180_000);
    let explanation = diagnose(&case.case());
    assert_eq!(first(&explanation), ("N1", Certainty::Likely, Basis::Objects));
    assert_eq!((explanation.verdict, explanation.basis), (Verdict::Dropped, Basis::Objects));
    assert!(explanation.not_checked.iter().any(|gap| gap.to_string().contains("node-2")));
}

#[test]
fn a_rule_for_the_other_pod_is_not_taken_for_this_direction() {
    // Both ends share node-1; egress and ingress deny, and the engine's rule stands for the destination.
    let mut engine = rule_ref("KUBE-POD-FW-N6X", "-j DROP", "kube-router");
    engine.object = "pod shop/api-0".into();
    let case = Build::shop()
        .objects(|set| Build::pod(set, "api-0").node = Some("node-1".into()))
        .isolates("shop", "default-deny")
        .isolates_egress("web", "no-way-out")
        .live()
        .dropped_at_source(engine)
        .listens("api-0", &["0.0.0.0:8080"])
        .case();
    let explanation = diagnose(&case);
    let basis: Vec<(&str, Basis)> =
        explanation.findings.iter().map(|finding| (finding.id.as_str(), finding.basis())).collect();
    assert_eq!(basis, [("N1", Basis::Programmed), ("N2", Basis::Objects)]);
}

#[test]
fn a_headless_service_is_dialled_as_it_is() {
    let case = Build::shop()
        .port(8080)
        .objects(|set| {
            let service = Build::service(set);
            service.headless = true;
            service.cluster_ips.clear();
            service.ports[0].port = 8080;
        })
        .live()
        .forwarded()
        .arrives()
        .listens("api-0", &["0.0.0.0:8080"])
        .case();
    let explanation = diagnose(&case);
    assert_eq!(explanation.verdict, Verdict::Delivered, "{}", text(&explanation));
    assert!(explanation.not_checked.iter().any(|gap| gap.why == "DNS is not asked"));
}

#[test]
fn a_second_family_is_an_attempt_of_its_own() {
    let case = healthy()
        .objects(|set| {
            Build::service(set).cluster_ips.push("fd00::7".parse().expect("an address"));
            for (name, address) in [("client", "fd01::9"), ("api-0", "fd02::10")] {
                let pod = set.pods.values_mut().find(|pod| pod.meta.key.name == name).expect("the pod");
                pod.addresses.push(address.parse().expect("an address"));
            }
        })
        .case();
    let explanation = diagnose(&case);
    // The pod listens on 0.0.0.0 only, so the IPv6 way has no socket.
    assert_eq!(explanation.verdict, Verdict::Partial, "{}", text(&explanation));
    assert_eq!(explanation.paths.len(), 2);
}

#[test]
fn no_more_than_the_limit_of_nodes_is_asked() {
    let mut case = Build::shop().pods(60).live().forwarded().case();
    let mut set = (*case.objects).clone();
    for index in 0..60_u8 {
        let node = format!("worker-{index}");
        Build::pod(&mut set, &format!("api-{index}")).node = Some(node.clone());
        let mut report = case.nodes["node-2"].clone();
        report.name.clone_from(&node);
        case.nodes.insert(node, report);
    }
    case.objects = std::sync::Arc::new(set);
    let asked: std::collections::BTreeSet<String> =
        next_probes(&case).iter().map(|probe| probe.node().to_owned()).collect();
    assert_eq!(asked.len(), crate::MAX_NODES - 1, "the source's node was asked before");
}

/// Cases of every kind, for what must hold for all of them.
fn gallery() -> Vec<Case> {
    let engine = || rule_ref("KUBE-POD-FW-N6X", "-j DROP", "kube-router");
    let stranger = || rule_ref("FORWARD", "-j DROP", "");
    vec![
        healthy().case(),
        healthy().isolates("shop", "deny").drop_on("node-2", "api-0", "TC_INGRESS", 2, 900).case(),
        mislabelled().live().rejected_at_source().drop_at_source(3, 2_000).case(),
        Build::shop()
            .pods(3)
            .live()
            .forwarded()
            .arrives()
            .listens("api-0", &[])
            .no_socket("api-0", 1, 100)
            .case(),
        Build::shop()
            .live()
            .forwarded()
            .arrives()
            .listens("api-0", &["0.0.0.0:80"])
            .no_socket("api-0", 1, 9)
            .case(),
        Build::shop().live().forwarded().arrives().listens("api-0", &["127.0.0.1:8080"]).case(),
        Build::shop()
            .isolates("shop", "deny")
            .live()
            .forwarded()
            .dropped_at_destination(engine())
            .drop_on("node-2", "api-0", "NETFILTER_DROP", 4, 1_000)
            .case(),
        Build::shop()
            .live()
            .dropped_at_source(stranger())
            .drop_on("node-1", "api-0", "NETFILTER_DROP", 1, 50)
            .case(),
        Build::shop().port(81).live().leaks_at_source().case(),
        Build::shop().live().unknown_at_source().case(),
        Build::shop().declares("api-0", 80).case(),
    ]
}

#[test]
fn taking_evidence_away_never_makes_an_answer_surer() {
    for (number, case) in gallery().into_iter().enumerate() {
        let full = diagnose(&case);
        for left_out in 0..case.answers.len() {
            let mut less = case.clone();
            less.answers.remove(left_out);
            check(number, &full, &diagnose(&less));
            delivered(number, &full, &diagnose(&less));
        }
        for left_out in 0..case.drops.len() {
            let mut less = case.clone();
            less.drops.remove(left_out);
            check(number, &full, &diagnose(&less));
        }
        let mut nothing = case.clone();
        nothing.answers.clear();
        nothing.drops.clear();
        check(number, &full, &diagnose(&nothing));
    }
}

fn check(number: usize, full: &Explanation, less: &Explanation) {
    for finding in less.findings.iter().filter(|finding| finding.certainty == Certainty::Proven) {
        let before = full.findings.iter().find(|other| other.id == finding.id).map(|other| other.certainty);
        assert_eq!(
            before,
            Some(Certainty::Proven),
            "case {number}: {} is proven only with less evidence\n{}",
            finding.id,
            text(less)
        );
    }
}

/// A drop that was not recorded leaves no gap, but a question that was not answered does.
fn delivered(number: usize, full: &Explanation, less: &Explanation) {
    if less.verdict == Verdict::Delivered {
        assert_eq!(full.verdict, Verdict::Delivered, "case {number}: delivered only with less evidence");
    }
}

#[test]
fn every_finding_has_reasons_and_proof_has_a_drop() {
    for case in gallery() {
        let explanation = diagnose(&case);
        for finding in &explanation.findings {
            assert!(!finding.because.is_empty());
            if finding.certainty == Certainty::Proven {
                assert_eq!(finding.basis(), Basis::Observed);
            }
        }
        assert_ne!(
            (explanation.verdict, explanation.certainty),
            (Verdict::Delivered, Certainty::Proven),
            "a handshake was never seen"
        );
        assert!(next_probes(&case).iter().all(|probe| case.answer(probe).is_none()));
    }
}
