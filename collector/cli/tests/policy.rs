//! `why-dropped policy` as a process: objects in, verdicts out.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const OBJECTS: &str = r"
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
metadata: {name: client, namespace: web, labels: {role: client}}
spec: {nodeName: node-1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.244.1.9, podIPs: [{ip: 10.244.1.9}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api-0, namespace: shop, labels: {app: api}}
spec: {nodeName: node-2, containers: [{name: c, image: x, ports: [{containerPort: 8080, name: http}]}]}
status: {phase: Running, podIP: 10.244.2.14, podIPs: [{ip: 10.244.2.14}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress]
  ingress:
    - from: [{namespaceSelector: {matchLabels: {team: web}}, podSelector: {matchLabels: {role: allowed-client}}}]
      ports: [{port: 8080}]
    - from: [{ipBlock: {cidr: 192.0.2.0/24}}]
";

fn run(words: &[&str], input: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("objects.yaml"), OBJECTS).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .current_dir(directory.path())
        .arg("policy")
        .args(words)
        .env("COLUMNS", "90")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that refuses its arguments reads nothing.
    drop(child.stdin.take().expect("piped").write_all(input.as_bytes()));
    child.wait_with_output().expect("the program ends")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn a_batch_has_a_verdict_for_each_line() {
    let input = r#"{"id":1,"src":"web/client","dst":"shop/api-0","port":8080,"proto":"TCP"}
{"id":2,"src":"192.0.2.7","dst":"shop/api-0","port":1,"proto":"udp"}
{"id":3,"src":"shop/api-0","dst":"web/client","port":80,"proto":"tcp"}
{"id":4,"src":"web/clinet","dst":"shop/api-0","port":80,"proto":"tcp"}
{"id":5,"src":"client","dst":"shop/api-0","port":80}
{"id":6,"src":"web/client","dst":"10.244.2.14","port":0}
{"id":7,"src":"web/client","dst":"shop/api-0"}"#;
    let output = run(&["--objects", "objects.yaml", "--batch", "-"], input);
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    let said = out(&output);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines[0],
        json!({
            "id": 1,
            "verdict": "DENY",
            "egress": { "effect": "ALLOW", "isolated": false, "policies": [] },
            "ingress": { "effect": "DENY", "isolated": true, "policies": [
                {
                    "kind": "NetworkPolicy", "policy": "shop/allow-web", "effect": "PEER_MISMATCH", "rule": 1,
                    "nearMiss": lines[0]["ingress"]["policies"][0]["nearMiss"],
                },
                {
                    "kind": "NetworkPolicy", "policy": "shop/default-deny", "effect": "NO_RULES", "rule": null,
                    "nearMiss": "",
                },
            ]},
        })
    );
    let near_miss = lines[0]["ingress"]["policies"][0]["nearMiss"].as_str().expect("text");
    assert!(near_miss.contains("role=allowed-client") && near_miss.contains("role=client"), "{near_miss}");
    assert!(
        said.starts_with(r#"{"id":1,"verdict":"DENY","egress":{"effect":"#),
        "fields in their order: {said}"
    );
    assert_eq!((&lines[1]["verdict"], &lines[2]["verdict"]), (&json!("ALLOW"), &json!("ALLOW")));
    assert_eq!(
        lines[1]["ingress"]["policies"],
        json!([{ "kind": "NetworkPolicy", "policy": "shop/allow-web", "effect": "ALLOWS", "rule": 2, "nearMiss": "" }])
    );
    assert_eq!(
        lines[3],
        json!({ "id": 4, "line": 4, "error": "src: no pod `web/clinet`; did you mean `web/client`?" })
    );
    assert_eq!(lines[4]["error"], "src: `client` is neither NAMESPACE/POD nor an address");
    assert_eq!(lines[5]["error"], "port: 0 is no port");
    assert_eq!(lines[6]["error"], "missing field `port`");
}

#[test]
fn one_connection_is_told_with_what_is_missing() {
    for words in [
        &["--objects", "objects.yaml", "web/client", "shop/api-0:8080"][..],
        &["eval", "--objects", "objects.yaml", "--", "web/client", "shop/api-0:8080"],
        &["web/client", "shop/api-0:8080", "--objects", "objects.yaml"],
    ] {
        let output = run(words, "");
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        insta::assert_snapshot!("denied", out(&output));
    }
    let allowed = run(&["--objects", "objects.yaml", "shop/api-0", "web/client:80"], "");
    assert_eq!(allowed.status.code(), Some(0), "{}", err(&allowed));
    let json = run(&["-o", "json", "--objects", "objects.yaml", "--", "web/client", "shop/api-0:8080"], "");
    let json: Value = serde_json::from_str(&out(&json)).expect("JSON");
    assert_eq!(json["verdict"], "DENY");
}

#[test]
fn mistakes_are_told_and_nothing_is_printed() {
    for (words, why) in [
        (&["--objects", "objects.yaml", "web/client"][..], "SRC and DST are needed"),
        (&["--objects", "-", "--batch", "-"], "cannot both come from standard input"),
        (&["--objects", "objects.yaml", "--batch", "none"], "read none: No such file"),
        (&["--objects", "none.yaml", "--batch", "-"], "none.yaml"),
        (&["--objects", "objects.yaml", "--", "web/clinet", "shop/api-0:8080"], "did you mean `web/client`?"),
        (&["--objects", "objects.yaml", "--", "192.0.2.1", "192.0.2.2:80"], "no pod is at either end"),
        (&["web/client", "shop/api-0:80"], "--objects"),
    ] {
        let output = run(words, "");
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""), "{words:?}");
        assert!(err(&output).contains(why), "{words:?}: {}", err(&output));
    }
}
