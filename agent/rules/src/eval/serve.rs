//! What becomes of a packet that IPVS sends to a real server.
//!
//! Which one is picked the rules of `ipvs` say. Facts: `ip_vs_nat_xmit`, `ip_vs_dr_xmit`, `ip_vs_tunnel_xmit`,
//! `__ip_vs_get_out_rt` and `ip_vs_nat_send_or_cont` in net/netfilter/ipvs/ip_vs_xmit.c.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::flow::Family;
use model::gap::Gap;
use model::walk::{Action, Outcome};

use super::stage::leaving;
use super::{Flow, RuleId, Stage, Walker, Way};
use crate::hooks::Hook;
use crate::ipvs::Method;
use crate::ir::Real;
use crate::network::{Query, Tri, Way as Found};
use crate::packet::Device;

impl Walker<'_> {
    /// Sends the packet to a real server. One of this host gets it where the packet is; any other by the way that the
    /// host's own packets take, OUTPUT once more from its beginning, and without FORWARD.
    pub(super) fn serve(&self, way: &mut Way, id: RuleId, real: Real) -> Flow {
        let port = if real.address.port() == 0 { way.packet.dst.port() } else { real.address.port() };
        let to = SocketAddr::new(real.address.ip(), port);
        let here = match real.method {
            Method::Local => Tri::Yes,
            _ => self.network.is_local(to.ip()),
        };
        way.packet.served = Some(way.packet.dst);
        match (here, real.method) {
            (Tri::Unknown, _) => return way.unrouted(self.network.addresses_gap()).into(),
            (Tri::Yes, Method::Masquerade) if to.ip().is_loopback() && !way.packet.local_sender => {
                way.record(
                    Some(id),
                    Action::Route(format!("{to} is loopback: not for packets from outside")),
                );
                return way.stopped(Outcome::Dropped, Some(id), None).into();
            }
            (Tri::No, Method::Tunnel) => {
                way.record(Some(id), Action::Unknown(format!("wrapped into a packet to {}", to.ip())));
                let why = format!("what becomes of the tunnel to {} is not followed", to.ip());
                return way.unrouted(Gap::new("IPVS", why)).into();
            }
            _ => {}
        }
        if real.method == Method::Masquerade {
            way.record(Some(id), Action::Dnat(to));
            way.packet.dst = to;
            way.dnat = Some(id);
        } else {
            way.record(Some(id), Action::Accept);
        }
        self.tracking(way);
        if here == Tri::Yes {
            // The route it has leads to this host already.
            way.looked_up = (way.packet.dst.ip(), way.packet.mark);
            way.leave();
            return Flow::On;
        }
        self.send_on(way, id, to.ip(), real.method)
    }

    /// Without `net.ipv4.vs.conntrack` what IPVS sends is exempt from connection tracking, so no nat chain of
    /// POSTROUTING sees it (`ip_vs_notrack`).
    fn tracking(&self, way: &mut Way) {
        match self.network.sysctl("net.ipv4.vs.conntrack") {
            Some(0) => way.packet.untracked = true,
            Some(_) => {}
            None => {
                let gap = Gap::new(
                    "sysctls",
                    "net.ipv4.vs.conntrack was not read; taken to be on, as kube-proxy sets it",
                );
                way.gaps.push(gap);
            }
        }
    }

    fn send_on(&self, way: &mut Way, id: RuleId, to: IpAddr, method: Method) -> Flow {
        if way.packet.src.is_loopback() {
            // `crosses_local_route_boundary`
            way.record(None, Action::Route("a loopback source may not leave this host".into()));
            return way.stopped(Outcome::Dropped, Some(id), None).into();
        }
        let family = Family::of(to);
        // Looked up without source and mark (`do_output_route4`, `__ip_vs_route_output_v6`).
        let src = match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let found = self.network.way(&Query { src, dst: to, mark: 0, input: &Device::Named("lo".into()) });
        let (device, gateway) = match found {
            Found::On { device, gateway } => (device, gateway),
            Found::Assumed(gap) => {
                way.gaps.push(gap);
                (Device::Unknown, None)
            }
            Found::Unknown(gap) => return way.unrouted(gap).into(),
            Found::Local | Found::Group => {
                let why = format!("{to} is no single host beyond this one");
                return way.unrouted(Gap::new("IPVS", why)).into();
            }
            Found::Refused(..) | Found::None => {
                way.record(None, Action::Route(format!("no route to {to}")));
                // `dst_link_failure`
                let told = match family {
                    Family::Ipv4 => "icmp-host-unreachable",
                    Family::Ipv6 => "icmp6-addr-unreachable",
                };
                return way.stopped(Outcome::Rejected, Some(id), Some(told.into())).into();
            }
        };
        // A packet that is not rewritten goes to the real server's hardware address.
        let gateway = gateway.or((method != Method::Masquerade).then_some(to));
        way.record(None, Action::Route(leaving(&device, gateway)));
        (way.to_self, way.gateway) = (false, gateway);
        way.packet.output = device;
        way.packet.input = Device::Absent;
        way.packet.dst_settled = true;
        way.looked_up = (way.packet.dst.ip(), way.packet.mark);
        way.leave();
        (way.stage, way.entry) = (Stage::Hook(Hook::Output), 0);
        Flow::On
    }
}
