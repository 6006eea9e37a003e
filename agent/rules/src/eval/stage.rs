//! The way between chains: from hook to hook, with a route look-up where the kernel makes one.
//!
//! It knows the order of things, not what rules do.

use model::flow::{Family, Protocol};
use model::gap::Gap;
use model::node_state::RouteKind;
use model::walk::{Action, Outcome};

use super::{End, Flow, Parting, Stage, Walker, Way, consulted};
use crate::hooks::{Hook, Kind};
use crate::network::{Query, Tri, Way as Found};
use crate::packet::Device;

impl Walker<'_> {
    /// Finds the next base chain to run, or moves on to the next stage.
    pub(super) fn advance(&self, way: &mut Way) -> Flow {
        let hook = match way.stage {
            Stage::SendRoute => return self.send(way),
            Stage::ArrivalRoute => return self.arrive(way),
            Stage::Hook(hook) => hook,
        };
        if let Some(end) = self.look_again(way) {
            return end.into();
        }
        while let Some(entry) = self.chains.get(way.entry) {
            if entry.base.hook == hook && consulted(entry.base, &way.packet) {
                way.packet.tracked |= entry.base.after_tracking();
                way.running = true;
                way.frames.clear();
                way.frames.push(super::Frame { chain: entry.chain, next: 0 });
                return Flow::On;
            }
            way.entry += 1;
        }
        way.entry = 0;
        way.after(hook)
    }

    /// The look-up before OUTPUT.
    fn send(&self, way: &mut Way) -> Flow {
        way.stage = Stage::Hook(Hook::Output);
        match self.look_up(way) {
            Some(end) => end.into(),
            None => Flow::On,
        }
    }

    /// After a chain of OUTPUT: looks again if it changed the destination, or the mark and it is one for that
    /// (`nf_nat_ipv4_local_fn`, `nf_route_table_hook4`: `ip_route_me_harder`).
    pub(super) fn look_again(&self, way: &mut Way) -> Option<End> {
        let (dst, mark) = way.looked_up;
        if way.stage != Stage::Hook(Hook::Output) || (dst, mark) == (way.packet.dst.ip(), way.packet.mark) {
            return None;
        }
        let left = way.entry.checked_sub(1).and_then(|entry| self.chains.get(entry));
        if dst == way.packet.dst.ip() && left.is_some_and(|left| left.base.kind != Kind::Route) {
            way.looked_up.1 = way.packet.mark;
            return None;
        }
        self.look_up(way)
    }

    /// Looks up the way of a locally sent packet.
    fn look_up(&self, way: &mut Way) -> Option<End> {
        way.looked_up = (way.packet.dst.ip(), way.packet.mark);
        let found = self.network.way(&Query {
            src: way.packet.src,
            dst: way.packet.dst.ip(),
            mark: way.packet.mark,
            input: &Device::Named("lo".into()),
        });
        (way.to_self, way.gateway) = (false, None);
        match found {
            Found::Local => {
                way.to_self = true;
                way.packet.output = Device::Named("lo".into());
                way.record(None, Action::Route("to this host".into()));
                None
            }
            Found::On { device, gateway } => {
                let loopback = way.packet.src.is_loopback() && way.packet.src.is_ipv4();
                if loopback
                    && !matches!(&device, Device::Named(name) if **name == *"lo")
                    && !self.network.routes_loopback(&device)
                {
                    // `__mkroute_output` refuses a loopback source on any other interface.
                    way.record(
                        None,
                        Action::Route("a loopback source may not leave (route_localnet is off)".into()),
                    );
                    return Some(way.stopped(
                        Outcome::Rejected,
                        None,
                        Some("invalid argument at the sender".into()),
                    ));
                }
                way.record(None, Action::Route(leaving(&device, gateway)));
                way.packet.output = device;
                way.gateway = gateway;
                None
            }
            Found::Group => Some(way.addressed_to_group()),
            Found::Refused(kind, net) => {
                let told = match kind {
                    RouteKind::Prohibit => "permission denied at the sender",
                    RouteKind::Unreachable => "no route to host at the sender",
                    _ => "invalid argument at the sender",
                };
                way.record(None, Action::Route(format!("{} route {net}", word(kind))));
                Some(way.stopped(Outcome::Rejected, None, Some(told.into())))
            }
            Found::None => {
                way.record(None, Action::Route(format!("no route to {}", way.packet.dst.ip())));
                Some(way.stopped(
                    Outcome::Rejected,
                    None,
                    Some("network is unreachable at the sender".into()),
                ))
            }
            Found::Assumed(gap) => {
                way.record(None, Action::Route(ASSUMED.into()));
                way.gaps.push(gap);
                way.packet.output = Device::Unknown;
                None
            }
            Found::Unknown(gap) => Some(way.unrouted(gap)),
        }
    }

    /// The look-up after PREROUTING.
    fn arrive(&self, way: &mut Way) -> Flow {
        let dst = way.packet.dst.ip();
        if way.packet.local_sender {
            // Sent to this host itself: the look-up before is still good (`skb_dst`), the packet is on lo.
            way.stage = Stage::Hook(Hook::Input);
            return Flow::On;
        }
        if dst.is_loopback() && !way.on_loopback() {
            let passes = dst.is_ipv4() && self.network.routes_loopback(&way.packet.input);
            if !passes {
                // `ip_route_input_slow`: martian destination; IPv6 drops ::1 from the wire in `ip6_rcv_core`.
                way.record(None, Action::Route(format!("{dst} from another host (martian destination)")));
                return way.stopped(Outcome::Dropped, None, None).into();
            }
        }
        match self.network.is_local(dst) {
            Tri::Yes => {
                way.deliver();
                Flow::On
            }
            Tri::No => self.forward(way),
            Tri::Unknown => {
                let mut other = way.clone();
                other.deliver();
                if let Flow::Ended(end) = self.forward(way) {
                    way.finished = Some(end);
                }
                Flow::Parted(Parting::Doubt(self.network.addresses_gap()), Box::new(other))
            }
        }
    }

    fn forward(&self, way: &mut Way) -> Flow {
        let dst = way.packet.dst.ip();
        let family = Family::of(dst);
        let found = self.network.way(&Query {
            src: way.packet.src,
            dst,
            mark: way.packet.mark,
            input: &way.packet.input,
        });
        let forwards = self.network.forwards(family, &way.packet.input);
        match found {
            Found::Local => way.deliver(),
            Found::Group => return way.addressed_to_group().into(),
            Found::Unknown(gap) => return way.unrouted(gap).into(),
            _ if forwards == Some(false) => {
                let name = if family == Family::Ipv4 {
                    "net.ipv4.ip_forward"
                } else {
                    "net.ipv6.conf.all.forwarding"
                };
                way.record(
                    None,
                    Action::Route(format!("not for this host, and forwarding is off ({name}=0)")),
                );
                return way.stopped(Outcome::Dropped, None, None).into();
            }
            Found::On { device, gateway } => {
                if forwards.is_none() {
                    way.gaps.push(Gap::new("sysctls", "forwarding was not read; taken to be on"));
                }
                way.record(None, Action::Route(leaving(&device, gateway)));
                way.packet.output = device;
                way.gateway = gateway;
                way.stage = Stage::Hook(Hook::Forward);
            }
            Found::Assumed(gap) => {
                if forwards.is_none() {
                    way.gaps.push(Gap::new("sysctls", "forwarding was not read; taken to be on"));
                }
                way.record(None, Action::Route(ASSUMED.into()));
                way.gaps.push(gap);
                way.packet.output = Device::Unknown;
                way.stage = Stage::Hook(Hook::Forward);
            }
            Found::Refused(kind, net) => {
                way.record(None, Action::Route(format!("{} route {net}", word(kind))));
                // `ip_error`: which ICMP code a refusing route sends.
                let (outcome, told) = match (kind, family) {
                    (RouteKind::Unreachable, Family::Ipv4) => {
                        (Outcome::Rejected, Some("icmp-host-unreachable"))
                    }
                    (RouteKind::Prohibit, Family::Ipv4) => (Outcome::Rejected, Some("icmp-admin-prohibited")),
                    (RouteKind::Unreachable, Family::Ipv6) => (Outcome::Rejected, Some("icmp6-no-route")),
                    (RouteKind::Prohibit, Family::Ipv6) => (Outcome::Rejected, Some("icmp6-adm-prohibited")),
                    _ => (Outcome::Dropped, None),
                };
                return way.stopped(outcome, None, told.map(Into::into)).into();
            }
            Found::None => {
                way.record(None, Action::Route(format!("no route to {dst}")));
                let told = if family == Family::Ipv4 { "icmp-net-unreachable" } else { "icmp6-no-route" };
                return way.stopped(Outcome::Rejected, None, Some(told.into())).into();
            }
        }
        Flow::On
    }
}

impl Way {
    /// The base chain being run is done with the packet.
    pub(super) fn leave(&mut self) {
        self.running = false;
        self.frames.clear();
        self.entry += 1;
    }

    fn after(&mut self, hook: Hook) -> Flow {
        match hook {
            Hook::Prerouting => {
                self.packet.dst_settled = true;
                self.stage = Stage::ArrivalRoute;
            }
            Hook::Output => {
                self.packet.dst_settled = true;
                self.stage = Stage::Hook(Hook::Postrouting);
            }
            Hook::Forward => self.stage = Stage::Hook(Hook::Postrouting),
            Hook::Input => return self.stopped(Outcome::Local, None, None).into(),
            Hook::Postrouting => {
                self.packet.src_settled = true;
                if !self.to_self {
                    return self.stopped(Outcome::Forwarded, None, None).into();
                }
                // What a host sends to itself comes in again by the loopback interface.
                self.packet.input = Device::Named("lo".into());
                self.packet.output = Device::Absent;
                self.stage = Stage::Hook(Hook::Prerouting);
            }
        }
        Flow::On
    }

    fn on_loopback(&self) -> bool {
        matches!(&self.packet.input, Device::Named(name) if **name == *"lo")
    }

    fn deliver(&mut self) {
        self.to_self = true;
        self.stage = Stage::Hook(Hook::Input);
        self.record(None, Action::Route("to this host".into()));
    }

    /// Broadcast and multicast: datagrams are delivered, connections cannot be made (`tcp_v4_rcv`: not PACKET_HOST).
    fn addressed_to_group(&mut self) -> End {
        self.record(None, Action::Route(format!("{} is no single host", self.packet.dst.ip())));
        if self.packet.protocol == Protocol::Udp {
            return self
                .unrouted(Gap::new("delivery to a group", "broadcast and multicast are not followed"));
        }
        let outcome = if self.packet.local_sender { Outcome::Rejected } else { Outcome::Dropped };
        let told = self.packet.local_sender.then(|| "network is unreachable at the sender".to_owned());
        self.stopped(outcome, None, told)
    }

    pub(super) fn unrouted(&self, gap: Gap) -> End {
        let mut end = self.stopped(Outcome::Unknown, None, None);
        end.gaps.push(gap);
        end
    }
}

/// The step of a packet whose route nobody saved.
const ASSUMED: &str = "on, by a route that was not saved";

pub(super) fn leaving(device: &Device, gateway: Option<std::net::IpAddr>) -> String {
    let device = match device {
        Device::Named(name) => format!("dev {name}"),
        Device::Absent | Device::Unknown => "one of several devices".to_owned(),
    };
    gateway.map_or_else(|| device.clone(), |gateway| format!("via {gateway} {device}"))
}

const fn word(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Local => "local",
        RouteKind::Broadcast => "broadcast",
        RouteKind::Multicast => "multicast",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Throw => "throw",
    }
}
