//! Objects to rules, in the order and words of `syncProxyRules` (`pkg/proxy/iptables/proxier.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::objects::{Service, ServicePort, ServiceType, TrafficPolicy};
use model::{Family, ObjectSet};

use super::endpoints::{Categorized, categorize, externally_accessible};
use super::names::PortName;
use super::{Extra, KubeProxy};
use crate::error::Error;

const SERVICES: &str = "KUBE-SERVICES";
const EXTERNAL: &str = "KUBE-EXTERNAL-SERVICES";
const NODE_PORTS: &str = "KUBE-NODEPORTS";
const MARK_MASQ: &str = "KUBE-MARK-MASQ";
const FIREWALL: &str = "KUBE-PROXY-FIREWALL";

/// Rules by table: chains to declare, then rules in order.
#[derive(Debug, Default)]
pub struct Rules {
    tables: BTreeMap<&'static str, Table>,
}

#[derive(Debug, Default)]
struct Table {
    chains: BTreeSet<String>,
    rules: Vec<String>,
}

impl Rules {
    /// As `iptables-restore` takes it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for name in self.tables.keys() {
            text.push_str(&self.table_text(name, ""));
        }
        text
    }

    /// One table with further lines before its end.
    pub fn table_text(&self, name: &str, further: &str) -> String {
        let mut text = format!("*{name}\n");
        if let Some(table) = self.tables.get(name) {
            for chain in &table.chains {
                // Writing to a String cannot fail.
                let _ = writeln!(text, ":{chain} - [0:0]");
            }
            for rule in &table.rules {
                let _ = writeln!(text, "{rule}");
            }
        }
        text.push_str(further);
        text.push_str("COMMIT\n");
        text
    }

    /// The tables it has chains in.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.tables.keys().copied()
    }

    /// Whether it declares a chain.
    pub fn declares(&self, table: &str, chain: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.chains.contains(chain))
    }

    fn chain(&mut self, table: &'static str, chain: &str) {
        self.tables.entry(table).or_default().chains.insert(chain.to_owned());
    }

    fn rule(&mut self, table: &'static str, chain: &str, rule: &str) {
        self.chain(table, chain);
        self.tables.entry(table).or_default().rules.push(format!("-A {chain} {rule}"));
    }

    fn nat(&mut self, chain: &str, rule: &str) {
        self.rule("nat", chain, rule);
    }

    fn filter(&mut self, chain: &str, rule: &str) {
        self.rule("filter", chain, rule);
    }
}

pub fn render(proxy: &KubeProxy, objects: &ObjectSet, node: &str) -> Result<Rules, Error> {
    let mut rules = Rules::default();
    fixed(&mut rules);
    for service in objects.services.values() {
        if service.headless || service.kind == ServiceType::ExternalName {
            continue;
        }
        let extra = proxy.extras.get(service.key()).cloned().unwrap_or_default();
        if extra.session_affinity {
            return Err(Error::Unsupported {
                object: format!("service {}", service.key()),
                what: "spec.sessionAffinity: ClientIP".into(),
            });
        }
        let Some(cluster_ip) = v4(&service.cluster_ips).next() else { continue };
        health_check(&mut rules, service, &extra);
        let node_ip = objects.nodes.get(node).and_then(|node| v4(&node.addresses).next());
        for port in &service.ports {
            let endpoints = categorize(objects, service, port, node);
            Port {
                proxy,
                service,
                spec: port,
                name: PortName::new(service.key(), port),
                endpoints,
                extra: &extra,
                cluster_ip,
                node_ip,
            }
            .write(&mut rules);
        }
    }
    rules.nat(
        SERVICES,
        "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" \
         -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    );
    Ok(rules)
}

/// What is there without any Service.
fn fixed(rules: &mut Rules) {
    for table in ["mangle", "nat", "filter"] {
        rules.chain(table, "KUBE-PROXY-CANARY");
    }
    for chain in [SERVICES, EXTERNAL, NODE_PORTS, FIREWALL] {
        rules.chain("filter", chain);
    }
    rules.chain("nat", NODE_PORTS);
    rules.nat("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN");
    rules.nat("KUBE-POSTROUTING", "-j MARK --xor-mark 0x4000");
    rules.nat(
        "KUBE-POSTROUTING",
        "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully",
    );
    rules.nat(MARK_MASQ, "-j MARK --or-mark 0x4000");
    rules.filter(
        "KUBE-FIREWALL",
        "-m comment --comment \"block incoming localnet connections\" -d 127.0.0.0/8 ! -s 127.0.0.0/8 \
         -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    );
    rules.filter("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP");
    rules.filter(
        "KUBE-FORWARD",
        "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT",
    );
    rules.filter(
        "KUBE-FORWARD",
        "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    );
}

fn health_check(rules: &mut Rules, service: &Service, extra: &Extra) {
    if let Some(port) = extra.health_check_node_port {
        let comment = format!("\"{} health check node port\"", service.key());
        rules.filter(
            NODE_PORTS,
            &format!("-m comment --comment {comment} -m tcp -p tcp --dport {port} -j ACCEPT"),
        );
    }
}

/// One Service port being written.
struct Port<'a> {
    proxy: &'a KubeProxy,
    service: &'a Service,
    spec: &'a ServicePort,
    name: PortName,
    endpoints: Categorized,
    extra: &'a Extra,
    cluster_ip: Ipv4Addr,
    node_ip: Option<Ipv4Addr>,
}

impl Port<'_> {
    fn write(&self, rules: &mut Rules) {
        let internal_local = self.service.internal_policy == TrafficPolicy::Local;
        let external_local = self.external_local();
        let uses_cluster = !self.endpoints.cluster.is_empty();
        let uses_local = !self.endpoints.local.is_empty();
        let internal = if internal_local { self.name.local() } else { self.name.cluster() };
        let has_internal = self.endpoints.any && (!internal_local || uses_local);
        let has_external = self.endpoints.any && (!external_local || uses_local);

        if has_internal {
            let rule = self.to(self.cluster_ip, "cluster IP");
            rules.nat(SERVICES, &format!("{rule} -j {internal}"));
            let outside = format!("{rule} ! -s {} -j {MARK_MASQ}", self.proxy.cluster_cidr);
            rules.nat(&internal, &outside);
        } else {
            rules.filter(SERVICES, &self.refusal(&format!("-d {}", self.cluster_ip), self.spec.port));
        }
        self.write_external_addresses(rules, has_external);
        if self.endpoints.any && externally_accessible(self.service) {
            self.write_external_chain(rules, has_external);
        }
        if uses_cluster {
            self.write_balancing(rules, &self.name.cluster(), &self.endpoints.cluster);
        }
        if uses_local {
            self.write_balancing(rules, &self.name.local(), &self.endpoints.local);
        }
        for endpoint in self.endpoints.reachable() {
            self.write_endpoint(rules, endpoint);
        }
    }

    fn external_local(&self) -> bool {
        self.service.external_policy == TrafficPolicy::Local && externally_accessible(self.service)
    }

    fn uses_firewall(&self) -> bool {
        self.endpoints.any
            && !self.extra.source_ranges.is_empty()
            && !self.service.load_balancer_ips.is_empty()
    }

    fn write_external_addresses(&self, rules: &mut Rules, has_external: bool) {
        let external = self.name.external();
        let any = self.endpoints.any;
        for address in v4(&self.service.external_ips) {
            if any {
                rules.nat(SERVICES, &format!("{} -j {external}", self.to(address, "external IP")));
            }
            if !has_external {
                rules.filter(EXTERNAL, &self.refusal(&format!("-d {address}"), self.spec.port));
            }
        }
        for address in v4(&self.service.load_balancer_ips) {
            if any {
                let target = if self.uses_firewall() { self.name.firewall() } else { external.clone() };
                rules.nat(SERVICES, &format!("{} -j {target}", self.to(address, "loadbalancer IP")));
            }
            if self.uses_firewall() {
                let what = format!("traffic not accepted by {}", self.name.firewall());
                rules.filter(FIREWALL, &format!("{} -j DROP", self.to(address, &what)));
            }
            if !has_external {
                rules.filter(EXTERNAL, &self.refusal(&format!("-d {address}"), self.spec.port));
            }
        }
        if let Some(node_port) = self.spec.node_port {
            if any {
                let rule = format!(
                    "-m comment --comment \"{}\" {} --dport {node_port} -j {external}",
                    self.name.name,
                    self.protocol()
                );
                rules.nat(NODE_PORTS, &rule);
            }
            if !has_external {
                rules.filter(EXTERNAL, &self.refusal("-m addrtype --dst-type LOCAL", node_port));
            }
        }
    }

    fn write_external_chain(&self, rules: &mut Rules, has_external: bool) {
        let (external, cluster) = (self.name.external(), self.name.cluster());
        let name = &self.name.name;
        let comment =
            |text: &str| format!("-m comment --comment \"{text} traffic for {name} external destinations\"");
        if self.external_local() {
            let local = "-m addrtype --src-type LOCAL";
            let cidr = self.proxy.cluster_cidr;
            rules.nat(&external, &format!("{} -s {cidr} -j {cluster}", comment("pod")));
            rules.nat(&external, &format!("{} {local} -j {MARK_MASQ}", comment("masquerade LOCAL")));
            rules.nat(&external, &format!("{} {local} -j {cluster}", comment("route LOCAL")));
        } else {
            rules.nat(&external, &format!("{} -j {MARK_MASQ}", comment("masquerade")));
        }
        if has_external {
            let policy = if self.external_local() { self.name.local() } else { cluster };
            rules.nat(&external, &format!("-j {policy}"));
        }
        if self.uses_firewall() {
            let firewall = self.name.firewall();
            let comment = format!("-m comment --comment \"{name} loadbalancer IP\"");
            let mut node_allowed = false;
            for range in &self.extra.source_ranges {
                rules.nat(&firewall, &format!("{comment} -s {range} -j {external}"));
                node_allowed |= self.node_ip.is_some_and(|address| range.contains(&address));
            }
            if node_allowed {
                // Some load balancers answer the node itself; its packets then come from the balancer's address.
                for address in v4(&self.service.load_balancer_ips) {
                    rules.nat(&firewall, &format!("{comment} -s {address} -j {external}"));
                }
            }
            let rest = format!("other traffic to {name} will be dropped by {FIREWALL}");
            rules.nat(&firewall, &format!("-m comment --comment \"{rest}\""));
        }
    }

    fn write_balancing(&self, rules: &mut Rules, chain: &str, endpoints: &[SocketAddr]) {
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        for (left, endpoint) in (1..=count).rev().zip(endpoints) {
            let mut rule = format!("-m comment --comment \"{} -> {endpoint}\" ", self.name.name);
            if left > 1 {
                let probability = 1.0 / f64::from(left);
                let _ = write!(rule, "-m statistic --mode random --probability {probability:.10} ");
            }
            rules.nat(chain, &format!("{rule}-j {}", self.name.endpoint(*endpoint)));
        }
    }

    fn write_endpoint(&self, rules: &mut Rules, endpoint: SocketAddr) {
        let chain = self.name.endpoint(endpoint);
        let comment = format!("-m comment --comment \"{}\"", self.name.name);
        rules.nat(&chain, &format!("{comment} -s {} -j {MARK_MASQ}", endpoint.ip()));
        rules.nat(&chain, &format!("{comment} {} -j DNAT --to-destination {endpoint}", self.protocol()));
    }

    fn to(&self, address: Ipv4Addr, what: &str) -> String {
        format!(
            "-m comment --comment \"{} {what}\" {} -d {address} --dport {}",
            self.name.name,
            self.protocol(),
            self.spec.port
        )
    }

    /// Reject where there is no endpoint at all, drop where only the policy Local leaves none.
    fn refusal(&self, destination: &str, port: u16) -> String {
        let (comment, target) = if self.endpoints.any {
            ("has no local endpoints", "DROP")
        } else {
            ("has no endpoints", "REJECT")
        };
        format!(
            "-m comment --comment \"{} {comment}\" {destination} {} --dport {port} -j {target}",
            self.name.name,
            self.protocol()
        )
    }

    fn protocol(&self) -> String {
        let protocol = self.spec.protocol.lower();
        format!("-m {protocol} -p {protocol}")
    }
}

fn v4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter(|address| Family::of(**address) == Family::Ipv4).filter_map(|address| {
        match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        }
    })
}
