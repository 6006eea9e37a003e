//! What the host itself knows of addresses and ways: interfaces, addresses, routes, sysctls.
//!
//! It answers as the kernel's tables would, without rp_filter, source-address selection or next-hop reachability,
//! which no rule can see. A part that was not read answers "unknown", never "no".

mod selectors;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::flow::Family;
use model::gap::Gap;
use model::node_state::{NodeState, Part, Route, RouteKind, RoutingRule, Unread};

use crate::packet::Device;

const LOCAL: u32 = 255;
const MAIN: u32 = 254;
const DEFAULT: u32 = 253;

/// Three-valued truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tri {
    Yes,
    No,
    Unknown,
}

impl Tri {
    pub(crate) const fn of(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }

    pub(crate) const fn not_if(self, negate: bool) -> Self {
        match (self, negate) {
            (Self::Yes, true) => Self::No,
            (Self::No, true) => Self::Yes,
            (same, _) => same,
        }
    }
}

/// What is looked up in the routing tables.
pub(crate) struct Query<'q> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) mark: u32,
    /// The interface it arrived on; `lo` for what a local process sends.
    pub(crate) input: &'q Device,
}

/// What the routing tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is for this host.
    Local,
    /// It is for a group or for all on a link.
    Group,
    /// It goes on.
    On { device: Device, gateway: Option<IpAddr> },
    /// A route of this kind says no.
    Refused(RouteKind, IpNet),
    /// No route covers it.
    None,
    /// No routes were saved; usually there is one.
    Assumed(Gap),
    /// It cannot be told.
    Unknown(Gap),
}

/// The host's own network state.
#[derive(Debug)]
pub(crate) struct Network {
    local: HashSet<IpAddr>,
    local_nets: Vec<IpNet>,
    broadcasts: HashSet<IpAddr>,
    first_address: HashMap<(Arc<str>, Family), IpAddr>,
    tables: HashMap<(u32, Family), Vec<Route>>,
    rules: Vec<RoutingRule>,
    bridges: HashSet<String>,
    /// Virtual routers and what belongs to them.
    routed_apart: HashSet<String>,
    links_read: bool,
    addresses_unread: Option<Gap>,
    /// By family, IPv4 first.
    routes_unread: [Option<Gap>; 2],
    /// The same where nobody saved any: then they are taken to lead on.
    routes_unsaved: [Option<Gap>; 2],
    sysctls: std::collections::BTreeMap<String, String>,
}

impl Network {
    pub(crate) fn new(state: &NodeState) -> Self {
        let unread =
            |part: Part| state.unread.iter().find(|unread| unread.part == part).map(|unread| &unread.gap);
        let addresses_unread = unread(Part::Addresses).filter(|_| state.addresses.is_empty()).cloned();
        let routes_unread = [Family::Ipv4, Family::Ipv6].map(|family| {
            let none = !state.routes.iter().any(|route| Family::of(route.destination.addr()) == family);
            let routes = unread(Part::Routes(family)).filter(|_| none);
            unread(Part::RoutingRules(family)).or(routes).cloned()
        });
        let routes_unsaved = [Family::Ipv4, Family::Ipv6].map(|family| {
            let routes = |unread: &&Unread| unread.part == Part::Routes(family);
            state.unsaved.iter().find(routes).map(|unread| unread.gap.clone())
        });
        let mut network = Self {
            local: HashSet::new(),
            local_nets: Vec::new(),
            broadcasts: HashSet::new(),
            first_address: HashMap::new(),
            tables: HashMap::new(),
            rules: state.routing_rules.clone(),
            bridges: HashSet::new(),
            routed_apart: HashSet::new(),
            links_read: !state.links.is_empty(),
            addresses_unread,
            routes_unread,
            routes_unsaved,
            sysctls: state.sysctls.clone(),
        };
        network.rules.sort_by_key(|rule| rule.priority);
        for address in &state.addresses {
            let ip = address.address.addr();
            network.local.insert(ip);
            if let IpNet::V4(net) = address.address
                && net.prefix_len() < 31
            {
                network.broadcasts.insert(IpAddr::V4(net.broadcast()));
            }
            let key = (Arc::from(address.interface.as_str()), Family::of(ip));
            network.first_address.entry(key).or_insert(ip);
        }
        let routers: HashSet<u32> =
            state.links.iter().filter(|link| link.kind == "vrf").map(|link| link.index).collect();
        for link in &state.links {
            if link.kind == "bridge" {
                network.bridges.insert(link.name.clone());
            }
            if routers.contains(&link.index) || link.master.is_some_and(|master| routers.contains(&master)) {
                network.routed_apart.insert(link.name.clone());
            }
        }
        for route in &state.routes {
            if route.kind == RouteKind::Local {
                network.local_nets.push(route.destination);
            }
            let family = Family::of(route.destination.addr());
            network.tables.entry((route.table, family)).or_default().push(route.clone());
        }
        for table in network.tables.values_mut() {
            // Longest prefix first, then the lowest metric: the first that covers an address is the kernel's choice.
            table.sort_by_key(|route| (u8::MAX - route.destination.prefix_len(), route.metric));
        }
        network
    }

    /// Whether an address is this host's own, the loopback network included.
    pub(crate) fn is_local(&self, address: IpAddr) -> Tri {
        let own = address.is_loopback()
            || self.local.contains(&address)
            || self.local_nets.iter().any(|net| net.contains(&address));
        // The local table says as much as the addresses do.
        let unread = self.addresses_unread.is_some() && self.local_nets.is_empty();
        if unread && !own { Tri::Unknown } else { Tri::of(own) }
    }

    /// Why the host's addresses are not known.
    pub(crate) fn addresses_gap(&self) -> Gap {
        self.addresses_unread.clone().unwrap_or_else(|| Gap::new("addresses of this host", "not read"))
    }

    /// Whether an address is a broadcast address of a connected network.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let all = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
        address == all || (self.broadcasts.contains(&address) && self.is_local(address) != Tri::Yes)
    }

    /// Whether an interface is a bridge; unknown if the interfaces were not read.
    pub(crate) fn is_bridge(&self, device: &Device) -> Tri {
        match device {
            Device::Absent => Tri::No,
            Device::Named(name) if self.links_read => Tri::of(self.bridges.contains(&**name)),
            _ => Tri::Unknown,
        }
    }

    /// Whether a virtual router's table may be asked about what came in by an interface (`l3mdev_fib_rule_match`).
    fn may_be_routed_apart(&self, device: &Device) -> bool {
        match device {
            Device::Absent => false,
            Device::Named(name) if self.links_read => self.routed_apart.contains(&**name),
            Device::Named(_) | Device::Unknown => true,
        }
    }

    /// The first address of an interface.
    pub(crate) fn address_of(&self, device: &Device, family: Family) -> Option<IpAddr> {
        match device {
            Device::Named(name) => self.first_address.get(&(Arc::clone(name), family)).copied(),
            _ => None,
        }
    }

    /// The interface that packets from `src` come in by, going by the way back.
    pub(crate) fn arrives_by(&self, src: IpAddr) -> Device {
        let query = Query { src, dst: src, mark: 0, input: &Device::Unknown };
        match self.way(&query) {
            Way::On { device, .. } => device,
            Way::Local => Device::Named(Arc::from("lo")),
            _ => Device::Unknown,
        }
    }

    /// A sysctl as a number.
    pub(crate) fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.get(name)?.trim().parse().ok()
    }

    /// Whether packets that came in by `device` are forwarded; `None` if no sysctl tells.
    pub(crate) fn forwards(&self, family: Family, device: &Device) -> Option<bool> {
        let version = version(family);
        let own = match device {
            Device::Named(name) => {
                self.sysctl(&format!("net.{version}.conf.{}.forwarding", sysctl_name(name)))
            }
            _ => None,
        };
        let whole = match family {
            Family::Ipv4 => {
                self.sysctl("net.ipv4.ip_forward").or_else(|| self.sysctl("net.ipv4.conf.all.forwarding"))
            }
            Family::Ipv6 => self.sysctl("net.ipv6.conf.all.forwarding"),
        };
        // IPv6 asks the interface's own value as well since 5.x, but `all` is copied to every interface when set.
        own.or(whole).map(|value| value != 0)
    }

    /// Whether 127.0.0.0/8 may be used on `device` other than loopback; off unless a sysctl says otherwise.
    pub(crate) fn routes_loopback(&self, device: &Device) -> bool {
        let on = |name: &str| {
            self.sysctl(&format!("net.ipv4.conf.{name}.route_localnet")).is_some_and(|value| value != 0)
        };
        on("all") || matches!(device, Device::Named(name) if on(&sysctl_name(name)))
    }

    /// Looks up where a packet goes.
    pub(crate) fn way(&self, query: &Query<'_>) -> Way {
        let family = Family::of(query.dst);
        let [of_ipv4, of_ipv6] = &self.routes_unread;
        if let Some(gap) = if family == Family::Ipv4 { of_ipv4 } else { of_ipv6 } {
            return match self.is_local(query.dst) {
                Tri::Yes => Way::Local,
                _ => Way::Unknown(gap.clone()),
            };
        }
        if self.is_local(query.dst) == Tri::Yes {
            // Addresses are in the local table, which is consulted first unless somebody moved its rule.
            return Way::Local;
        }
        let usual = [(0, LOCAL), (32_766, MAIN), (32_767, DEFAULT)].map(|(priority, table)| RoutingRule {
            priority,
            from: None,
            table,
            other: Vec::new(),
        });
        let of_family = |rule: &&RoutingRule| rule.from.is_none_or(|net| Family::of(net.addr()) == family);
        let rules = if self.rules.iter().any(|rule| of_family(&rule)) { &self.rules[..] } else { &usual[..] };
        let mut doubtful: Vec<(Way, Gap)> = Vec::new();
        let mut way = Way::None;
        for rule in rules.iter().filter(of_family) {
            let applies = selectors::applies(rule, query);
            let elsewhere = selectors::is_of_virtual_routers(rule) && !self.may_be_routed_apart(query.input);
            if applies == Tri::No || elsewhere || selectors::is_nothing(rule) {
                continue;
            }
            if selectors::is_action(rule) {
                let gap =
                    Gap::new("routing", format!("rule `{}` is not modelled", selectors::describe(rule)));
                doubtful.push((Way::Unknown(gap.clone()), gap));
                continue;
            }
            let Some((found, length)) = self.lookup(rule.table, family, query.dst) else { continue };
            // A route that refuses is an answer at once; only what leads somewhere is suppressed (`fib_rules_lookup`).
            let leads = !matches!(found, Way::Refused(..));
            if leads && selectors::suppressed(rule).is_some_and(|limit| i64::from(length) <= limit) {
                continue;
            }
            if applies == Tri::Unknown {
                let why = format!("rule `{}` may apply", selectors::describe(rule));
                doubtful.push((found, Gap::new("routing", why)));
                continue;
            }
            way = found;
            break;
        }
        let [of_ipv4, of_ipv6] = &self.routes_unsaved;
        let unsaved = if family == Family::Ipv4 { of_ipv4 } else { of_ipv6 };
        match (doubtful.into_iter().find(|(other, _)| *other != way), unsaved) {
            (Some((_, gap)), _) => Way::Unknown(gap),
            (None, Some(gap)) if way == Way::None => Way::Assumed(gap.clone()),
            (None, _) => way,
        }
    }

    /// The way a table gives and the length of the prefix it goes by; `None` to go on in the next table.
    fn lookup(&self, table: u32, family: Family, dst: IpAddr) -> Option<(Way, u8)> {
        let routes = self.tables.get(&(table, family))?;
        let first = routes.iter().position(|route| route.destination.contains(&dst))?;
        let route = routes.get(first)?;
        let same = |other: &&Route| other.destination == route.destination && other.metric == route.metric;
        let way = match route.kind {
            RouteKind::Throw => return None,
            RouteKind::Local => Way::Local,
            RouteKind::Broadcast | RouteKind::Multicast => Way::Group,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit => {
                Way::Refused(route.kind, route.destination)
            }
            RouteKind::Unicast => {
                // Equal routes are next hops the kernel chooses from by a hash of the flow.
                let others = || routes.iter().skip(first + 1).take_while(same);
                let device = match &route.device {
                    Some(name) if others().all(|path| path.device == route.device) => {
                        Device::Named(Arc::from(name.as_str()))
                    }
                    _ => Device::Unknown,
                };
                let gateway = route.gateway.filter(|_| others().all(|path| path.gateway == route.gateway));
                Way::On { device, gateway }
            }
        };
        Some((way, route.destination.prefix_len()))
    }
}

const fn version(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// `sysctl` writes a dot inside an interface name as a slash.
fn sysctl_name(interface: &str) -> String {
    interface.replace('.', "/")
}

#[cfg(test)]
mod tests;
