//! Questions beyond a pod and a Service, and nodes that cannot be walked: nothing wrong may be claimed about them.

use model::objects::{Origin, ServiceType, TargetPort};
use model::question::{Destination, PortAsk, Source};
use model::{Basis, Explanation, Family, Key, Outcome, Protocol, ServiceProxy, Verdict};

use super::diagnose;
use crate::testkit::{Build, rule_ref};

fn healthy() -> Build {
    Build::shop().live().forwarded().arrives().listens("api-0", &["0.0.0.0:8080"])
}

/// Another destination, dialled on a number.
fn to(build: Build, destination: Destination, port: u16) -> Build {
    build.question(|question| {
        question.destination = destination;
        question.port = PortAsk::Number(port);
    })
}

fn from(build: Build, source: Source) -> Build {
    build.question(|question| question.source = source)
}

fn external(via: Option<&str>) -> Source {
    Source::External { address: "203.0.113.7".parse().expect("an address"), via: via.map(ToOwned::to_owned) }
}

#[track_caller]
fn inconclusive(answer: &Explanation, says: &str) {
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
    assert!(answer.summary.contains(says), "{}", answer.summary);
    assert!(answer.findings.is_empty(), "{:?}", answer.findings);
}

#[test]
fn a_pod_is_reached_on_its_own_port() {
    let pod = Destination::Pod(Key::new("shop", "api-0"));
    let answer = diagnose(&to(healthy(), pod.clone(), 8080).case());
    assert_eq!((answer.verdict, answer.basis), (Verdict::Delivered, Basis::Programmed));
    // From objects alone, a port that the pod does not declare is not promised.
    let declared = || Build::shop().declares("api-0", 8080);
    assert_eq!(diagnose(&to(declared(), pod.clone(), 8080).case()).verdict, Verdict::Delivered);
    inconclusive(&diagnose(&to(declared(), pod.clone(), 80).case()), "declares only 8080/tcp");
    let unready = declared().objects(|set| Build::pod(set, "api-0").conditions[0].status = "False".into());
    inconclusive(&diagnose(&to(unready, pod.clone(), 8080).case()), "is not ready");
    let pending = declared().objects(|set| {
        let pod = Build::pod(set, "api-0");
        pod.addresses.clear();
        pod.phase = "Pending".into();
    });
    inconclusive(&diagnose(&to(pending, pod, 8080).case()), "has no address yet (Pending)");
}

#[test]
fn an_address_nobody_owns_is_never_called_reached() {
    let address = Destination::Address("203.0.113.77".parse().expect("an address"));
    let answer = diagnose(&to(healthy(), address.clone(), 443).case());
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
    inconclusive(&diagnose(&to(Build::shop(), address, 443).case()), "what is there is not known");
}

#[test]
fn a_node_as_source_and_as_destination() {
    let answer = diagnose(&from(healthy(), Source::Node("node-1".into())).case());
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
    let answer = diagnose(&to(Build::shop(), Destination::Node("node-2".into()), 10250).case());
    inconclusive(&answer, "what listens on 192.168.0.2:10250 of node node-2 is not known");
}

#[test]
fn a_client_outside_needs_a_way_in() {
    let answer = diagnose(&from(Build::shop(), external(None)).case());
    inconclusive(&answer, "no address for clients outside the cluster");
    let local = Build::shop().objects(|set| {
        let service = Build::service(set);
        service.kind = ServiceType::NodePort;
        service.external_policy = model::objects::TrafficPolicy::Local;
    });
    inconclusive(
        &diagnose(&from(local, external(None)).case()),
        "externalTrafficPolicy of shop/api is Local",
    );
    // A node port is a port of nodes, not one that the Service lacks.
    let node_port = Build::shop().port(30080).objects(|set| {
        let service = Build::service(set);
        service.kind = ServiceType::NodePort;
        service.ports[0].node_port = Some(30080);
    });
    inconclusive(&diagnose(&from(node_port, external(None)).case()), "node ports are not followed");
    // Live, without the node it enters by, there are no rules to look at.
    let answer = diagnose(&from(healthy(), external(None)).case());
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
    let answer = diagnose(&from(healthy(), external(Some("node-1"))).case());
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
}

#[test]
fn an_imagined_client_rests_on_objects() {
    let any = || Source::Any { namespace: "shop".into() };
    let answer = diagnose(&from(Build::shop(), any()).case());
    assert_eq!((answer.verdict, answer.basis), (Verdict::Delivered, Basis::Objects));
    let answer = diagnose(&from(healthy(), any()).case());
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
}

#[test]
fn a_source_without_an_address_connects_to_nothing() {
    let pending = Build::shop().objects(|set| {
        let pod = set.pods.get_mut(&Key::new("web", "client")).expect("the client");
        pod.addresses.clear();
        pod.phase = "Pending".into();
    });
    inconclusive(&diagnose(&pending.case()), "web/client has no address yet (Pending)");
}

#[test]
fn a_headless_name_has_no_address_without_pods_and_no_translation_with_them() {
    let headless = || {
        Build::shop().declares("api-0", 8080).objects(|set| {
            let service = Build::service(set);
            service.headless = true;
            service.cluster_ips.clear();
        })
    };
    inconclusive(&diagnose(&headless().case()), "declares only 8080/tcp");
    assert_eq!(diagnose(&headless().port(8080).case()).verdict, Verdict::Delivered);
    let mislabelled =
        headless().objects(|set| drop(Build::pod(set, "api-0").meta.labels.insert("app".into(), "x".into())));
    let answer = diagnose(&mislabelled.case());
    assert_eq!((answer.verdict, answer.findings[0].id.as_str()), (Verdict::Unresolved, "S3"));
    assert_eq!(answer.summary, "Service shop/api selects no pod, so its name leads to no address.");
}

#[test]
fn a_service_without_a_selector_is_not_blamed_for_its_pods() {
    let manual = || Build::shop().objects(|set| Build::service(set).selector.clear());
    inconclusive(
        &diagnose(&manual().case()),
        "has no selector, and no EndpointSlice gives shop/api:80 an endpoint",
    );
    let answer = diagnose(&manual().live().rejected_at_source().drop_at_source(2, 1_000).case());
    assert_eq!((answer.verdict, answer.findings[0].id.as_str()), (Verdict::Rejected, "H27"));
    assert!(answer.findings[0].because.iter().any(|reason| reason.text.contains("has no selector")));
}

#[test]
fn a_named_target_port_is_not_called_unready() {
    let named = Build::shop()
        .declares("api-0", 8080)
        .objects(|set| Build::service(set).ports[0].target = TargetPort::Name("web".into()));
    let answer = diagnose(&named.case());
    let ids: Vec<&str> = answer.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!((answer.verdict, ids), (Verdict::Rejected, vec!["S6"]));
}

#[test]
fn udp_is_not_said_to_have_been_watched() {
    let udp = |build: Build| {
        build
            .objects(|set| Build::service(set).ports[0].protocol = Protocol::Udp)
            .question(|question| question.protocol = Protocol::Udp)
    };
    let answer = diagnose(&udp(healthy()).case());
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
    assert!(answer.summary.contains("only drops of TCP"), "{}", answer.summary);
    assert!(answer.ruled_out.iter().all(|out| out.id != "H28"));
    let tcp_only = udp(Build::shop().declares("api-0", 8080));
    inconclusive(&diagnose(&tcp_only.case()), "whether shop/api-0 listens on 8080/udp is not known");
}

#[test]
fn the_family_the_pods_lack_is_named() {
    let dual = |client: bool| {
        Build::shop().objects(move |set| {
            Build::service(set).cluster_ips.push("fd00:96::7".parse().expect("an address"));
            if client {
                let pod = set.pods.get_mut(&Key::new("web", "client")).expect("the client");
                pod.addresses.push("fd00:244::9".parse().expect("an address"));
            }
        })
    };
    let answer = diagnose(&dual(false).case());
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
    assert!(answer.not_checked.iter().any(|gap| gap.what == Family::Ipv6.to_string()));
    inconclusive(
        &diagnose(&dual(true).case()),
        "shop/api:80 has no IPv6 endpoint, and web/client may use it",
    );
}

/// A node whose iptables rules show no Service proxy, whatever they do to the packet.
fn unseen(build: Build, mode: ServiceProxy) -> Build {
    build.live().arrives().listens("api-0", &["0.0.0.0:8080"]).proxy(move |proxy| {
        proxy.mode = mode;
        proxy.services = 0;
        proxy.knows_destination = false;
        proxy.knows_address = false;
        proxy.evidence.clear();
    })
}

#[test]
fn a_node_served_by_what_is_not_walked_is_inconclusive_whatever_its_iptables_do() {
    let forward = rule_ref("FORWARD", "policy DROP", "");
    let firewall = rule_ref("FORWARD", "-j DROP", "");
    let builds = || {
        [
            Build::shop().leaks_at_source(),
            Build::shop().unknown_at_source(),
            Build::shop().stopped_at_source(Outcome::Dropped, forward.clone()),
            Build::shop().stopped_at_source(Outcome::Rejected, firewall.clone()),
        ]
    };
    for (mode, says) in [
        (ServiceProxy::Ipvs, "IPVS serves Services there"),
        (ServiceProxy::Nftables, "nftables serves Services there; tables not walked: ip kube-proxy"),
        (ServiceProxy::Other, "another data plane"),
        (ServiceProxy::None, "tables not walked: ip kube-proxy"),
    ] {
        for build in builds() {
            let build = unseen(build, mode).unwalked("nftables", "tables not walked: ip kube-proxy");
            let answer = diagnose(&build.case());
            inconclusive(&answer, says);
            for id in ["K18", "H2", "H27"] {
                assert!(answer.ruled_out.iter().all(|out| out.id != id), "{mode:?}: {id} is ruled out");
            }
        }
    }
}

#[test]
fn an_address_that_the_node_holds_itself_is_no_missing_rule() {
    let held = |mode| unseen(Build::shop().held_at_source(), mode);
    for mode in [ServiceProxy::None, ServiceProxy::Iptables] {
        let answer = diagnose(&held(mode).case());
        inconclusive(&answer, "the node holds 10.96.12.7 itself, as with kube-proxy's IPVS mode");
    }
}

#[test]
fn what_objects_show_stands_where_rules_show_nothing() {
    let mislabelled = Build::shop()
        .objects(|set| drop(Build::pod(set, "api-0").meta.labels.insert("app".into(), "my-app".into())))
        .leaks_at_source();
    let answer = diagnose(&unseen(mislabelled, ServiceProxy::Ipvs).case());
    let first = &answer.findings[0];
    assert_eq!((first.id.as_str(), first.basis()), ("S3", Basis::Objects));
}

#[test]
fn a_workload_of_files_is_not_taken_for_no_pod_when_live() {
    let case = Build::shop()
        .objects(|set| {
            set.origin = Origin::Files;
            set.pods.remove(&Key::new("shop", "api-0"));
            set.other_kinds.insert("Deployment".into(), 1);
        })
        .live()
        .rejected_at_source()
        .case();
    let answer = diagnose(&case);
    assert_eq!((answer.verdict, answer.findings[0].id.as_str()), (Verdict::Rejected, "H27"));
}

#[test]
fn a_miss_on_the_way_out_is_told_for_what_it_is() {
    use model::objects::{PolicyPort, PolicyPortSpec, PolicyRule};
    let port = PolicyPort {
        protocol: Protocol::Tcp,
        ports: PolicyPortSpec::Range(model::PortRange { first: 80, last: 80 }),
    };
    let build = Build::shop().policy("web", "out-80", |policy| {
        policy.isolates_egress = true;
        policy.egress.push(PolicyRule { peers: Vec::new(), ports: vec![port] });
    });
    let answer = diagnose(&build.case());
    let ids: Vec<&str> = answer.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!((answer.verdict, ids), (Verdict::Dropped, vec!["N6"]));
    assert!(answer.findings[0].fixes[0].command.contains("/spec/egress/0/ports/-"));
}

#[test]
fn a_service_that_stays_on_the_node_needs_an_endpoint_there() {
    let local = |node: &'static str| {
        Build::shop().objects(move |set| {
            Build::service(set).internal_policy = model::objects::TrafficPolicy::Local;
            Build::pod(set, "api-0").node = Some(node.into());
        })
    };
    inconclusive(&diagnose(&local("node-2").case()), "is Local, and no ready endpoint is on node-1");
    assert_eq!(diagnose(&local("node-1").case()).verdict, Verdict::Delivered);
    // kube-proxy drops then, and what the rule stands for is told.
    let rule = rule_ref("KUBE-SERVICES", "-d 10.96.12.7/32 -j DROP", "kube-proxy");
    let answer = diagnose(&local("node-2").live().stopped_at_source(Outcome::Dropped, rule).case());
    assert_eq!((answer.verdict, answer.findings[0].id.as_str()), (Verdict::Dropped, "H27"));
    assert!(answer.findings[0].because.iter().any(|reason| reason.text.contains("is Local")));
}

#[test]
fn a_pod_that_declares_the_port_and_does_not_listen_there_is_at_fault_itself() {
    // A side car listens elsewhere; the Service is right.
    let case = Build::shop()
        .declares("api-0", 8080)
        .live()
        .forwarded()
        .arrives()
        .listens("api-0", &["0.0.0.0:15090"])
        .no_socket("api-0", 2, 1_000)
        .case();
    let answer = diagnose(&case);
    let ids: Vec<&str> = answer.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!((answer.verdict, ids), (Verdict::Rejected, vec!["P1"]));
}

#[test]
fn pods_that_have_ended_are_told_from_no_pod() {
    let ended = Build::shop().objects(|set| Build::pod(set, "api-0").phase = "Succeeded".into());
    let answer = diagnose(&ended.case());
    assert_eq!(
        answer.summary,
        "Service shop/api selects no running pod, so every connection to it is refused."
    );
    assert_eq!(answer.findings[0].because[0].text, "shop/api selects app=api; 1 pod had it and ended");
}
