//! What kube-proxy writes in nftables mode, in two dialects, for the Services of `cluster`.

use std::fmt::Write as _;

/// How kube-proxy writes a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 1.33 to 1.35: a verdict map of endpoint chains, a chain that marks.
    Chains,
    /// 1.36: a map of destinations, marks in place, hairpin connections in a set.
    Maps,
}

/// A Service port: name, cluster address and port, node port, further addresses, endpoints, and what is local only.
struct Served {
    name: &'static str,
    vip: &'static str,
    port: u16,
    node_port: Option<u16>,
    external: Option<&'static str>,
    endpoints: &'static [&'static str],
    target: u16,
    internal_local: bool,
    external_local: bool,
    ranges: &'static str,
}

const NEAR: &str = "10.244.1.6";
const ALSO: &str = "10.244.1.7";
const FAR: &str = "10.244.2.5";
const PLAIN: Served = Served {
    name: "",
    vip: "",
    port: 80,
    node_port: None,
    external: None,
    endpoints: &[],
    target: 8080,
    internal_local: false,
    external_local: false,
    ranges: "",
};

/// The Services of `cluster::objects`.
const PORTS: [Served; 6] = [
    Served {
        name: "shop/api/tcp/http",
        vip: "10.96.0.10",
        node_port: Some(30010),
        external: Some("198.51.100.10"),
        endpoints: &[NEAR, ALSO, FAR],
        ..PLAIN
    },
    Served {
        name: "shop/api/tcp/metrics",
        vip: "10.96.0.10",
        port: 9090,
        endpoints: &[NEAR, ALSO, FAR],
        target: 81,
        ..PLAIN
    },
    Served {
        name: "shop/empty/tcp/",
        vip: "10.96.0.11",
        node_port: Some(30011),
        external: Some("198.51.100.11"),
        ..PLAIN
    },
    Served { name: "shop/inside/tcp/", vip: "10.96.0.12", endpoints: &[FAR], internal_local: true, ..PLAIN },
    Served {
        name: "shop/outside/tcp/",
        vip: "10.96.0.13",
        node_port: Some(30013),
        external: Some("203.0.113.13"),
        endpoints: &[FAR],
        external_local: true,
        ..PLAIN
    },
    Served {
        name: "shop/ranges/tcp/",
        vip: "10.96.0.14",
        node_port: Some(30014),
        external: Some("203.0.113.14"),
        endpoints: &[NEAR, FAR],
        ranges: "10.244.1.5, 10.200.0.12",
        ..PLAIN
    },
];

/// What kube-proxy writes on a node.
pub fn kube_proxy(dialect: Dialect, node: u8) -> String {
    let mut parts = Parts::default();
    for port in &PORTS {
        parts.add(dialect, node, port);
    }
    let Parts { chains, services, node_ports, empty, empty_ports, firewall, hairpin } = parts;
    let hairpin = match dialect {
        Dialect::Chains => String::new(),
        Dialect::Maps => format!("elements = {{ {hairpin} }};"),
    };
    let (mark, masquerading) = match dialect {
        Dialect::Chains => (
            "jump mark-for-masquerade",
            "meta mark & 0x4000 == 0 return\n meta mark set meta mark ^ 0x4000\n masquerade fully-random",
        ),
        Dialect::Maps => (
            "meta mark set meta mark | 0x4000",
            "meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random\n \
             ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random",
        ),
    };
    format!(
        "table ip kube-proxy {{
            set cluster-ips {{ type ipv4_addr; elements = {{ 10.96.0.10, 10.96.0.11, 10.96.0.12, 10.96.0.13, 10.96.0.14 }}; }}
            set nodeport-ips {{ type ipv4_addr; elements = {{ 10.200.0.1{node} }}; }}
            set hairpin-connections {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; {hairpin} }}
            map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{ {services} }}; }}
            map service-nodeports {{ type inet_proto . inet_service : verdict; elements = {{ {node_ports} }}; }}
            map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{ {empty} }}; }}
            map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; elements = {{ {empty_ports} }}; }}
            map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{ {firewall} }}; }}
            chain mark-for-masquerade {{ meta mark set meta mark | 0x4000; }}
            chain reject-chain {{ reject; }}
            {chains}
            chain cluster-ips-check {{
                ip daddr @cluster-ips reject
                ip daddr 10.96.0.0/16 drop
            }}
            chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
            chain nodeport-endpoints-check {{ ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }}
            chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
            chain services {{
                ip daddr @cluster-ips ip saddr != 10.244.0.0/16 {mark}
                ip daddr . meta l4proto . th dport vmap @service-ips
                ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
            }}
            chain masquerading {{ {masquerading}
            }}
            chain filter-prerouting-pre-dnat {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
            chain filter-output-pre-dnat {{ type filter hook output priority -110; ct state new jump firewall-check; }}
            chain filter-input {{
                type filter hook input priority 0;
                ct state new jump nodeport-endpoints-check
                ct state new jump service-endpoints-check
            }}
            chain filter-forward {{
                type filter hook forward priority 0;
                ct state new jump service-endpoints-check
                ct state new jump cluster-ips-check
            }}
            chain filter-output {{
                type filter hook output priority 0;
                ct state new jump service-endpoints-check
                ct state new jump cluster-ips-check
            }}
            chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
            chain nat-output {{ type nat hook output priority -100; jump services; }}
            chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
        }}\n"
    )
}

#[derive(Default)]
struct Parts {
    chains: String,
    services: String,
    node_ports: String,
    empty: String,
    empty_ports: String,
    firewall: String,
    hairpin: String,
}

impl Parts {
    fn add(&mut self, dialect: Dialect, node: u8, port: &Served) {
        let Served { name, vip, port: number, target, .. } = port;
        let local: Vec<&str> =
            port.endpoints.iter().copied().filter(|ip| ip.starts_with(&format!("10.244.{node}."))).collect();
        let mark = match dialect {
            Dialect::Chains => "jump mark-for-masquerade",
            Dialect::Maps => "meta mark set meta mark | 0x4000",
        };
        if dialect == Dialect::Chains {
            for ip in port.endpoints {
                let _ = writeln!(
                    self.chains,
                    "chain endpoint-GTK6MW7G-{name}__{ip}/{target} {{ ip saddr {ip} {mark}; meta l4proto tcp dnat to {ip}:{target}; }}"
                );
            }
        }
        if dialect == Dialect::Maps {
            for ip in port.endpoints {
                let connection = format!("{ip} . {ip} . tcp . {target}");
                if !self.hairpin.contains(&connection) {
                    element(&mut self.hairpin, &connection);
                }
            }
        }
        for (kind, endpoints) in [("service", port.endpoints), ("local", local.as_slice())] {
            let choice = choose(dialect, name, endpoints, *target);
            let _ = writeln!(self.chains, "chain {kind}-ULMVA6XW-{name} {{ {choice} }}");
        }
        let short = format!("goto service-ULMVA6XW-{name}");
        let external = if port.external_local {
            format!(
                "ip saddr 10.244.0.0/16 {short}; fib saddr type local {mark}; fib saddr type local {short}; goto local-ULMVA6XW-{name};"
            )
        } else {
            format!("{mark}; {short};")
        };
        let _ = writeln!(self.chains, "chain external-ULMVA6XW-{name} {{ {external} }}");

        let to_internal = if port.internal_local { "local" } else { "service" };
        let internal_empty = port.endpoints.is_empty() || (port.internal_local && local.is_empty());
        let key = format!("{vip} . tcp . {number}");
        if internal_empty {
            let verdict = if port.endpoints.is_empty() { "goto reject-chain" } else { "drop" };
            element(&mut self.empty, &format!("{key} comment \"{name}\" : {verdict}"));
        } else {
            element(&mut self.services, &format!("{key} : goto {to_internal}-ULMVA6XW-{name}"));
        }
        // External addresses keep working for pods and the node itself, so both maps may hold them.
        let no_endpoints = port.endpoints.is_empty();
        let external_empty = no_endpoints || (port.external_local && local.is_empty());
        let verdict = if no_endpoints { "goto reject-chain" } else { "drop" };
        if let Some(address) = port.external {
            let key = format!("{address} . tcp . {number}");
            if external_empty {
                element(&mut self.empty, &format!("{key} : {verdict}"));
            }
            if !no_endpoints {
                element(&mut self.services, &format!("{key} : goto external-ULMVA6XW-{name}"));
            }
            if !port.ranges.is_empty() {
                element(&mut self.firewall, &format!("{key} : goto firewall-ULMVA6XW-{name}"));
                let _ = writeln!(
                    self.chains,
                    "chain firewall-ULMVA6XW-{name} {{ ip saddr != {{ {} }} drop; }}",
                    port.ranges
                );
            }
        }
        if let Some(node_port) = port.node_port {
            if external_empty {
                element(&mut self.empty_ports, &format!("tcp . {node_port} : {verdict}"));
            }
            if !no_endpoints {
                element(&mut self.node_ports, &format!("tcp . {node_port} : goto external-ULMVA6XW-{name}"));
            }
        }
    }
}

fn choose(dialect: Dialect, name: &str, endpoints: &[&str], target: u16) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let mut ways = String::new();
    for (index, ip) in endpoints.iter().enumerate() {
        element(
            &mut ways,
            &match dialect {
                Dialect::Chains => format!("{index} : goto endpoint-GTK6MW7G-{name}__{ip}/{target}"),
                Dialect::Maps => format!("{index} : {ip} . {target}"),
            },
        );
    }
    let count = endpoints.len();
    match dialect {
        Dialect::Chains => format!("numgen random mod {count} vmap {{ {ways} }};"),
        Dialect::Maps => format!("meta l4proto tcp dnat ip to numgen random mod {count} map {{ {ways} }};"),
    }
}

fn element(list: &mut String, element: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(element);
}
