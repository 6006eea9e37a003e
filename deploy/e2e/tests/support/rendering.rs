//! The lab's stand-in for kube-proxy held to the real one: for the demo's and the stories' objects, both must write the
//! same rules on every node.

use std::collections::BTreeMap;

use e2e::Manifests;
use e2e::stage::can_run;
use e2e::world::{AllEars, Real, Rendered, World};
use kubelab::ProxyMode;

use crate::support::clusters;

/// Rules by table and chain. The dispatching chains, which kube-proxy writes in the order of a Go map, are sorted.
type Rules = BTreeMap<String, Vec<String>>;

#[test]
fn the_lab_writes_what_a_real_kube_proxy_writes() {
    if !can_run("rendering") || !clusters::can_run("rendering") {
        return;
    }
    let turn = clusters::take(ProxyMode::Iptables);
    for files in [&["selector.yaml"][..], &["target-port.yaml"], &["healthy.yaml"], &["not-ready.yaml"]] {
        let manifests = Manifests::read(files).unwrap();
        let mut real = Real::new(turn.cluster.clone());
        let mut rendered = Rendered::new("rendering", &manifests).unwrap();
        real.follow(&manifests, &AllEars::new()).unwrap();
        rendered.follow(&manifests, &AllEars::new()).unwrap();
        for node in real.nodes() {
            let theirs = rules(&saved(&real, &node));
            let ours = rules(&saved(&rendered, &node));
            assert!(theirs.values().any(|rules| rules.concat().contains("10.96.12.7")), "{theirs:#?}");
            for (chain, rules) in &theirs {
                assert_eq!(ours.get(chain), Some(rules), "{files:?} on {node}: {chain}");
            }
            let surplus: Vec<_> = ours.keys().filter(|chain| !theirs.contains_key(*chain)).collect();
            assert!(surplus.is_empty(), "{files:?} on {node}: {surplus:?}");
        }
    }
}

fn saved(world: &dyn World, node: &str) -> String {
    world.node(node).unwrap().run(&["iptables-nft-save"]).unwrap()
}

/// What kube-proxy adds where the kernel counts by name (`-m nfacct`), which changes no packet's fate.
const COUNTED: &str = " -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts";

/// kube-proxy's rules that can be reached, without those of the API server's own Service, whose address differs.
fn rules(saved: &str) -> Rules {
    let mut table = "";
    let mut rules = Rules::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' '))
            && !rule.contains("\"default/kubernetes:https")
            && !rule.contains("localhost_nps_accepted_pkts")
        {
            rules.entry(format!("{table} {chain}")).or_default().push(rule.replace(COUNTED, ""));
        }
    }
    let mut reached: Vec<String> = rules.keys().filter(|chain| !chain.contains(" KUBE-")).cloned().collect();
    let mut found = Rules::new();
    while let Some(chain) = reached.pop() {
        let Some(mut own) = rules.remove(&chain) else { continue };
        let (table, name) = chain.split_once(' ').unwrap();
        if !name.starts_with("KUBE-") {
            own.retain(|rule| target(rule).starts_with("KUBE-"));
        }
        reached.extend(own.iter().map(|rule| format!("{table} {}", target(rule))));
        if matches!(
            name,
            "KUBE-SERVICES" | "KUBE-NODEPORTS" | "KUBE-EXTERNAL-SERVICES" | "KUBE-PROXY-FIREWALL"
        ) {
            own.sort();
        }
        if !own.is_empty() {
            found.insert(chain, own);
        }
    }
    found
}

/// Where a rule leads: the word after `-j`, or nothing.
fn target(rule: &str) -> &str {
    rule.rsplit_once("-j ").map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default())
}
