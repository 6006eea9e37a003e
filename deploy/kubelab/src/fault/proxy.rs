//! kube-proxy that does not run, and its rules after somebody else was at them.
//!
//! Rules are taken away as kube-proxy wrote them; a node's kube-proxy would write them again with the next change that
//! concerns them, so these faults last for as long as nothing else changes.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::endpoints::nobody;
use super::journal::At;
use super::stage::SERVED;
use super::{Destination, Fault, How, Need, Probe, Reach, Scene, Source, Stage, Symptom, Tool};
use crate::spec::ProxyMode;

/// A node port, unique among faults.
const NODE_PORT: u16 = 30_805;
/// kube-proxy's table in nftables mode.
const TABLE: &str = "ip kube-proxy";

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "proxy-paused",
        breaks: "kube-proxy hangs on the client's node, and its rules still name a pod that was replaced",
        cause: "K5",
        symptom: Symptom::Lost,
        reach: Reach::Node,
        inject: |stage| {
            stage.pause_proxy(&stage.scene.first.clone())?;
            stage.delete(&stage.target("v1", "Pod", "api"))?;
            let successor = super::listener::pod(stage, "api-2").label("app", "api").serve(SERVED);
            // Or it would get the address that has just become free.
            let address = nobody(stage)?;
            stage.apply(&successor.address(address.into()).object())
        },
        ..Fault::USUAL
    },
    Fault {
        name: "proxy-ended",
        breaks: "kube-proxy does not run on the client's node, which has no rule for a Service made since",
        cause: "K1",
        symptom: Symptom::Silent,
        reach: Reach::Node,
        inject: |stage| {
            stage.end_proxy(&stage.scene.first.clone())?;
            let old = stage.cluster_ip("api")?;
            stage.delete(&stage.target("v1", "Service", "api"))?;
            // The server gives addresses out at random; the old one would be served by the old rules.
            loop {
                stage.apply(&stage.scene.service().port(Scene::port()).object())?;
                if stage.cluster_ip("api")? != old {
                    return Ok(());
                }
                stage.delete(&stage.target("v1", "Service", "api"))?;
            }
        },
        ..Fault::USUAL
    },
    Fault {
        name: "service-rule-lost",
        breaks: "the rule that knows the Service's address is gone from the client's node",
        cause: "K18",
        symptom: Symptom::Untranslated,
        reach: Reach::Node,
        inject: |stage| {
            let (node, address) = (stage.scene.client_node(), stage.cluster_ip("api")?);
            if let Some(tool) = own_tool(stage) {
                let mine = format!("-d {address}/32 ");
                return remove_rule(stage, &node, tool, "KUBE-SERVICES", &[&mine]);
            }
            let map = stage.read(&node, &["nft", "list", "map", "ip", "kube-proxy", "service-ips"])?;
            let key = format!("{address} . tcp . 80");
            let element = element(&map, &format!("{key} : "))?;
            let nft = ["nft", "-f", "-"];
            let gone = format!("delete element {TABLE} service-ips {{ {key} }}\n");
            let back = format!("add element {TABLE} service-ips {{ {element} }}\n");
            stage.feed(&node, &nft, Some(&gone), &nft, Some(&back))
        },
        ..Fault::USUAL
    },
    Fault {
        name: "proxy-rules-flushed",
        breaks: "somebody flushed the chain that leads to kube-proxy's rules on the client's node",
        cause: "K7",
        symptom: Symptom::Untranslated,
        reach: Reach::Node,
        inject: |stage| {
            let node = stage.scene.client_node();
            match own_tool(stage) {
                Some(tool) => flush(stage, &node, tool, "PREROUTING"),
                None => flush_nft(stage, &node, "nat-prerouting"),
            }
        },
        ..Fault::USUAL
    },
    Fault {
        name: "masquerade-lost",
        breaks: "the jump to kube-proxy's masquerading is gone, so a node port's replies go past the node that translates",
        cause: "K13",
        probe: Probe { from: Source::Machine, to: Destination::NodePort(NODE_PORT), how: How::Tcp },
        symptom: Symptom::Silent,
        reach: Reach::Node,
        needs: &[Need::TwoNodes],
        world: |stage| {
            stage.usual_clients()?;
            stage.create(&stage.scene.server().serve(SERVED).object())?;
            let service = stage.scene.service().node_port();
            stage.create(&service.port(Scene::port().node_port(NODE_PORT)).object())
        },
        inject: |stage| {
            let node = stage.scene.client_node();
            match own_tool(stage) {
                Some(tool) => remove_rule(stage, &node, tool, "POSTROUTING", &["-j KUBE-POSTROUTING"]),
                None => flush_nft(stage, &node, "nat-postrouting"),
            }
        },
    },
    Fault {
        name: "hairpin-not-masqueraded",
        breaks: "what the server sends to its own Service is not masqueraded, and comes back with its own address",
        cause: "K12",
        probe: Probe { from: Source::Pod("api"), to: Destination::Service("api", 80), how: How::Tcp },
        symptom: Symptom::Silent,
        inject: |stage| {
            let (node, address) = (stage.scene.server_node(), stage.address("api")?);
            if let Some(tool) = own_tool(stage) {
                let mine = format!("-s {address}/32 ");
                return remove_rule(stage, &node, tool, "KUBE-SEP-", &[&mine, "-j KUBE-MARK-MASQ"]);
            }
            let table = stage.read(&node, &["nft", "-a", "list", "table", "ip", "kube-proxy"])?;
            let nft = ["nft", "-f", "-"];
            let (gone, back) = if let Some((chain, handle)) = masquerade_rule(&table, address) {
                (
                    format!("delete rule {TABLE} {chain} handle {handle}\n"),
                    format!("insert rule {TABLE} {chain} ip saddr {address} jump mark-for-masquerade\n"),
                )
            } else {
                let element = format!("{address} . {address} . tcp . {SERVED}");
                let set =
                    |verb: &str| format!("{verb} element {TABLE} hairpin-connections {{ {element} }}\n");
                (set("delete"), set("add"))
            };
            stage.feed(&node, &nft, Some(&gone), &nft, Some(&back))
        },
        ..Fault::USUAL
    },
    // Both translate at the same priority, and there the newer come first (`nf_hook_entries_grow` in net/netfilter/core.c).
    Fault {
        name: "two-backends",
        breaks: "old rules of kube-proxy, written through iptables-legacy, come first on the client's node",
        cause: "K8",
        symptom: Symptom::Lost,
        reach: Reach::Node,
        needs: &[Need::Modes(&[ProxyMode::Iptables])],
        inject: |stage| iptables_leftover(stage, Tool::Legacy),
        ..Fault::USUAL
    },
    Fault {
        name: "two-modes",
        breaks: "old rules of kube-proxy's other mode come first on the client's node",
        cause: "K9",
        symptom: Symptom::Lost,
        reach: Reach::Node,
        needs: &[Need::Modes(&[ProxyMode::Iptables, ProxyMode::Nftables])],
        inject: |stage| match own_tool(stage) {
            Some(_) => nft_leftover(stage),
            None => iptables_leftover(stage, Tool::Nft),
        },
        ..Fault::USUAL
    },
];

/// With which tool kube-proxy writes here; `None` in nftables mode.
fn own_tool(stage: &Stage<'_>) -> Option<Tool> {
    match stage.mode() {
        ProxyMode::Iptables => Some(Tool::Nft),
        ProxyMode::IptablesLegacy => Some(Tool::Legacy),
        ProxyMode::Nftables => None,
    }
}

/// The command that loads rules beside those that are there.
fn restore(tool: Tool) -> [String; 3] {
    [format!("{}-restore", tool.program()), "-w".to_owned(), "--noflush".to_owned()]
}

/// Takes the one rule of the nat table away whose chain begins so and which holds these words. It comes back to its place.
fn remove_rule(stage: &mut Stage<'_>, at: &At, tool: Tool, chain: &str, words: &[&str]) -> Result<()> {
    let rules = stage.read(at, &[tool.program(), "-w", "-t", "nat", "-S"])?;
    let wanted = |line: &&str| {
        line.strip_prefix("-A ").is_some_and(|rest| rest.starts_with(chain))
            && words.iter().all(|word| format!("{line} ").contains(word))
    };
    let line = rules.lines().find(wanted);
    let line = line.with_context(|| format!("no rule of {chain} with {words:?} in:\n{rules}"))?;
    let (chain, rule) = line.trim_start_matches("-A ").split_once(' ').unwrap_or((line, ""));
    let of_chain = format!("-A {chain} ");
    let place = rules.lines().filter(|line| line.starts_with(&of_chain)).position(|other| other == line);
    let place = place.unwrap_or_default() + 1;
    let restore = restore(tool);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    let gone = format!("*nat\n-D {chain} {rule}\nCOMMIT\n");
    let back = format!("*nat\n-I {chain} {place} {rule}\nCOMMIT\n");
    stage.feed(at, &restore, Some(&gone), &restore, Some(&back))
}

/// Empties a chain of the nat table. What it held comes back, and only that.
fn flush(stage: &mut Stage<'_>, at: &At, tool: Tool, chain: &str) -> Result<()> {
    let rules = stage.read(at, &[tool.program(), "-w", "-t", "nat", "-S", chain])?;
    let kept: String = rules.split_inclusive('\n').filter(|line| line.starts_with("-A ")).collect();
    let restore = restore(tool);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    let gone = format!("*nat\n-F {chain}\nCOMMIT\n");
    let back = format!("*nat\n-F {chain}\n{kept}COMMIT\n");
    stage.feed(at, &restore, Some(&gone), &restore, Some(&back))
}

/// The same for a chain of kube-proxy's nftables table.
fn flush_nft(stage: &mut Stage<'_>, at: &At, chain: &str) -> Result<()> {
    let listing = stage.read(at, &["nft", "list", "chain", "ip", "kube-proxy", chain])?;
    let gone = format!("flush chain {TABLE} {chain}\n");
    let nft = ["nft", "-f", "-"];
    stage.feed(at, &nft, Some(&gone), &nft, Some(&format!("{gone}{listing}")))
}

/// The element of a map whose text begins so.
fn element(map: &str, key: &str) -> Result<String> {
    let start = map.find(key).with_context(|| format!("no element {key} in:\n{map}"))?;
    let rest = &map[start..];
    let end = rest.find([',', '\n', '}']).unwrap_or(rest.len());
    Ok(rest[..end].trim().to_owned())
}

/// Chain and handle of the rule that marks what an endpoint sends to itself. Releases before 1.36 have one for each
/// endpoint; since then there is a set of such connections.
fn masquerade_rule(table: &str, address: Ipv4Addr) -> Option<(String, String)> {
    let wanted = format!("ip saddr {address} jump mark-for-masquerade");
    let mut chain = "";
    for line in table.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            chain = name.split_once(' ').map_or(name, |(name, _)| name);
        } else if line.starts_with(&wanted) && chain.starts_with("endpoint-") {
            let (_, handle) = line.rsplit_once("# handle ")?;
            return Some((chain.to_owned(), handle.to_owned()));
        }
    }
    None
}

/// The rules that an earlier kube-proxy in an iptables mode would have left, naming a pod that is gone.
fn iptables_leftover(stage: &mut Stage<'_>, tool: Tool) -> Result<()> {
    let (service, gone) = (stage.cluster_ip("api")?, nobody(stage)?);
    let node = stage.scene.client_node();
    let name = format!("{}/api:tcp-80", stage.scene.namespace);
    let jump = "PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
    let chains = ["KUBE-SERVICES", "KUBE-SVC-LEFTOVERLEFTOVER", "KUBE-SEP-LEFTOVERLEFTOVER"];
    let [services, svc, sep] = chains;
    let rules = format!(
        "*nat\n:{services} - [0:0]\n:{svc} - [0:0]\n:{sep} - [0:0]\n-I {jump}\n\
         -A {services} -d {service}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j {svc}\n\
         -A {svc} -m comment --comment \"{name} -> {gone}:{SERVED}\" -j {sep}\n\
         -A {sep} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {gone}:{SERVED}\nCOMMIT\n"
    );
    let each = |command: &str| chains.map(|chain| format!("{command} {chain}\n")).concat();
    let unload = format!("*nat\n-D {jump}\n{}{}COMMIT\n", each("-F"), each("-X"));
    let restore = restore(tool);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    if tool == Tool::Nft && !stage.has_table(&node, "ip nat") {
        return stage.feed(&node, &restore, Some(&rules), &["nft", "delete", "table", "ip", "nat"], None);
    }
    stage.feed(&node, &restore, Some(&rules), &restore, Some(&unload))
}

/// The same of one in nftables mode.
fn nft_leftover(stage: &mut Stage<'_>) -> Result<()> {
    let (service, gone) = (stage.cluster_ip("api")?, nobody(stage)?);
    let body = format!(
        "chain service-LEFTOVER {{\nmeta l4proto tcp dnat to {gone}:{SERVED}\n}}\n\
         map service-ips {{\ntype ipv4_addr . inet_proto . inet_service : verdict\n\
         elements = {{ {service} . tcp . 80 : goto service-LEFTOVER }}\n}}\n\
         chain services {{\nip daddr . meta l4proto . th dport vmap @service-ips\n}}\n\
         chain nat-prerouting {{\ntype nat hook prerouting priority dstnat; policy accept;\njump services\n}}"
    );
    stage.table(&stage.scene.client_node(), TABLE, &body)
}
