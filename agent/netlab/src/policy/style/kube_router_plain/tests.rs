//! The text is compared byte by byte: answers of stories quote these rules.

use model::flow::PortRange;
use model::{Family, Key, Protocol};

use super::super::kube_router::LAYOUT;
use super::render;
use crate::policy::enforcer::PolicedPod;
use crate::policy::{Admitted, Isolation, PodDecision};

fn pods() -> Vec<PolicedPod> {
    let pod = |name: &str, address: &str| PolicedPod {
        key: Key::new("shop", name),
        addresses: vec![address.parse().expect("address")],
        interface: "veth0".into(),
    };
    vec![pod("other", "10.244.1.6"), pod("server", "10.244.1.5")]
}

fn decision() -> PodDecision {
    let admit = |peer: &str, except: &[&str], protocol, ports| Admitted {
        peer: peer.parse().expect("prefix"),
        except: except.iter().map(|hole| hole.parse().expect("prefix")).collect(),
        protocol,
        ports,
    };
    let web = PortRange::single(8080);
    PodDecision {
        pod: Key::new("shop", "server"),
        ingress: vec![
            Isolation {
                policy: Key::new("shop", "web"),
                admitted: vec![
                    admit("10.244.2.5/32", &[], Some(Protocol::Tcp), Some(web)),
                    admit("fd00::25/128", &[], Some(Protocol::Tcp), Some(web)),
                    admit(
                        "10.0.0.0/30",
                        &["10.0.0.1/32"],
                        Some(Protocol::Udp),
                        Some(PortRange { first: 80, last: 90 }),
                    ),
                ],
            },
            Isolation { policy: Key::new("shop", "none"), admitted: Vec::new() },
        ],
        egress: vec![Isolation {
            policy: Key::new("shop", "web"),
            admitted: vec![
                admit("0.0.0.0/0", &[], None, None),
                admit("::/0", &[], None, None),
                admit("10.9.0.0/16", &[], Some(Protocol::Sctp), None),
            ],
        }],
    }
}

#[test]
fn ipv4_rules_are_what_they_always_were() {
    let cidrs = ["10.96.0.0/16", "fd00:96::/112"].map(|cidr| cidr.parse().expect("prefix"));
    let (first, second) = (include_str!("first.rules"), include_str!("second.rules"));
    let pods = pods();
    assert_eq!(render(Family::Ipv4, &cidrs, &pods, &[decision()]).replacing(&LAYOUT, ""), first);
    assert_eq!(render(Family::Ipv4, &cidrs, &pods, &[]).replacing(&LAYOUT, first), second);
}
