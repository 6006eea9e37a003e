//! The rules of 10,000 Services with five endpoints each, as kube-proxy writes them.

use std::fmt::Write as _;

use model::flow::Protocol;
use rules::owner::kube_proxy::{sep_hash, service_hash};

/// How many Services there are.
pub(crate) const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 5;

/// A Service's address.
pub(crate) fn address(service: u32) -> String {
    format!("10.96.{}.{}", service / 250, service % 250 + 1)
}

/// 170,000 rules, chain by chain as `iptables-save` prints them.
pub(crate) fn rules() -> String {
    let mut endpoint_chains = String::new();
    let mut services = String::new();
    let mut of_services = String::new();
    let mut of_endpoints = String::new();
    let mut service_chains = String::new();
    for service in 0..SERVICES {
        let name = format!("shop-{}/service-{service}:http", service % 50);
        let hash = service_hash(&name, Protocol::Tcp);
        let vip = address(service);
        let _ = writeln!(service_chains, ":KUBE-SVC-{hash} - [0:0]");
        let _ = writeln!(
            services,
            "-A KUBE-SERVICES -d {vip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j KUBE-SVC-{hash}"
        );
        let _ = writeln!(
            of_services,
            "-A KUBE-SVC-{hash} ! -s 10.244.0.0/16 -d {vip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ"
        );
        for number in 0..ENDPOINTS {
            let endpoint =
                format!("10.{}.{}.{}:8080", 128 + service % 100, service / 250, service % 250 + number + 1);
            let sep = sep_hash(&name, Protocol::Tcp, &endpoint);
            let (ip, _) = endpoint.split_once(':').unwrap_or_default();
            let _ = writeln!(endpoint_chains, ":KUBE-SEP-{sep} - [0:0]");
            let chance = if number + 1 < ENDPOINTS {
                format!(
                    " -m statistic --mode random --probability {:.11}",
                    1.0 / f64::from(ENDPOINTS - number)
                )
            } else {
                String::new()
            };
            let _ = writeln!(
                of_services,
                "-A KUBE-SVC-{hash} -m comment --comment \"{name} -> {endpoint}\"{chance} -j KUBE-SEP-{sep}"
            );
            let _ = writeln!(
                of_endpoints,
                "-A KUBE-SEP-{sep} -s {ip}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ\n\
                 -A KUBE-SEP-{sep} -p tcp -m comment --comment \"{name}\" -m tcp -j DNAT --to-destination {endpoint}"
            );
        }
    }
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n\
         {service_chains}{endpoint_chains}-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n{services}\
         -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n{of_services}{of_endpoints}COMMIT\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    )
}
