//! Which sources of kernel state work here, in words a person can act on. It reads each source once and changes nothing.

use std::fmt::Write;

use model::walk::Backend;
use model::{Family, NetnsOwner, SourceHealth, SourceState};

use crate::enter::in_netns;
use crate::ipset;
use crate::iptables;
use crate::ipvs;
use crate::netns::Namespaces;
use crate::nft;
use crate::nl::{self, Netlink};
use crate::routes;
use crate::sockets;

/// The state of each source.
pub fn preflight() -> Vec<SourceState> {
    let namespaces = Namespaces::open();
    let mut sources = vec![
        iptables_state(),
        nftables_state(),
        ipset_state(),
        ipvs_state(),
        routes_state(),
        sockets_state(),
    ];
    sources.push(match &namespaces {
        Ok(namespaces) => netns_state(namespaces),
        Err(error) => state("netns", SourceHealth::Unavailable, error.in_words()),
    });
    sources
}

fn state(name: &str, health: SourceHealth, detail: impl Into<String>) -> SourceState {
    SourceState { name: name.to_owned(), health, detail: detail.into() }
}

fn iptables_state() -> SourceState {
    let mut gaps = Vec::new();
    let legacy =
        [Family::Ipv4, Family::Ipv6].into_iter().any(|family| iptables::legacy_tables(family, &mut gaps));
    let generation = nft::generation();
    let mut works = Vec::new();
    let mut lacks: Vec<String> = gaps.iter().map(ToString::to_string).collect();
    let mut needed = false;
    for (backend, version) in iptables::tool_versions() {
        match (backend, version) {
            (_, Ok(version)) => works.push(version),
            (Backend::IptablesLegacy, Err(why)) => {
                needed |= legacy;
                lacks.push(format!("{why}; legacy rules cannot be read"));
            }
            (_, Err(why)) => {
                needed |= matches!(generation, Ok(Some(_)));
                lacks.push(format!("{why}; rules written through nf_tables cannot be read"));
            }
        }
    }
    if let Err(error) = &generation {
        lacks.push(format!("{}; every question reads all rules again", error.in_words()));
    }
    // A tool that is missing costs nothing where its back-end holds no rules.
    let health = if works.is_empty() {
        SourceHealth::Unavailable
    } else if needed || !gaps.is_empty() || generation.is_err() {
        SourceHealth::Degraded
    } else {
        SourceHealth::Ok
    };
    state("iptables", health, [works, lacks].concat().join("; "))
}

/// Rules are read over netlink; the tool is what remains where that fails.
fn nftables_state() -> SourceState {
    let tool = nft::tool_version();
    match nft::count_tables() {
        Ok(None) => state("nftables", SourceHealth::Ok, "no nf_tables in this kernel: nothing to read"),
        Ok(Some(count)) => {
            let tables = if count == 1 { "1 table".to_owned() } else { format!("{count} tables") };
            let other = match tool {
                Ok(version) => format!("{version} is at hand should that fail"),
                Err(why) => format!("no other way should that fail: {why}"),
            };
            state("nftables", SourceHealth::Ok, format!("{tables}, read over netlink; {other}"))
        }
        Err(error) => match tool {
            Ok(version) => {
                let detail = format!("{}; rules are read by {version}", error.in_words());
                state("nftables", SourceHealth::Degraded, detail)
            }
            Err(why) => state("nftables", SourceHealth::Unavailable, format!("{}; {why}", error.in_words())),
        },
    }
}

fn ipset_state() -> SourceState {
    match ipset::tool_version() {
        Ok(version) => state("ipset", SourceHealth::Ok, version),
        Err(why) => {
            let detail =
                format!("{why}; rules that ask sets (kube-router, Calico, IPVS mode) cannot be told");
            state("ipset", SourceHealth::Degraded, detail)
        }
    }
}

fn ipvs_state() -> SourceState {
    match ipvs::read() {
        Ok(text) if text.is_empty() => {
            state("ipvs", SourceHealth::Ok, "no IPVS in this kernel, or not loaded: nothing to read")
        }
        Ok(text) => {
            let servers = text.lines().filter(|line| ipvs::is_server(line)).count();
            state("ipvs", SourceHealth::Ok, format!("{servers} virtual servers in /proc/net/ip_vs"))
        }
        Err(gap) => state("ipvs", SourceHealth::Unavailable, gap.why),
    }
}

fn routes_state() -> SourceState {
    let read = Netlink::open(nl::ROUTE).and_then(|mut netlink| {
        let ipv4 = routes::read(&mut netlink, Family::Ipv4, &[])?.len();
        let ipv6 = routes::read(&mut netlink, Family::Ipv6, &[])?.len();
        Ok((ipv4, ipv6))
    });
    match read {
        Ok((ipv4, ipv6)) => state("routes", SourceHealth::Ok, format!("{ipv4} IPv4 and {ipv6} IPv6 routes")),
        Err(error) => state("routes", SourceHealth::Unavailable, error.in_words()),
    }
}

fn sockets_state() -> SourceState {
    match sockets::probe() {
        Ok(()) => state("sockets", SourceHealth::Ok, "listeners are read through sock_diag"),
        Err(error) => state("sockets", SourceHealth::Unavailable, error.in_words()),
    }
}

fn netns_state(namespaces: &Namespaces) -> SourceState {
    let pods = namespaces.all().filter(|known| matches!(known.netns.owner, NetnsOwner::Pod { .. })).count();
    let others = namespaces.all().count() - 1;
    let place = if namespaces.is_initial() { "the initial namespace" } else { "a namespace of its own" };
    let mut detail = format!("the agent runs in {place}; {pods} pod namespaces among {others} others");
    let Some(first) = namespaces.gaps().first() else {
        let enters = namespaces.all().skip(1).take(1).all(|known| in_netns(&known.handle, || ()).is_ok());
        let health = if enters { SourceHealth::Ok } else { SourceHealth::Degraded };
        return state("netns", health, detail);
    };
    // Writing to a String cannot fail.
    let _ = write!(detail, "; {first}");
    if namespaces.gaps().len() > 1 {
        let _ = write!(detail, " and {} more such", namespaces.gaps().len() - 1);
    }
    let health = if others == 0 { SourceHealth::Unavailable } else { SourceHealth::Degraded };
    state("netns", health, detail)
}
