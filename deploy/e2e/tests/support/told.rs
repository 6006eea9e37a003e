//! Every cause of the spine as a user meets it: a real fault, a real lost SYN, the three binaries, the whole answer.
//!
//! Each story checks first that the fault is real (what the kernel does to the connection), then what is said about it.
//! It is told in any [`Setting`]: in the lab, and in a real Kubernetes with each kind of kube-proxy.

use netlab::ConnectOutcome::{Connected, Refused, TimedOut};

use crate::support::{Setting, Story, addr};

const API: &str = "10.96.12.7:80";

/// Makes a test of each story in one setting.
macro_rules! all {
    ($setting:expr) => {
        $crate::told::all!(
            $setting,
            healthy_service_is_delivered_without_a_finding,
            s1_no_such_service_names_the_nearest,
            d1_right_name_wrong_namespace,
            s2_port_not_listed,
            s3_selector_matches_nothing,
            s5_wrong_target_port_names_the_one_that_listens,
            e1_no_ready_endpoint_says_why_each_is_not,
            p1_nothing_listens,
            p2_listens_on_loopback_only,
            partial_tells_how_many_of_how_many,
            n1_default_deny_ingress,
            n2_default_deny_egress,
            n3_near_miss_shows_the_label,
            n20_a_policy_that_admits_is_not_blamed,
            k18_service_missing_from_this_nodes_rules,
            h2_forward_policy_drop,
            a_silent_agent_turns_proof_into_something_honest,
            a_mended_fault_is_history_and_blames_nobody,
        );
    };
    ($setting:expr, $($story:ident,)+) => {
        $(
            #[test]
            fn $story() {
                $crate::told::$story($setting);
            }
        )+
    };
}
pub(crate) use all;

pub fn healthy_service_is_delivered_without_a_finding(world: Setting) {
    Story::new(world, "healthy", &["healthy.yaml"])
        .connects(API, Connected)
        .ask("web/client", "shop/api:80")
        .verdict("DELIVERED", "LIKELY", 0)
        .no_findings();
}

pub fn s1_no_such_service_names_the_nearest(world: Setting) {
    Story::new(world, "s1", &["healthy.yaml"])
        .ask("web/client", "shop/apu:80")
        .verdict("UNRESOLVED", "LIKELY", 1)
        .first("S1");
}

pub fn d1_right_name_wrong_namespace(world: Setting) {
    Story::new(world, "d1", &["healthy.yaml"])
        .ask("web/client", "api:80")
        .verdict("UNRESOLVED", "LIKELY", 1)
        .first("D1");
}

pub fn s2_port_not_listed(world: Setting) {
    Story::new(world, "s2", &["healthy.yaml"])
        .connects_by_mode("10.96.12.7:81", TimedOut, Refused)
        .ask("web/client", "shop/api:81")
        .first("S2")
        .exit(1);
}

pub fn s3_selector_matches_nothing(world: Setting) {
    Story::new(world, "s3", &["selector.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("S3");
}

pub fn s5_wrong_target_port_names_the_one_that_listens(world: Setting) {
    Story::new(world, "s5", &["target-port.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("S5");
}

pub fn e1_no_ready_endpoint_says_why_each_is_not(world: Setting) {
    Story::new(world, "e1", &["not-ready.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("E1");
}

pub fn p1_nothing_listens(world: Setting) {
    Story::new(world, "p1", &["one-backend.yaml"])
        .deaf("shop/api-0")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P1");
}

pub fn p2_listens_on_loopback_only(world: Setting) {
    Story::new(world, "p2", &["one-backend.yaml"])
        .ears("shop/api-0", &[addr("127.0.0.1:8080")])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P2");
}

pub fn partial_tells_how_many_of_how_many(world: Setting) {
    Story::new(world, "partial", &["three-backends.yaml"])
        .deaf("shop/api-0")
        .deaf("shop/api-2")
        .connects_until_dropped(API, &["10.244.2.14", "10.244.2.15"])
        .ask("web/client", "shop/api:80")
        .verdict("PARTIAL", "PROVEN", 1)
        .first("P1");
}

pub fn n1_default_deny_ingress(world: Setting) {
    Story::new(world, "n1", &["deny-ingress.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N1");
}

pub fn n2_default_deny_egress(world: Setting) {
    Story::new(world, "n2", &["deny-egress.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N2");
}

pub fn n3_near_miss_shows_the_label(world: Setting) {
    Story::new(world, "n3", &["near-miss.yaml"])
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("N3");
}

pub fn n20_a_policy_that_admits_is_not_blamed(world: Setting) {
    Story::new(world, "n20", &["innocent-policy.yaml"])
        .deaf("shop/api-0")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("REJECTED", "PROVEN", 1)
        .first("P1")
        .mentions("N20");
}

pub fn k18_service_missing_from_this_nodes_rules(world: Setting) {
    Story::new(world, "k18", &["healthy.yaml"])
        .without_rules_of("node-1", "shop/api")
        .grows_old("web/client", "shop/api:80")
        .connects(API, TimedOut)
        .ask("web/client", "shop/api:80")
        .first("K18")
        .exit(1);
}

pub fn h2_forward_policy_drop(world: Setting) {
    Story::new(world, "h2", &["one-backend.yaml"])
        .forward_policy_drop("node-2")
        .connects(API, TimedOut)
        .ask("web/client", "shop/api:80")
        .verdict("DROPPED", "PROVEN", 1)
        .first("H2");
}

pub fn a_silent_agent_turns_proof_into_something_honest(world: Setting) {
    Story::new(world, "silent", &["one-backend.yaml"])
        .deaf("shop/api-0")
        .crash_agent("node-2")
        .connects(API, Refused)
        .ask("web/client", "shop/api:80")
        .verdict("INCONCLUSIVE", "POSSIBLE", 3);
}

pub fn a_mended_fault_is_history_and_blames_nobody(world: Setting) {
    Story::new(world, "mended", &["selector.yaml"])
        .connects(API, Refused)
        .on_stage(|stage| {
            let broken = stage.ask("web/client", "shop/api:80").unwrap();
            let said = (broken.first_id(), broken.field("certainty"));
            assert_eq!(said, ("S3", "PROVEN"), "{}", broken.printed.stdout);
            stage.edit("selector: {app: my-app}", "selector: {app: my-application}").unwrap();
        })
        .connects(API, Connected)
        .on_stage(|stage| {
            let mended = stage.ask("web/client", "shop/api:80").unwrap();
            assert_eq!(mended.field("verdict"), "DELIVERED", "{}", mended.printed.stdout);
            assert_eq!(mended.json["findings"], serde_json::json!([]), "{}", mended.printed.stdout);
            assert_eq!(mended.printed.code, Some(0));
        });
}
