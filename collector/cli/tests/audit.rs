//! `why-dropped audit` on the states of kube-proxy's own unit tests: rules and the objects they were written for must not
//! differ, rules and the objects of the step after must, by exactly what was changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Unpacks an archive of the corpus; says so and gives nothing if there is none.
fn unpack(kind: &str) -> Option<tempfile::TempDir> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let beside = || workspace.join("../shared/corpus");
    let corpus = std::env::var_os("WHY_DROPPED_CORPUS").map_or_else(beside, PathBuf::from);
    let archive = corpus.join("kube-proxy").join(format!("{kind}.tar.xz"));
    if !archive.is_file() {
        eprintln!("skipped: no kube-proxy corpus at {} (set WHY_DROPPED_CORPUS)", archive.display());
        return None;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let status =
        Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().expect("tar");
    assert!(status.success(), "tar could not unpack {}", archive.display());
    Some(folder)
}

fn cases(folder: &Path, kind: &str) -> Vec<Value> {
    let entries = fs::read_dir(folder.join(kind)).expect("a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let json = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")).collect()
}

fn services(case: &Value) -> &[Value] {
    case["objects"]["services"].as_array().map_or(&[], Vec::as_slice)
}

/// The case's objects as a manifest. What upstream's tests leave out and an API server demands is filled in.
fn manifest(case: &Value) -> String {
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": case["node_name"] },
        "status": { "addresses": [{ "type": "InternalIP", "address": case["node_ips"][0] }] },
    })];
    for service in services(case) {
        let mut service = service.clone();
        service["apiVersion"] = "v1".into();
        service["kind"] = "Service".into();
        let mut spec = service["spec"].take();
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if port["targetPort"] == 0 {
                port["targetPort"] = port["port"].clone();
            }
        }
        let ports = || spec["ports"].as_array().into_iter().flatten();
        if matches!(spec["type"].as_str(), None | Some("ClusterIP"))
            && ports().any(|port| port["nodePort"].is_u64())
        {
            spec["type"] = "NodePort".into();
        }
        if spec["externalTrafficPolicy"] != "Local"
            && let Some(spec) = spec.as_object_mut()
        {
            spec.remove("healthCheckNodePort");
        }
        service["spec"] = spec;
        items.push(service);
    }
    for slice in case["objects"]["endpointslices"].as_array().into_iter().flatten() {
        let mut slice = slice.clone();
        slice["apiVersion"] = "discovery.k8s.io/v1".into();
        slice["kind"] = "EndpointSlice".into();
        items.push(slice);
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

fn audit(rules: &Value, kind: &str, objects: &Value) -> (Option<i32>, Value, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = directory.path().join("node");
    fs::create_dir(&node).expect("a directory");
    let v6 = rules["ip_family"] == "ipv6";
    if kind == "iptables" {
        let name = if v6 { "ip6tables-legacy-save" } else { "iptables-legacy-save" };
        fs::write(node.join(name), rules["rules"].as_str().expect("rules")).expect("write");
    } else {
        let text = match &rules["rules_formats"]["nft_json"] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        fs::write(node.join("nft.json"), text).expect("write");
    }
    let own: Vec<Value> = rules["node_ips"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|ip| {
            let (family, length) = if ip.contains(':') { ("inet6", 64) } else { ("inet", 24) };
            json!({ "family": family, "local": ip, "prefixlen": length })
        })
        .collect();
    let addresses = json!([
        { "ifname": "lo", "addr_info": [{ "family": "inet", "local": "127.0.0.1", "prefixlen": 8 }] },
        { "ifname": "eth0", "addr_info": own },
    ]);
    fs::write(node.join("addresses.json"), addresses.to_string()).expect("write");
    fs::write(node.join("sysctls"), "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n")
        .expect("write");
    let file = directory.path().join("objects.json");
    fs::write(&file, manifest(objects)).expect("write");
    let output = Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .args(["-o", "json", "audit", "--node-name", rules["node_name"].as_str().unwrap_or("node")])
        .arg("--node")
        .arg(&node)
        .arg("--objects")
        .arg(&file)
        .output()
        .expect("the program runs");
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), told, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// States in which upstream's test makes the proxy fail to write what it should: the rules are those of the step before.
fn is_meant_to_differ(case: &Value, told: &Value) -> bool {
    case["source"]["test"] == "TestSyncProxyRulesRepeated"
        && told["differences"]
            .as_array()
            .is_some_and(|all| matches!(&all[..], [one] if one["difference"] == "LEFT_OVER" && one["service"] == "ns4/svc4:p80"))
}

#[test]
fn rules_and_the_objects_they_were_written_for_do_not_differ() {
    for kind in ["iptables", "nftables"] {
        let Some(folder) = unpack(kind) else { return };
        let (mut compared, mut refused, mut meant, mut wrong) = (0, Vec::new(), 0, Vec::new());
        for case in cases(folder.path(), kind) {
            if services(&case).is_empty() {
                continue;
            }
            let (code, told, errors) = audit(&case, kind, &case);
            if code == Some(2) {
                refused.push(format!("{}: {errors}", case["id"]));
                continue;
            }
            compared += told["compared"].as_u64().unwrap_or_default();
            if is_meant_to_differ(&case, &told) {
                meant += 1;
            } else if told["differences"].as_array().is_none_or(|all| !all.is_empty()) {
                wrong.push(format!("{} {}: {}", case["id"], case["source"]["test"], told["differences"]));
            }
        }
        eprintln!(
            "{kind}: {compared} addresses compared, {meant} states meant to differ, {} refused",
            refused.len()
        );
        assert!(compared > 100, "{kind}: too little was compared");
        // Addresses with leading zeros, which no API server takes since 1.31.
        refused.retain(|text| !text.contains("-testbadips-"));
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(wrong.is_empty(), "{kind}: {} states differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn rules_of_the_step_before_differ_by_exactly_what_was_changed() {
    for kind in ["iptables", "nftables"] {
        let Some(folder) = unpack(kind) else { return };
        let mut steps: Vec<Value> = cases(folder.path(), kind)
            .into_iter()
            .filter(|case| {
                case["source"]["test"] == "TestSyncProxyRulesRepeated" && !services(case).is_empty()
            })
            .collect();
        steps
            .sort_by_key(|case| (case["k8s_version"].to_string(), case["source"]["call_site_line"].as_u64()));
        let mut seen = 0;
        for pair in steps.windows(2) {
            let [before, after] = pair else { continue };
            let failed = |case: &Value| is_meant_to_differ(case, &audit(case, kind, case).1);
            if before["k8s_version"] != after["k8s_version"] || failed(before) || failed(after) {
                continue;
            }
            let changed = changed(before, after);
            let (_, told, errors) = audit(before, kind, after);
            let found: std::collections::BTreeSet<String> = told["differences"]
                .as_array()
                .unwrap_or_else(|| panic!("{}: {errors}", after["id"]))
                .iter()
                .map(|one| {
                    one["service"]
                        .as_str()
                        .unwrap_or_default()
                        .split(':')
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect();
            assert_eq!(found, changed, "{} after {}: {}", after["id"], before["id"], told["differences"]);
            seen += usize::from(!changed.is_empty());
        }
        eprintln!("{kind}: {seen} steps that change something");
        assert!(seen > 0, "{kind}: no step changes anything");
    }
}

/// The Services of which an address or an endpoint is not the same in both.
fn changed(before: &Value, after: &Value) -> std::collections::BTreeSet<String> {
    let [before, after] = [before, after].map(|case| {
        let mut all: std::collections::BTreeMap<String, (Value, Vec<String>)> =
            std::collections::BTreeMap::new();
        for service in services(case) {
            let name =
                format!("{}/{}", text(&service["metadata"]["namespace"]), text(&service["metadata"]["name"]));
            let ports = json!([service["spec"]["clusterIP"], service["spec"]["ports"]]);
            all.insert(name, (ports, Vec::new()));
        }
        for slice in case["objects"]["endpointslices"].as_array().into_iter().flatten() {
            let metadata = &slice["metadata"];
            let service = text(&metadata["labels"]["kubernetes.io/service-name"]);
            let name = format!("{}/{service}", text(&metadata["namespace"]));
            if let Some((_, endpoints)) = all.get_mut(&name) {
                let list = slice["endpoints"].as_array().into_iter().flatten();
                endpoints
                    .extend(list.map(|endpoint| format!("{} {}", endpoint["addresses"], slice["ports"])));
                endpoints.sort();
            }
        }
        all
    });
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
