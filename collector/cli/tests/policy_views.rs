//! `policy matrix`, `policy diff` and `check` as programs: text, JSON, exit codes; and the changes that `policy` offers,
//! applied to the manifests to see that they admit.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const PODS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {team: web}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Pod
metadata:
  name: client-1
  namespace: web
  labels: {role: client, pod-template-hash: abc}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: client-abc, controller: true}]
spec: {nodeName: node-1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.244.1.9, podIPs: [{ip: 10.244.1.9}]}
---
apiVersion: v1
kind: Pod
metadata: {name: visitor, namespace: web, labels: {role: visitor}}
spec: {nodeName: node-1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.244.1.10, podIPs: [{ip: 10.244.1.10}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api-0, namespace: shop, labels: {app: api}}
spec: {nodeName: node-2, containers: [{name: c, image: x, ports: [{containerPort: 8080, name: http}]}]}
status: {phase: Running, podIP: 10.244.2.14, podIPs: [{ip: 10.244.2.14}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.96.0.9, selector: {app: api}, ports: [{port: 80, targetPort: http}]}
";

const CLOSED: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: web}}, podSelector: {matchLabels: {role: client}}}]
    ports: [{port: http}]
";

const OPENER: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: web}}}]
    ports: [{port: http}, {port: 9090, endPort: 9099}]
";

fn run(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .current_dir(directory)
        .args(words)
        .env("COLUMNS", "100")
        .output()
        .expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&out(output))
        .unwrap_or_else(|error| panic!("{error}: {}{}", out(output), err(output)))
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("write");
    }
    directory
}

#[test]
fn a_matrix_of_workloads() {
    let directory = directory(&[("pods.yaml", PODS), ("policies.yaml", CLOSED)]);
    let words = ["policy", "matrix", "--objects", "pods.yaml", "policies.yaml", "--by", "workload"];
    let table = run(directory.path(), &words);
    assert_eq!(table.status.code(), Some(0), "{}", err(&table));
    insta::assert_snapshot!("matrix", out(&table));
    let cells = json_of(&run(directory.path(), &[&words[..], &["-o", "json"]].concat()));
    assert_eq!(cells["by"], "workload");
    let cell = |from: &str, to: &str| {
        let cells = cells["cells"].as_array().expect("cells");
        cells.iter().find(|cell| cell["from"] == from && cell["to"] == to).cloned().unwrap_or_default()
    };
    assert_eq!(
        cell("web/deploy/client", "shop/api-0"),
        json!({"from": "web/deploy/client", "to": "shop/api-0", "reach": "PORTS", "every": ["8080/tcp"],
               "some": ["8080/tcp"], "unknown": []})
    );
    assert_eq!(cell("web/visitor", "shop/api-0")["reach"], "NONE");
    assert_eq!(cell("shop/api-0", "web/visitor")["reach"], "ALL");
    assert_eq!(cell("web/visitor", "web/visitor"), Value::Null, "a pod alone with itself is no pair");
}

#[test]
fn a_matrix_of_namespaces_mixes_what_its_pods_reach() {
    let directory = directory(&[("pods.yaml", PODS), ("policies.yaml", CLOSED)]);
    let words = ["policy", "matrix", "--objects", "pods.yaml", "policies.yaml"];
    insta::assert_snapshot!("matrix_namespaces", out(&run(directory.path(), &words)));
    let port = json_of(&run(directory.path(), &[&words[..], &["--port", "8080", "-o", "json"]].concat()));
    assert_eq!(port["port"], "8080/tcp");
    let web_to_shop = port["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .find(|cell| cell["from"] == "web" && cell["to"] == "shop");
    assert_eq!(web_to_shop.expect("a cell")["reach"], "SOME");
    for (more, why) in [(&["--port", "x"][..], "no port"), (&["-n", "nowhere"], "no pod among the objects")] {
        let output = run(directory.path(), &[&words[..], more].concat());
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""), "{more:?}");
        assert!(err(&output).contains(why), "{}", err(&output));
    }
}

#[test]
fn a_list_where_a_table_has_no_room() {
    let many = OPENER.replace("{port: 9090,", "{port: 443}, {port: 3000, endPort: 3100}, {port: 9090,");
    let directory = directory(&[("pods.yaml", PODS), ("policies.yaml", &many)]);
    let narrow = Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .current_dir(directory.path())
        .args(["policy", "matrix", "--by", "pod", "--objects", "pods.yaml", "policies.yaml"])
        .env("COLUMNS", "60")
        .output()
        .expect("the program runs");
    insta::assert_snapshot!("matrix_list", out(&narrow));
}

#[test]
fn what_a_change_opens_and_closes() {
    let directory = directory(&[("pods.yaml", PODS), ("old.yaml", CLOSED), ("new.yaml", OPENER)]);
    let diff = |old: &str, new: &str, more: &[&str]| {
        run(directory.path(), &[&["policy", "diff", old, new, "--objects", "pods.yaml"], more].concat())
    };
    let opens = diff("old.yaml", "new.yaml", &[]);
    assert_eq!(opens.status.code(), Some(1), "{}", err(&opens));
    insta::assert_snapshot!("diff", out(&opens));
    let same = diff("old.yaml", "old.yaml", &[]);
    assert_eq!((same.status.code(), out(&same).as_str()), (Some(0), "nothing opens or closes\n"));
    let closes = json_of(&diff("new.yaml", "old.yaml", &["-o", "json"]));
    assert_eq!(closes["opened"], json!([]));
    assert_eq!(
        closes["closed"],
        json!([
            {"from": "web/deploy/client", "to": "shop/api-0", "ports": ["9090-9099/tcp"], "partly": false},
            {"from": "web/visitor", "to": "shop/api-0", "ports": ["8080/tcp", "9090-9099/tcp"], "partly": false},
        ])
    );
    let by_namespace = json_of(&diff("old.yaml", "new.yaml", &["--by", "namespace", "-o", "json"]));
    assert_eq!(
        by_namespace["opened"],
        json!([{"from": "web", "to": "shop", "ports": ["8080/tcp", "9090-9099/tcp"], "partly": true}]),
        "8080 was open to some"
    );
    let missing = diff("none.yaml", "new.yaml", &[]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn expectations_hold_or_fail_with_the_explanation() {
    let expectations = "\
- {from: web/deploy/client, to: 'shop/api:80', expect: allowed}
- {from: web/visitor, to: 'shop/api:80', expect: denied, name: no visitors}
- {from: [web/visitor, web/deploy/client], to: 'shop/api-0:9090', expect: allowed}
";
    let directory = directory(&[("pods.yaml", PODS), ("policies.yaml", CLOSED), ("e.yaml", expectations)]);
    let words = ["check", "-f", "e.yaml", "--objects", "pods.yaml", "policies.yaml"];
    let failed = run(directory.path(), &words);
    assert_eq!(failed.status.code(), Some(1), "{}", err(&failed));
    insta::assert_snapshot!("check", out(&failed));
    let told = json_of(&run(directory.path(), &[&words[..], &["-o", "json"]].concat()));
    let holds: Vec<&Value> = told.as_array().expect("a list").iter().map(|one| &one["holds"]).collect();
    assert_eq!(holds, [&json!(true), &json!(true), &json!(false), &json!(false)]);
    assert_eq!(told[2]["verdict"], "DENY");

    let check = |text: &str| {
        fs::write(directory.path().join("e.yaml"), text).expect("write");
        let output = run(directory.path(), &words);
        (output.status.code(), out(&output) + &err(&output))
    };
    let (code, said) = check("- {from: web/visitor, to: 'shop/api:80', expect: denied}");
    assert_eq!((code, said.as_str()), (Some(0), "1 expectation: 1 holds\n"));
    let (code, said) = check("- {from: 203.0.113.9, to: 'shop/api-0:1', expect: denied}");
    assert_eq!(code, Some(0), "selectors never mean the outside: {said}");
    let (code, said) = check("- {from: web/nobody, to: 'shop/api:80', expect: denied}");
    assert!(code == Some(2) && said.contains("web/nobody"), "{code:?} {said}");
    let (code, said) = check("- {from: web/visitor, too: x}");
    assert!(code == Some(2) && said.contains("expectation 1: unknown field `too`"), "{code:?} {said}");
    fs::write(directory.path().join("policies.yaml"), "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a, namespace: shop}\nspec: {endpointSelector: {}}\n")
        .expect("write");
    let (code, said) = check("- {from: web/visitor, to: 'shop/api:80', expect: allowed}");
    assert!(
        code == Some(3) && said.contains("CiliumNetworkPolicy shop/a is not evaluated"),
        "{code:?} {said}"
    );
}

/// The rule that adds a value, of RFC 6902.
fn add(document: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('/').expect("a path");
    match document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => items.insert(last.parse().expect("an index"), value),
        Value::Object(map) => drop(map.insert(last.to_owned(), value)),
        other => panic!("{parent} is {other}"),
    }
}

#[test]
fn what_is_offered_admits_what_was_denied() {
    let network = |spec: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    };
    let cluster = |tier: &str, rules: Value| {
        json!({"apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"},
        "spec": {"tier": tier, "priority": 5, "subject": {"namespaces": {}}, "ingress": rules}})
    };
    let older = |kind: &str, mut spec: Value| {
        spec["subject"] = json!({"namespaces": {}});
        let name = if kind.starts_with("Base") { "default" } else { "p" };
        json!({"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    };
    let everybody = json!([{"namespaces": {}}]);
    let deny = json!([{"action": "Deny", "from": everybody}]);
    let policies = [
        ("no rule", network(json!({"podSelector": {}}))),
        ("an empty list", network(json!({"podSelector": {}, "ingress": []}))),
        ("another peer", network(json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}))),
        ("another port", network(json!({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}))),
        (
            "neither",
            network(
                json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}),
            ),
        ),
        (
            "a hole",
            network(json!({"podSelector": {}, "ingress": [{"from": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.0.0/16"]}}]}]})),
        ),
        ("Admin", cluster("Admin", deny.clone())),
        ("Baseline", cluster("Baseline", deny.clone())),
        (
            "behind another rule",
            cluster(
                "Admin",
                json!([{"action": "Accept", "from": [{"namespaces": {"matchLabels": {"team": "x"}}}]},
                                    {"action": "Deny", "from": everybody}]),
            ),
        ),
        ("Admin of the older API", older("AdminNetworkPolicy", json!({"priority": 5, "ingress": deny}))),
        ("Baseline of the older API", older("BaselineAdminNetworkPolicy", json!({"ingress": deny}))),
    ];
    for (what, mut policy) in policies {
        let directory = directory(&[("pods.yaml", PODS), ("policy.json", &policy.to_string())]);
        let ask = || {
            let words = [
                "policy",
                "-o",
                "json",
                "web/client-1",
                "shop/api-0:8080",
                "--objects",
                "pods.yaml",
                "policy.json",
            ];
            run(directory.path(), &words)
        };
        let denied = ask();
        assert_eq!(denied.status.code(), Some(1), "{what}: {}", err(&denied));
        let told = json_of(&denied);
        let offered = &told["ingress"]["patch"];
        let patch: Value =
            serde_json::from_str(offered["json"].as_str().unwrap_or_else(|| panic!("{what}: {told}")))
                .expect("a JSON patch");
        assert_eq!(offered["kind"], policy["kind"]);
        for operation in patch.as_array().expect("a list") {
            assert_eq!(operation["op"], "add");
            add(&mut policy, operation["path"].as_str().expect("a path"), operation["value"].clone());
        }
        fs::write(directory.path().join("policy.json"), policy.to_string()).expect("write");
        let allowed = ask();
        assert_eq!(allowed.status.code(), Some(0), "{what}: {policy}\n{}{}", out(&allowed), err(&allowed));
        assert_eq!(json_of(&allowed)["ingress"].get("patch"), None, "nothing to change any more");
    }
}
