//! Loading rendered rules: jumps from the built-in chains, and removal of chains that nothing leads to any more.

use std::fmt::Write;

use model::walk::Backend;

use super::render::Rules;
use crate::error::Error;
use crate::netns::Netns;

/// The jumps kube-proxy makes sure of, in the order in which a node shows them (`iptablesJumpChains`).
const JUMPS: [(&str, &str, &str); 14] = [
    ("filter", "INPUT", "-j KUBE-FIREWALL"),
    (
        "filter",
        "INPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    ("filter", "INPUT", "-m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS"),
    (
        "filter",
        "INPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES",
    ),
    (
        "filter",
        "FORWARD",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    ("filter", "FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"),
    (
        "filter",
        "FORWARD",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
    ),
    (
        "filter",
        "FORWARD",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES",
    ),
    ("filter", "OUTPUT", "-j KUBE-FIREWALL"),
    (
        "filter",
        "OUTPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    (
        "filter",
        "OUTPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
    ),
    ("nat", "PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    ("nat", "OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    ("nat", "POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"),
];
const PER_SERVICE: [&str; 5] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-FW-"];

pub fn load(backend: Backend, netns: &Netns, rules: &Rules) -> Result<(), Error> {
    let saved = netns.run(&[save_tool(backend)])?;
    let mut text = String::new();
    for table in rules.tables() {
        let mut further = String::new();
        let mut stale = Vec::new();
        for chain in chains_of(&saved, table).filter(|chain| !rules.declares(table, chain)) {
            if PER_SERVICE.iter().any(|prefix| chain.starts_with(prefix)) {
                stale.push(chain);
            }
        }
        // Emptied first, all of them: they refer to each other.
        for chain in &stale {
            let _ = writeln!(further, "-F {chain}");
        }
        for chain in &stale {
            let _ = writeln!(further, "-X {chain}");
        }
        further.push_str(&missing_jumps(&saved, table));
        text.push_str(&rules.table_text(table, &further));
    }
    netns.feed(&[restore_tool(backend), "--noflush"], &text).map(drop)
}

/// Empties the chains that lead to Services and leaves those of the Services.
pub fn flush(backend: Backend, netns: &Netns) -> Result<(), Error> {
    let text = "*nat\n-F KUBE-SERVICES\n-F KUBE-NODEPORTS\nCOMMIT\n\
                *filter\n-F KUBE-SERVICES\n-F KUBE-EXTERNAL-SERVICES\nCOMMIT\n";
    netns.feed(&[restore_tool(backend), "--noflush"], text).map(drop)
}

/// Inserted at the top, below what a policy engine keeps in the first place.
fn missing_jumps(saved: &str, table: &str) -> String {
    let mut lines = String::new();
    for (_, chain, jump) in JUMPS.iter().rev().filter(|(in_table, _, _)| *in_table == table) {
        let target = jump.rsplit(' ').next().unwrap_or_default();
        let mut present = rules_of(saved, table, chain);
        if present.clone().any(|rule| rule.ends_with(&format!("-j {target}"))) {
            continue;
        }
        let behind_policy = present.next().is_some_and(|rule| rule.contains("-j KUBE-ROUTER-"));
        let place = if behind_policy { 2 } else { 1 };
        let _ = writeln!(lines, "-I {chain} {place} {jump}");
    }
    lines
}

fn chains_of<'a>(saved: &'a str, table: &'a str) -> impl Iterator<Item = &'a str> + Clone {
    lines_of(saved, table).filter_map(|line| line.strip_prefix(':')?.split(' ').next())
}

fn rules_of<'a>(saved: &'a str, table: &'a str, chain: &'a str) -> impl Iterator<Item = &'a str> + Clone {
    lines_of(saved, table).filter(move |line| {
        line.strip_prefix("-A ")
            .and_then(|rule| rule.strip_prefix(chain))
            .is_some_and(|rest| rest.starts_with(' '))
    })
}

fn lines_of<'a>(saved: &'a str, table: &'a str) -> impl Iterator<Item = &'a str> + Clone {
    saved
        .lines()
        .skip_while(move |line| line.strip_prefix('*') != Some(table))
        .take_while(|line| *line != "COMMIT")
}

/// The save tool of a back-end.
pub const fn save_tool(backend: Backend) -> &'static str {
    match backend {
        Backend::IptablesLegacy => "iptables-legacy-save",
        _ => "iptables-nft-save",
    }
}

/// The restore tool of a back-end.
pub const fn restore_tool(backend: Backend) -> &'static str {
    match backend {
        Backend::IptablesLegacy => "iptables-legacy-restore",
        _ => "iptables-nft-restore",
    }
}
