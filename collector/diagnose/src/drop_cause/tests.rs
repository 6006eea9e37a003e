//! Each mapping from a record to a cause, and the records that must have none.

use std::sync::Arc;

use model::objects::{ContainerState, TargetPort};
use model::{Key, ObjectSet, Outcome};

use super::{DropCauses, Likely, likely_cause};
use crate::testkit::{Build, NOW, rule_ref};

const FRESH: u64 = 1_000;
/// Before the objects of the test cluster last changed.
const OLD: u64 = 700_000;

fn cause(build: Build) -> Option<&'static str> {
    let case = build.case();
    likely_cause(&case.objects, case.drops.last().expect("a drop"), NOW).map(|likely| likely.id)
}

fn empty() -> Build {
    Build::shop().objects(|set| drop(set.pods.remove(&Key::new("shop", "api-0"))))
}

/// kube-proxy's rejection of the Service's address.
fn rejected(build: Build, ago_ms: u64) -> Build {
    let rule = rule_ref("KUBE-SERVICES", "-d 10.96.12.7/32 -p tcp --dport 80 -j REJECT", "kube-proxy");
    build.drop_at_source(2, ago_ms).walked(Outcome::Rejected, rule)
}

/// A drop of what was sent to the pod, by a rule of its node.
fn dropped(build: Build, owner: &str, ago_ms: u64) -> Build {
    let rule = rule_ref("KUBE-POD-FW-AAAA", "-j DROP", owner);
    build.drop_on("node-2", "api-0", "NETFILTER_DROP", 2, ago_ms).walked(Outcome::Dropped, rule)
}

#[test]
fn a_rejection_for_want_of_endpoints_says_why_there_are_none() {
    assert_eq!(cause(rejected(empty(), FRESH)), Some("S3"));
    let unready = Build::shop().objects(|set| {
        let pod = Build::pod(set, "api-0");
        pod.conditions[0].status = "False".into();
        pod.conditions[0].reason = "ContainersNotReady".into();
    });
    assert_eq!(cause(rejected(unready, FRESH)), Some("E1"));
    let named = Build::shop()
        .declares("api-0", 8080)
        .objects(|set| Build::service(set).ports[0].target = TargetPort::Name("web".into()));
    assert_eq!(cause(rejected(named, FRESH)), Some("S6"));
}

#[test]
fn what_changed_since_the_drop_makes_it_history() {
    assert_eq!(cause(rejected(empty(), OLD)), None);
    assert_eq!(cause(dropped(Build::shop().isolates("shop", "deny"), "kube-router", OLD)), None);
    assert_eq!(cause(Build::shop().no_socket("api-0", 2, OLD)), None);
    // The Service has endpoints again, and nothing says so but the objects.
    assert_eq!(cause(rejected(Build::shop(), FRESH)), None);
}

#[test]
fn a_policy_engine_is_believed_only_where_the_policies_deny() {
    assert_eq!(cause(dropped(Build::shop().isolates("shop", "deny"), "kube-router", FRESH)), Some("N1"));
    let egress = Build::shop().isolates_egress("web", "deny");
    let rule = rule_ref("KUBE-POD-FW-AAAA", "-j REJECT", "kube-router");
    let at_source =
        egress.drop_on("node-1", "api-0", "NETFILTER_DROP", 2, FRESH).walked(Outcome::Rejected, rule);
    assert_eq!(cause(at_source), Some("N2"));
    let labels = Build::shop().admits_pods("shop", "allow", "app", "frontend");
    assert_eq!(cause(dropped(labels, "calico", FRESH)), Some("N3"));
    assert_eq!(cause(dropped(Build::shop(), "kube-router", FRESH)), None);
    assert_eq!(cause(dropped(Build::shop().admits_all("shop", "allow"), "calico", FRESH)), None);
}

#[test]
fn a_forward_policy_and_a_rule_of_nobody() {
    let policy = rule_ref("FORWARD", "policy DROP", "");
    let build = Build::shop().drop_on("node-2", "api-0", "NETFILTER_DROP", 2, FRESH);
    assert_eq!(cause(build.walked(Outcome::Dropped, policy)), Some("H2"));
    assert_eq!(cause(dropped(Build::shop(), "", FRESH)), Some("H27"));
    assert_eq!(cause(dropped(Build::shop(), "firewalld", FRESH)), Some("H27"));
}

#[test]
fn no_socket_is_the_port_of_the_service_or_of_the_pod() {
    let no_socket = |build: Build| cause(build.no_socket("api-0", 2, FRESH));
    assert_eq!(no_socket(Build::shop().declares("api-0", 9090)), Some("S5"));
    // It may listen on loopback alone.
    assert_eq!(no_socket(Build::shop().declares("api-0", 8080)), None);
    assert_eq!(no_socket(Build::shop()), None);
    let down = Build::shop().declares("api-0", 8080).objects(|set| {
        Build::pod(set, "api-0").containers[0].state = ContainerState::Waiting("CrashLoopBackOff".into());
    });
    assert_eq!(no_socket(down), Some("P1"));
    let stray = Build::shop()
        .declares("api-0", 9090)
        .objects(|set| Build::service(set).ports[0].target = TargetPort::Number(9090));
    assert_eq!(no_socket(stray), Some("P1"));
    // Without the Services nobody knows whether one sends there.
    let unread = Build::shop().objects(|set| set.coverage.services = false);
    assert_eq!(no_socket(unread), None);
}

#[test]
fn a_reason_alone_tells_no_cause() {
    assert_eq!(cause(empty().drop_at_source(2, FRESH)), None);
    assert_eq!(cause(Build::shop().drop_on("node-2", "api-0", "IP_RPFILTER", 2, FRESH)), None);
    let case = rejected(empty(), FRESH).case();
    let reply = model::DropRecord { reply: true, ..case.drops[0].clone() };
    assert_eq!(likely_cause(&case.objects, &reply, NOW), None);
}

#[test]
fn drops_that_differ_in_time_alone_are_looked_at_once() {
    let case = rejected(empty(), FRESH).case();
    let fresh = &case.drops[0];
    let walk = fresh.walk.as_deref();
    let old = model::DropRecord { last_at: NOW.minus_ms(OLD), walk: None, ..fresh.clone() };
    let s3 = Some(Likely { id: "S3", slug: "selector-matches-nothing" });
    let mut causes = DropCauses::new(Arc::clone(&case.objects));
    // An old drop first: what it lacks is not taken for what later ones lack.
    assert!(!causes.holds(&old, walk));
    assert_eq!(causes.of(&old, walk, NOW), None);
    assert!(causes.holds(fresh, walk));
    assert_eq!(causes.of(fresh, walk, NOW), s3);
    assert_eq!(causes.of(fresh, None, NOW), None);
    assert_eq!(DropCauses::new(Arc::new(ObjectSet::default())).of(fresh, walk, NOW), None);
}
