//! The two classic faults from YAML alone, and both together, as `--objects` would be given them.
//!
//! Nothing is answered by a node here: what is found rests on objects, and is never called proven.

use std::collections::BTreeMap;
use std::sync::Arc;

use diagnose::diagnose;
use model::{Basis, Case, Certainty, Explanation, Timestamp, Verdict};
use objects::Reader;
use objects::resolve::{self, Ask};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Fault one: the selector says my-app, the pod my-application. And what the cluster makes of it.
const SELECTOR: &str = include_str!("manifests/selector.yaml");
const SELECTOR_SLICE: &str = include_str!("manifests/selector-slice.yaml");
/// Fault two: targetPort 8080, container port 80. And what the cluster makes of it.
const TARGET: &str = include_str!("manifests/target-port.yaml");
const TARGET_SLICE: &str = include_str!("manifests/target-port-slice.yaml");

fn ask(files: &[&str], source: &str, destination: &str) -> Explanation {
    let mut reader = Reader::new(NOW);
    for (index, text) in files.iter().enumerate() {
        reader.add(&format!("file-{index}.yaml"), NOW.minus_ms(60_000), text);
    }
    let read = reader.finish().expect("valid manifests");
    let asked = Ask {
        source: source.into(),
        destination: destination.into(),
        now: NOW,
        default_window: 600_000,
        ..Ask::default()
    };
    let question = resolve::question(&read.set, &asked).expect("a question that can be asked");
    let case = Case {
        now: NOW,
        question,
        objects: Arc::new(read.set),
        nodes: BTreeMap::new(),
        live: false,
        answers: Vec::new(),
        drops: Vec::new(),
        gaps: Vec::new(),
    };
    diagnose(&case)
}

/// The same manifest with the status a cluster would give its pod.
fn running(manifest: &str, address: &str) -> String {
    format!(
        "{manifest}  nodeName: node-1\nstatus:\n  phase: Running\n  podIP: {address}\n  podIPs:\n  - ip: {address}\n  \
         conditions:\n  - type: Ready\n    status: \"True\"\n"
    )
}

/// The same manifest in another namespace.
fn moved(manifest: &str, namespace: &str) -> String {
    manifest
        .replace("metadata:\n", &format!("metadata:\n  namespace: {namespace}\n"))
        .replace("    namespace: default\n", &format!("    namespace: {namespace}\n"))
}

fn without_target_ref(slice: &str) -> String {
    let (before, after) = slice.split_once("  targetRef:").expect("a targetRef");
    let (_, ports) = after.split_once("ports:").expect("ports");
    format!("{before}ports:{ports}")
}

#[track_caller]
fn finds(answer: &Explanation, id: &str) {
    let first = answer.findings.first().unwrap_or_else(|| panic!("nothing found: {}", answer.summary));
    assert_eq!(first.id, id, "{}", answer.summary);
    assert_eq!(answer.verdict, Verdict::Rejected, "{}", answer.summary);
    assert_eq!((answer.basis, answer.certainty), (Basis::Objects, Certainty::Likely), "{}", answer.summary);
}

#[track_caller]
fn delivers(answer: &Explanation, selects: &str) {
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
    assert!(answer.findings.is_empty(), "{}", answer.summary);
    assert!(answer.summary.contains(selects), "{}", answer.summary);
    let out = answer.ruled_out.iter().find(|out| out.id == "S3").expect("S3 is ruled out");
    assert!(out.why.contains(selects), "{}", out.why);
}

#[test]
fn a_selector_that_matches_nothing_with_and_without_its_slice() {
    let missing = SELECTOR_SLICE.replace("endpoints: []\n", "");
    let null = SELECTOR_SLICE.replace("endpoints: []", "endpoints: null");
    let alive = running(SELECTOR, "10.244.1.16");
    for manifest in [SELECTOR, &alive] {
        for source in ["any", "my-application", "203.0.113.9", "10.244.1.16"] {
            finds(&ask(&[manifest], source, "my-service:80"), "S3");
            for slice in [SELECTOR_SLICE, &missing, &null] {
                let answer = ask(&[manifest, slice], source, "my-service");
                finds(&answer, "S3");
                assert_eq!(
                    answer.findings[0].fixes[0].command,
                    "kubectl -n default patch service my-service -p \
                     '{\"spec\":{\"selector\":{\"app\":\"my-application\"}}}'"
                );
            }
        }
    }
}

#[test]
fn a_target_port_nobody_declares_with_and_without_its_slice() {
    let anonymous = without_target_ref(TARGET_SLICE);
    let alive = running(TARGET, "10.244.1.17");
    for manifest in [TARGET, &alive] {
        for source in ["any", "my-app", "203.0.113.9", "10.244.1.99"] {
            finds(&ask(&[manifest], source, "my-other-service:80"), "S5");
            for slice in [TARGET_SLICE, &anonymous] {
                let answer = ask(&[manifest, slice], source, "my-other-service");
                finds(&answer, "S5");
                assert!(answer.findings[0].fixes[0].command.contains("\"value\":80"));
            }
        }
    }
}

#[test]
fn other_namespaces_are_no_different() {
    let [selector, slice] = [SELECTOR, SELECTOR_SLICE].map(|text| moved(text, "team-a"));
    finds(&ask(&[&selector, &slice], "any", "team-a/my-service:80"), "S3");
    let [target, slice] = [TARGET, TARGET_SLICE].map(|text| moved(text, "team-b"));
    finds(&ask(&[&target, &slice], "team-b/my-app", "team-b/my-other-service:80"), "S5");
    // A pod that would fit stands in another namespace, and a selector does not look there.
    let answer = ask(&[&selector, &moved(TARGET, "team-b")], "any", "team-a/my-service");
    finds(&answer, "S3");
}

#[test]
fn both_together_the_first_service_is_not_at_fault() {
    let both = [SELECTOR, TARGET];
    delivers(&ask(&both, "any", "my-service:80"), "default/my-app");
    let all = [SELECTOR, SELECTOR_SLICE, TARGET, TARGET_SLICE];
    for source in ["any", "my-application", "203.0.113.9"] {
        finds(&ask(&all, source, "my-other-service"), "S5");
    }
    // The slice of the first was written before the second's pod: it follows when both are applied, and is told.
    let answer = ask(&all, "my-application", "my-service");
    delivers(&answer, "default/my-app");
    assert!(answer.not_checked.iter().any(|gap| gap.why.contains("behind the pods")));
    // The first Service's slice as the cluster writes it then.
    let followed = TARGET_SLICE
        .replace("my-other-service", "my-service")
        .replace("name: my-service-p9q4c", "name: my-service-x7k2p")
        .replace("8080", "80");
    delivers(&ask(&[SELECTOR, &followed, TARGET, TARGET_SLICE], "any", "my-service"), "default/my-app");
}

#[test]
fn a_ready_pod_that_the_slice_leaves_out_is_the_slices_doing() {
    let alive = running(TARGET, "10.244.1.17");
    let answer = ask(&[SELECTOR, SELECTOR_SLICE, &alive, TARGET_SLICE], "any", "my-service");
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
    assert!(answer.findings.is_empty(), "{}", answer.summary);
    assert_eq!(
        answer.summary,
        "default/my-service selects default/my-app, but its EndpointSlices do not list it: they are behind the pods."
    );
}

#[test]
fn both_together_with_one_target_port_blames_no_port_that_no_slice_shows() {
    let first = SELECTOR.replace("targetPort: 80", "targetPort: 8080");
    // Without slices a declared port is all there is.
    finds(&ask(&[&first, TARGET], "any", "my-service"), "S5");
    // With slices that leave the pod out, neither selector nor port is blamed, and nothing is promised.
    let answer = ask(&[&first, SELECTOR_SLICE, TARGET, TARGET_SLICE], "any", "my-service");
    assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
    assert!(answer.findings.is_empty(), "{}", answer.summary);
    assert!(answer.summary.contains("my-service selects default/my-app"), "{}", answer.summary);
    // With slices that list it on that port, it is as with the second Service.
    let listed = TARGET_SLICE.replace("my-other-service", "my-service").replace("p9q4c", "x7k2p");
    finds(&ask(&[&first, &listed, TARGET, TARGET_SLICE], "any", "my-service"), "S5");
}

#[test]
fn a_pod_without_declared_ports_contradicts_nothing() {
    let silent = TARGET.replace("    ports:\n    - containerPort: 80\n", "");
    let answer = ask(&[&silent], "any", "my-other-service");
    assert_eq!(answer.verdict, Verdict::Delivered, "{}", answer.summary);
    assert_eq!(answer.basis, Basis::Objects);
}

#[test]
fn a_deployment_without_its_pods_is_not_taken_for_no_pod() {
    for (manifest, service) in [(SELECTOR, "my-service"), (TARGET, "my-other-service")] {
        let deployment =
            manifest.replace("apiVersion: v1\nkind: Pod", "apiVersion: apps/v1\nkind: Deployment");
        assert_ne!(deployment, manifest);
        let answer = ask(&[&deployment], "any", service);
        assert_eq!(answer.verdict, Verdict::Inconclusive, "{}", answer.summary);
        assert!(answer.summary.contains("1 Deployment"), "{}", answer.summary);
        assert!(answer.findings.is_empty(), "{}", answer.summary);
    }
}
