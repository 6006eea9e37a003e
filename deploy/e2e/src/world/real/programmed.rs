//! What a real kube-proxy has written for the Services of stories, read as text: neither the product's readers nor its
//! walk decide whether a story may begin.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use kubelab::ProxyMode;
use model::objects::EndpointSlice;
use model::{Key, ObjectSet};
use netlab::Netns;
use serde_json::Value;

use super::OWN;

/// Services by address, and where they lead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Programmed {
    /// Cluster addresses that packets are sent on from, or refused at.
    services: BTreeSet<String>,
    /// `address:port`.
    endpoints: BTreeSet<String>,
}

impl Programmed {
    /// What a node's rules say.
    pub fn read(node: &Netns, mode: ProxyMode) -> Result<Self> {
        Ok(match mode {
            ProxyMode::Iptables => Self::iptables(&node.run(&["iptables-nft-save"])?),
            ProxyMode::IptablesLegacy => Self::iptables(&node.run(&["iptables-legacy-save"])?),
            ProxyMode::Nftables => {
                Self::nftables(&node.run(&["nft", "-j", "list", "table", "ip", "kube-proxy"])?)?
            }
        })
    }

    /// What they have to say for these objects.
    pub fn expected(objects: &ObjectSet) -> Self {
        let mut all = Self::default();
        for (key, service) in objects.services.iter().filter(|(key, _)| key.namespace != OWN) {
            all.services.extend(service.cluster_ips.iter().map(ToString::to_string));
            for slice in objects.slices.values().filter(|slice| belongs(slice, key)) {
                for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                    for (address, port) in
                        endpoint.addresses.iter().flat_map(|a| slice.ports.iter().map(move |p| (a, p)))
                    {
                        all.endpoints.extend(port.port.map(|port| format!("{address}:{port}")));
                    }
                }
            }
        }
        all
    }

    /// Whether nothing is left of any story.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.endpoints.is_empty()
    }

    /// Chains that nothing leads to stay for a while (`cleanupLeftoverChains` is not done at each sync), so only
    /// KUBE-SERVICES and the chains that it leads to count.
    fn iptables(saved: &str) -> Self {
        let rules = || saved.lines().filter_map(|line| line.strip_prefix("-A "));
        let dispatch =
            |rule: &&str| rule.starts_with("KUBE-SERVICES ") && !rule.contains(&format!("\"{OWN}/"));
        let mut all = Self::default();
        let mut chains = BTreeSet::new();
        for rule in rules().filter(dispatch) {
            if let Some(address) = word_after(rule, "-d") {
                all.services.insert(address.trim_end_matches("/32").to_owned());
            }
            chains.extend(word_after(rule, "-j").filter(|chain| chain.starts_with("KUBE-SVC-")));
        }
        for rule in rules().filter(|rule| chains.contains(rule.split(' ').next().unwrap_or_default())) {
            let endpoint = rule.split_once(" -> ").and_then(|(_, rest)| rest.split(['"', ' ']).next());
            all.endpoints.extend(endpoint.filter(|_| rule.contains("KUBE-SEP-")).map(str::to_owned));
        }
        all
    }

    /// The same for the maps of nftables mode: `service-ips` leads to the chains of Services, whose rule has the endpoints in
    /// a map (without session affinity); `no-endpoint-services` refuses.
    fn nftables(listed: &str) -> Result<Self> {
        let listed: Value = serde_json::from_str(listed).context("read what nft lists")?;
        let entries = listed["nftables"].as_array().context("nft lists no table")?;
        let mut all = Self::default();
        let mut chains = BTreeSet::new();
        for map in entries.iter().filter_map(|entry| entry.get("map")) {
            let name = map["name"].as_str().unwrap_or_default();
            if !matches!(name, "service-ips" | "no-endpoint-services") {
                continue;
            }
            for pair in map["elem"].as_array().into_iter().flatten() {
                let chain = pair[1]["goto"]["target"].as_str().unwrap_or_default();
                if chain.contains(&format!("-{OWN}/")) {
                    continue;
                }
                let address =
                    pair[0]["concat"][0].as_str().or_else(|| pair[0]["elem"]["val"]["concat"][0].as_str());
                let address = address.with_context(|| format!("no address in {pair}"))?;
                all.services.insert(address.to_owned());
                chains.insert(chain);
            }
        }
        for rule in entries.iter().filter_map(|entry| entry.get("rule")) {
            if chains.contains(rule["chain"].as_str().unwrap_or_default()) {
                destinations(rule, &mut all.endpoints);
            }
        }
        Ok(all)
    }
}

fn belongs(slice: &EndpointSlice, service: &Key) -> bool {
    slice.key().namespace == service.namespace && slice.service.as_ref() == Some(&service.name)
}

/// Every `10.244.2.14 . 8080` below a rule.
fn destinations(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some([Value::String(address), Value::Number(port)]) =
                fields.get("concat").and_then(Value::as_array).map(Vec::as_slice)
            {
                found.insert(format!("{address}:{port}"));
            }
            fields.values().for_each(|value| destinations(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| destinations(value, found)),
        _ => {}
    }
}

fn word_after<'a>(rule: &'a str, flag: &str) -> Option<&'a str> {
    rule.split(' ').skip_while(|word| *word != flag).nth(1)
}

/// The rules of the stand-in for a policy engine.
pub fn enforced(node: &Netns) -> Result<String> {
    Ok(node.run(&["iptables-nft-save", "-t", "filter"])?)
}

/// Lets packets through again, if a story stopped them.
pub fn accept_forwarding(node: &Netns) -> Result<()> {
    node.feed(&["iptables-nft-restore", "--noflush"], "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n")?;
    Ok(())
}

/// Takes a Service out of a node's rules. Its kube-proxy must not run, or it would mend them.
pub fn forget(node: &Netns, mode: ProxyMode, service: &Key, object: &Value) -> Result<()> {
    let comment = format!("\"{service}");
    match mode {
        ProxyMode::Iptables | ProxyMode::IptablesLegacy => {
            let backend = if mode == ProxyMode::Iptables { "nft" } else { "legacy" };
            let saved = node.run(&[&format!("iptables-{backend}-save"), "-t", "nat"])?;
            let rules: Vec<String> = saved
                .lines()
                .filter_map(|line| line.strip_prefix("-A KUBE-SERVICES "))
                .filter(|rule| rule.contains(&comment))
                .map(|rule| format!("-D KUBE-SERVICES {rule}\n"))
                .collect();
            ensure!(!rules.is_empty(), "no rule for {service} in:\n{saved}");
            let text = format!("*nat\n{}COMMIT\n", rules.concat());
            node.feed(&[&format!("iptables-{backend}-restore"), "--noflush"], &text)?;
        }
        ProxyMode::Nftables => {
            let address = object["spec"]["clusterIP"].as_str().context("a Service without an address")?;
            let mut text = format!("delete element ip kube-proxy cluster-ips {{ {address} }}\n");
            for port in object["spec"]["ports"].as_array().into_iter().flatten() {
                let protocol = port["protocol"].as_str().unwrap_or("TCP").to_ascii_lowercase();
                let element = format!("{address} . {protocol} . {}", port["port"]);
                text.extend(["delete element ip kube-proxy service-ips { ", &element, " }\n"]);
            }
            node.feed(&["nft", "-f", "-"], &text)?;
        }
    }
    Ok(())
}
