//! Random sets, rules that ask them, and packets to ask about; small domains, so that most questions are close calls.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::Protocol;
use proptest::prelude::*;

/// A part of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Address,
    Network,
    Port,
    PlainPort,
    Device,
}

use Part::{Address, Device, Network, PlainPort, Port};

/// A type of sets, what its members are made of, and what else it is created with.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub parts: &'static [Part],
    pub options: &'static str,
    /// Whether it is for both families.
    pub v6: bool,
}

const fn kind(name: &'static str, parts: &'static [Part]) -> Kind {
    Kind { name, parts, options: "", v6: true }
}

pub const KINDS: [Kind; 14] = [
    kind("hash:ip", &[Address]),
    Kind { name: "hash:ip", parts: &[Address], options: "netmask 30", v6: false },
    Kind { name: "hash:ip", parts: &[Address], options: "timeout 5000 counters comment", v6: true },
    kind("hash:net", &[Network]),
    kind("hash:ip,port", &[Address, Port]),
    kind("hash:ip,port,ip", &[Address, Port, Address]),
    kind("hash:ip,port,net", &[Address, Port, Network]),
    kind("hash:net,port", &[Network, Port]),
    kind("hash:net,port,net", &[Network, Port, Network]),
    kind("hash:net,net", &[Network, Network]),
    kind("hash:net,iface", &[Network, Device]),
    Kind { name: "bitmap:port", parts: &[PlainPort], options: "range 50-30000", v6: false },
    Kind { name: "list:set", parts: &[], options: "", v6: true },
    Kind { name: "bitmap:ip", parts: &[Address], options: "range 10.0.0.0/22 netmask 31", v6: false },
];

/// A set, a rule that asks it, and packets it is asked about.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: Kind,
    pub v6: bool,
    members: Vec<Member>,
    /// For each dimension whether the source counts.
    pub sources: Vec<bool>,
    /// What the rule names beyond the set's own dimensions, or short of them.
    pub skew: i8,
    pub negate: bool,
    pub excepted: bool,
    pub probes: Vec<Probe>,
}

#[derive(Clone, Debug)]
struct Member {
    addresses: [u8; 2],
    lengths: [u8; 2],
    protocol: u8,
    port: u8,
    device: u8,
    exception: bool,
}

/// A packet in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    src: u8,
    dst: u8,
    protocol: u8,
    port: u8,
}

pub fn cases(sets: usize) -> impl Strategy<Value = Vec<Case>> {
    prop::collection::vec(case(), sets)
}

fn case() -> impl Strategy<Value = Case> {
    let kinds = prop::sample::select(KINDS.to_vec());
    let member = (any::<[u8; 2]>(), any::<[u8; 2]>(), any::<[u8; 3]>(), prop::bool::weighted(0.3)).prop_map(
        |(addresses, lengths, [protocol, port, device], exception)| Member {
            addresses,
            lengths,
            protocol,
            port,
            device,
            exception,
        },
    );
    let probe = any::<[u8; 4]>().prop_map(|[src, dst, protocol, port]| Probe { src, dst, protocol, port });
    let members = prop::collection::vec(member, 0..14);
    let probes = prop::collection::vec(probe, 12);
    // Seldom one dimension too many or too few.
    let skew = prop::sample::select(vec![0, 0, 0, 0, 0, 0, 0, 1, -1]);
    let rule = (prop::collection::vec(any::<bool>(), 4), skew, any::<bool>(), prop::bool::weighted(0.2));
    (kinds, any::<bool>(), members, rule, probes).prop_map(
        |(kind, v6, members, (sources, skew, negate, excepted), probes)| {
            let v6 = v6 && kind.v6;
            Case { kind, v6, members, sources, skew, negate, excepted, probes }
        },
    )
}

fn address(number: u8, v6: bool) -> IpAddr {
    let (high, low) = (u16::from(number >> 3 & 3), u16::from(number & 7) + 1);
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low).into()
    } else {
        let [_, high] = high.to_be_bytes();
        let [_, low] = low.to_be_bytes();
        Ipv4Addr::new(10, 0, high, low).into()
    }
}

impl Case {
    /// Whether it is a set of sets, which has any number of dimensions and no questions of its own.
    pub fn is_list(&self) -> bool {
        self.kind.parts.is_empty()
    }

    /// `create` and `add` lines of a set of sets, which holds those that come before it in `all`.
    pub fn list(&self, number: u16, all: &[(u16, Self)]) -> String {
        let mut text = format!("create s{number} list:set\n");
        for member in &self.members {
            let others: Vec<u16> =
                all.iter().filter(|(_, case)| !case.is_list()).map(|(number, _)| *number).collect();
            let [first, second] = member.addresses;
            if let Some(other) = others.get(usize::from(first ^ second) % others.len().max(1)) {
                text.extend([format!("add s{number} s{other}\n")]);
            }
        }
        text
    }

    /// How many dimensions the rule names.
    pub fn dimensions(&self) -> usize {
        if self.is_list() {
            return 1 + self.members.len() % 4;
        }
        let own = i8::try_from(self.kind.parts.len()).expect("few");
        usize::try_from((own + self.skew).max(1)).expect("positive")
    }

    /// `create` and `add` lines; ports and interfaces are those of the case with this number.
    pub fn sets(&self, number: u16) -> String {
        let family = match (self.kind.name.starts_with("hash:"), self.v6) {
            (false, _) => "",
            (true, true) => "family inet6",
            (true, false) => "family inet",
        };
        let mut text = format!("create s{number} {} {family} {}\n", self.kind.name, self.kind.options);
        for member in &self.members {
            let network = self.kind.parts.contains(&Network);
            let exception = if member.exception && network { " nomatch" } else { "" };
            let wildcard =
                if member.device & 3 == 3 && self.kind.parts.contains(&Device) { " wildcard" } else { "" };
            let parts = self.member(member, number);
            text.extend([format!("add s{number} {parts}{exception}{wildcard}\n")]);
        }
        text
    }

    fn member(&self, member: &Member, number: u16) -> String {
        let lengths: [u8; 8] =
            if self.v6 { [64, 96, 112, 120, 125, 126, 127, 128] } else { [8, 16, 22, 23, 24, 29, 31, 32] };
        let mut addresses = member.addresses.iter().zip(member.lengths);
        let mut texts = Vec::new();
        for part in self.kind.parts {
            texts.push(match part {
                Address => address(*addresses.next().expect("two").0, self.v6).to_string(),
                Network => {
                    let (value, length) = addresses.next().expect("two");
                    format!("{}/{}", address(*value, self.v6), lengths[usize::from(length & 7)])
                }
                Port => format!("{}:{}", protocol(member.protocol).lower(), port(member.port, number)),
                PlainPort => port(member.port, number).to_string(),
                Device => match member.device & 3 {
                    0 => "eth0".to_owned(),
                    1 => "lo".to_owned(),
                    2 => format!("c{number}"),
                    _ => ["e", "l", "c"][usize::from(member.device >> 2) % 3].to_owned(),
                },
            });
        }
        texts.join(",")
    }

    /// `-m set …` of the rule.
    pub fn condition(&self, number: u16) -> String {
        let sides: Vec<&str> = self.sources[..self.dimensions()]
            .iter()
            .map(|source| if *source { "src" } else { "dst" })
            .collect();
        let not = if self.negate { "! " } else { "" };
        let excepted = if self.excepted { " --return-nomatch" } else { "" };
        format!("-m set {not}--match-set s{number} {}{excepted}", sides.join(","))
    }

    /// What `ipset test` is asked about a packet that comes by `input` and leaves by `output`.
    pub fn question(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        protocol: Protocol,
        devices: [&str; 2],
    ) -> String {
        let [input, output] = devices;
        let mut texts = Vec::new();
        for (part, source) in self.kind.parts.iter().zip(&self.sources) {
            let (end, device) = if *source { (from, input) } else { (to, output) };
            texts.push(match part {
                Address | Network => end.ip().to_string(),
                Port => format!("{}:{}", protocol.lower(), end.port()),
                PlainPort => end.port().to_string(),
                Device => device.to_owned(),
            });
        }
        texts.join(",")
    }

    /// A packet from the case's own port, by which rules tell cases apart.
    pub fn ends(&self, probe: Probe, number: u16) -> (SocketAddr, SocketAddr) {
        let (src, dst) = (address(probe.src, self.v6), address(probe.dst, self.v6));
        (SocketAddr::new(src, own_port(number)), SocketAddr::new(dst, port(probe.port, number)))
    }
}

impl Probe {
    pub fn protocol(self) -> Protocol {
        protocol(self.protocol)
    }
}

fn protocol(number: u8) -> Protocol {
    [Protocol::Udp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(number & 3)]
}

pub const fn own_port(number: u16) -> u16 {
    20_000 + number
}

const fn port(choice: u8, number: u16) -> u16 {
    match choice & 3 {
        0 => 80,
        1 => 81,
        2 => 65,
        _ => own_port(number),
    }
}
