//! Whose rule is whose, and kube-proxy's chain names.

use model::flow::{Family, Protocol};
use model::walk::Backend;

use super::kube_proxy::{sep_hash, service_hash};
use super::*;
use crate::iptables;

/// The owner and object of the only rule in `rules`.
#[track_caller]
fn owner(chains: &[&str], rule: &str) -> (String, String) {
    let declared: String = chains.iter().flat_map(|chain| [":", chain, " - [0:0]\n"]).collect();
    let text = format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n{declared}{rule}\nCOMMIT\n");
    let set = iptables::parse(Backend::IptablesNft, Family::Ipv4, text);
    assert_eq!(set.problems, []);
    let table = &set.tables[0];
    let chain = table.chains.iter().find(|chain| !chain.is_empty()).unwrap();
    let owner = of(&set, Some(table), set.text(chain.name), &table.rules_of(chain)[0]);
    (owner.name.to_owned(), owner.object)
}

#[test]
fn hashes_are_kube_proxys() {
    assert_eq!(service_hash("ns1/svc1:p80", Protocol::Tcp), "XPGD46QRK7WJZT7O");
    assert_eq!(service_hash("default/kubernetes:https", Protocol::Tcp), "NPX46M4PTMTKRN6Y");
    assert_eq!(sep_hash("ns1/svc1:p80", Protocol::Tcp, "10.180.0.1:80"), "SXIVWICOYRO3J4NJ");
}

#[test]
fn kube_proxys_chains_name_their_service() {
    for (chain, comment, object) in [
        ("KUBE-SERVICES", "ns1/svc1:p80 cluster IP", "service ns1/svc1:p80"),
        ("KUBE-SERVICES", "ns1/svc1 has no endpoints", "service ns1/svc1"),
        ("KUBE-SVC-XPGD46QRK7WJZT7O", "ns1/svc1:p80 -> 10.180.0.1:80", "service ns1/svc1:p80"),
        (
            "KUBE-EXT-XPGD46QRK7WJZT7O",
            "masquerade traffic for ns1/svc1:p80 external destinations",
            "service ns1/svc1:p80",
        ),
        (
            "KUBE-FW-XPGD46QRK7WJZT7O",
            "other traffic to ns1/svc1:p80 will be dropped by KUBE-PROXY-FIREWALL",
            "service ns1/svc1:p80",
        ),
        ("KUBE-PROXY-FIREWALL", "ns1/svc1:p80 traffic not accepted by KUBE-FW-X", "service ns1/svc1:p80"),
        ("KUBE-FORWARD", "kubernetes forwarding rules", ""),
    ] {
        let rule = format!("-A {chain} -m comment --comment \"{comment}\" -j DROP");
        assert_eq!(owner(&[chain], &rule), (KUBE_PROXY.to_owned(), object.to_owned()), "{rule}");
    }
}

#[test]
fn a_jump_from_a_built_in_chain_belongs_to_whose_chain_it_calls() {
    let jump = "-A FORWARD -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
    assert_eq!(owner(&["KUBE-SERVICES"], jump).0, KUBE_PROXY);
    assert_eq!(
        owner(&["cali-FORWARD"], "-A FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD")
            .0,
        "calico"
    );
    assert_eq!(owner(&["DOCKER-USER"], "-A FORWARD -j DOCKER-USER").0, "docker");
    assert_eq!(owner(&["mine"], "-A FORWARD -j mine"), (String::new(), String::new()));
    assert_eq!(owner(&[], "-A FORWARD -p tcp -j DROP"), (String::new(), String::new()));
}

#[test]
fn policy_engines_name_pods_and_policies() {
    let kube_router = |chain: &str, comment: &str| {
        let (owner, object) =
            owner(&[chain], &format!("-A {chain} -m comment --comment \"{comment}\" -j DROP"));
        assert_eq!(owner, "kube-router");
        object
    };
    let drop = "rule to REJECT traffic destined for POD name:api-7c9 namespace: shop";
    assert_eq!(kube_router("KUBE-POD-FW-N6X", drop), "pod shop/api-7c9");
    assert_eq!(kube_router("KUBE-POD-FW-N6X", "shop/api-7c9 reject"), "pod shop/api-7c9");
    let accept = "rule to ACCEPT traffic from source pods to dest pods selected by policy name allow-web namespace shop";
    assert_eq!(kube_router("KUBE-NWPLCY-ABC", accept), "networkpolicy shop/allow-web");
    assert_eq!(kube_router("KUBE-NWPLCY-ABC", "shop/allow-web policy"), "networkpolicy shop/allow-web");
    let rule = "-A cali-pi-x -m comment --comment \"cali:abc\" -m comment --comment \"KubernetesNetworkPolicy shop/deny ingress\" -j DROP";
    assert_eq!(owner(&["cali-pi-x"], rule), ("calico".to_owned(), "networkpolicy shop/deny".to_owned()));
}

#[test]
fn names_from_outside_are_escaped() {
    let rule = "-A KUBE-POD-FW-N6X -m comment --comment \"POD name:a\u{1b}[31m namespace: b\" -j DROP";
    assert_eq!(owner(&["KUBE-POD-FW-N6X"], rule).1, "pod b/a\\u{1b}[31m");
}
