//! Every cause of the spine as a user meets it: a real fault, a real lost SYN, the three binaries, the whole answer.
//!
//! Each story checks first that the fault is real (what the kernel does to the connection), then what is said about it.

#![expect(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

mod support;

use netlab::ConnectOutcome::{Connected, Refused, TimedOut};
use support::{Story, addr};

const API: &str = "10.96.12.7:80";

#[test]
fn healthy_service_is_delivered_without_a_finding() {
    Story::new("healthy", &["healthy.yaml"])
        .connects(API, Connected)
        .ask("web/client", "shop/api:80")
        .verdict("DELIVERED", "LIKELY", 0)
        .no_findings();
}

#[test]
fn s1_no_such_service_names_the_nearest() {
    Story::new("s1", &["healthy.yaml"])
        .ask("web/client", "shop/apu:80")
        .verdict("UNRESOLVED", "LIKELY", 1)
        .first("S1");
}

#[test]
fn d1_right_name_wrong_namespace() {
    Story::new("d1", &["healthy.yaml"])
        .ask("web/client", "api:80")
        .verdict("UNRESOLVED", "LIKELY", 1)
        .first("D1");
}

#[test]
fn s2_port_not_listed() {
    Story::new("s2", &["healthy.yaml"])
        .connects("10.96.12.7:81", TimedOut)
        .ask("web/client", "shop/api:81")
        .first("S2")
        .exit(1);
}

#[test]
fn s3_selector_matches_nothing() {
    Story::new("s3", &["selector.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("S3");
}

#[test]
fn s5_wrong_target_port_names_the_one_that_listens() {
    Story::new("s5", &["target-port.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("S5");
}

#[test]
fn e1_no_ready_endpoint_says_why_each_is_not() {
    Story::new("e1", &["not-ready.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("E1");
}

#[test]
fn p1_nothing_listens() {
    Story::new("p1", &["one-backend.yaml"])
        .deaf("shop/api-0")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P1");
}

#[test]
fn p2_listens_on_loopback_only() {
    Story::new("p2", &["one-backend.yaml"])
        .ears("shop/api-0", &[addr("127.0.0.1:8080")])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P2");
}

#[test]
fn partial_tells_how_many_of_how_many() {
    Story::new("partial", &["three-backends.yaml"])
        .deaf("shop/api-0")
        .deaf("shop/api-2")
        .connects_until_dropped(API, &["10.244.2.14", "10.244.2.15"])
        .ask("web/client", "shop/api:80")
        .verdict("PARTIAL", "PROVEN", 1)
        .first("P1");
}

#[test]
fn n1_default_deny_ingress() {
    Story::new("n1", &["deny-ingress.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N1");
}

#[test]
fn n2_default_deny_egress() {
    Story::new("n2", &["deny-egress.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N2");
}

#[test]
fn n3_near_miss_shows_the_label() {
    Story::new("n3", &["near-miss.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N3");
}

#[test]
fn n20_a_policy_that_admits_is_not_blamed() {
    Story::new("n20", &["innocent-policy.yaml"])
        .deaf("shop/api-0")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P1")
        .mentions("N20");
}

#[test]
fn k18_service_missing_from_this_nodes_rules() {
    Story::new("k18", &["healthy.yaml"])
        .without_rules_of("node-1", "shop/api")
        .connects(API, TimedOut)
        .ask("web/client", "shop/api:80")
        .first("K18")
        .exit(1);
}

#[test]
fn h2_forward_policy_drop() {
    Story::new("h2", &["one-backend.yaml"])
        .forward_policy_drop("node-2")
        .connects(API, TimedOut)
        .ask("web/client", "shop/api:80")
        .verdict("DROPPED", "PROVEN", 1)
        .first("H2");
}

#[test]
fn a_silent_agent_turns_proof_into_something_honest() {
    Story::new("silent", &["one-backend.yaml"])
        .deaf("shop/api-0")
        .crash_agent("node-2")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("INCONCLUSIVE", "POSSIBLE", 3);
}
