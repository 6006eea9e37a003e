//! Routes and policy routing rules of the calling thread's namespace (RTM_GETROUTE, RTM_GETRULE).
//!
//! Not a route look-up: which route a packet takes is worked out in `rules`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::Family;
use model::node_state::{Link, Route, RouteKind, RoutingRule};

use crate::error::Error;
use crate::nl::{Netlink, address, attributes, text, u16_at, u32_at};

/// `struct rtmsg` and `struct fib_rule_hdr` (`linux/rtnetlink.h`, `linux/fib_rules.h`) have the same twelve bytes:
/// family, destination length, source length, tos, table, protocol or reserved, scope or reserved, type, flags.
const HEADER: usize = 12;
const RTM_GETROUTE: u16 = 26;
const RTM_GETRULE: u16 = 34;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// A cache entry of an earlier look-up (a path MTU, a redirect), not a route.
const RTM_F_CLONED: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTNEXTHOP: usize = 8;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
const FIB_RULE_INVERT: u32 = 2;

/// Routes of all tables of one family.
pub fn read(netlink: &mut Netlink, family: Family, links: &[Link]) -> Result<Vec<Route>, Error> {
    let request = "dump routes";
    let mut routes = Vec::new();
    for message in netlink.dump(request, RTM_GETROUTE, &header(family))? {
        routes.extend(route(&message.payload, family, links).ok_or(Error::NetlinkMalformed { request })?);
    }
    Ok(routes)
}

/// Policy routing rules of one family.
pub fn read_rules(netlink: &mut Netlink, family: Family) -> Result<Vec<RoutingRule>, Error> {
    let request = "dump routing rules";
    netlink
        .dump(request, RTM_GETRULE, &header(family))?
        .iter()
        .map(|message| rule(&message.payload, family).ok_or(Error::NetlinkMalformed { request }))
        .collect()
}

fn header(family: Family) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = match family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    };
    bytes
}

/// One message can hold several next hops, which become one route each; the walker treats equal routes as a choice.
fn route(payload: &[u8], family: Family, links: &[Link]) -> Option<Vec<Route>> {
    let prefix = *payload.get(1)?;
    let mut table = u32::from(*payload.get(4)?);
    let kind = route_kind(*payload.get(7)?);
    if u32_at(payload, 8)? & RTM_F_CLONED != 0 {
        return Some(Vec::new());
    }
    let Some(kind) = kind else { return Some(Vec::new()) };
    let mut destination = unspecified(family);
    let mut base = Route {
        table,
        destination: IpNet::new(destination, 0).ok()?,
        kind,
        gateway: None,
        device: None,
        prefer_src: None,
        metric: 0,
    };
    let mut hops: Vec<(Option<IpAddr>, Option<String>)> = Vec::new();
    for (attribute, value) in attributes(payload, HEADER) {
        match attribute {
            RTA_DST => destination = address(value)?,
            RTA_OIF => base.device = Some(device(links, u32_at(value, 0)?)),
            RTA_GATEWAY => base.gateway = address(value),
            RTA_VIA => base.gateway = via(value),
            RTA_PRIORITY => base.metric = u32_at(value, 0)?,
            RTA_PREFSRC => base.prefer_src = address(value),
            RTA_TABLE => table = u32_at(value, 0)?,
            RTA_MULTIPATH => hops = next_hops(value, links)?,
            _ => {}
        }
    }
    base.table = table;
    base.destination = IpNet::new(destination, prefix).ok()?;
    if hops.is_empty() {
        return Some(vec![base]);
    }
    Some(hops.into_iter().map(|(gateway, device)| Route { gateway, device, ..base.clone() }).collect())
}

/// `struct rtnexthop`: length, flags, hops, interface index, then attributes.
fn next_hops(mut value: &[u8], links: &[Link]) -> Option<Vec<(Option<IpAddr>, Option<String>)>> {
    let mut hops = Vec::new();
    while value.len() >= RTNEXTHOP {
        let length = usize::from(u16_at(value, 0)?);
        let hop = value.get(..length)?;
        let index = u32_at(hop, 4)?;
        let gateway = attributes(hop, RTNEXTHOP).find_map(|(kind, value)| match kind {
            RTA_GATEWAY => address(value),
            RTA_VIA => via(value),
            _ => None,
        });
        hops.push((gateway, Some(device(links, index))));
        value = value.get((length + 3) & !3..).unwrap_or_default();
    }
    Some(hops)
}

/// `struct rtvia`: a family and an address, for a gateway of the other family.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

fn device(links: &[Link], index: u32) -> String {
    links
        .iter()
        .find(|link| link.index == index)
        .map_or_else(|| format!("#{index}"), |link| link.name.clone())
}

/// `rtm_type`; the kinds left out (nat, xresolve, anycast) decide nothing for a connection's first packet.
const fn route_kind(kind: u8) -> Option<RouteKind> {
    Some(match kind {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        5 => RouteKind::Multicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        9 => RouteKind::Throw,
        _ => return None,
    })
}

fn rule(payload: &[u8], family: Family) -> Option<RoutingRule> {
    let destination_length = *payload.get(1)?;
    let source_length = *payload.get(2)?;
    let tos = *payload.get(3)?;
    let action = *payload.get(7)?;
    let flags = u32_at(payload, 8)?;
    let mut rule =
        RoutingRule { priority: 0, from: None, table: u32::from(*payload.get(4)?), other: Vec::new() };
    let mut source = unspecified(family);
    let mut destination = unspecified(family);
    let mut mark = None;
    let mut mask = None;
    for (kind, value) in attributes(payload, HEADER) {
        match kind {
            FRA_DST => destination = address(value)?,
            FRA_SRC => source = address(value)?,
            FRA_PRIORITY => rule.priority = u32_at(value, 0)?,
            FRA_TABLE => rule.table = u32_at(value, 0)?,
            FRA_IIFNAME => rule.other.push(format!("iif {}", text(value).escape_debug())),
            FRA_OIFNAME => rule.other.push(format!("oif {}", text(value).escape_debug())),
            FRA_FWMARK => mark = u32_at(value, 0),
            FRA_FWMASK => mask = u32_at(value, 0),
            FRA_GOTO => rule.other.push(format!("goto {}", u32_at(value, 0)?)),
            // -1 is what the kernel sends for "nothing suppressed".
            FRA_SUPPRESS_PREFIXLEN if u32_at(value, 0)? != u32::MAX => {
                rule.other.push(format!("suppress_prefixlength {}", u32_at(value, 0)?));
            }
            // Who installed the rule matters to nobody.
            FRA_PROTOCOL | FRA_SUPPRESS_PREFIXLEN | FRA_PAD => {}
            other => rule.other.push(format!("attribute {other}")),
        }
    }
    // "From all" is written as the whole family, since rules of both families lie in one list.
    rule.from = Some(IpNet::new(source, source_length).ok()?);
    // A mark of zero is not sent, its mask alone is (`fib_nl_fill_rule`, net/core/fib_rules.c).
    if mark.is_some() || mask.is_some() {
        let (mark, mask) = (mark.unwrap_or(0), mask.unwrap_or(u32::MAX));
        rule.other.push(format!("fwmark {mark:#x}/{mask:#x}"));
    }
    if destination_length > 0 {
        rule.other.push(format!("to {}", IpNet::new(destination, destination_length).ok()?));
    }
    if tos != 0 {
        rule.other.push(format!("tos {tos:#x}"));
    }
    if flags & FIB_RULE_INVERT != 0 {
        rule.other.push("not".to_owned());
    }
    if action != FR_ACT_TO_TBL {
        rule.other.push(format!("action {action}"));
    }
    Some(rule)
}

const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
