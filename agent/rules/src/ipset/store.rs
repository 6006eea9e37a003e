//! The members of one set, found as the kernel finds them.
//!
//! Sets with networks are searched prefix by prefix, the longest first, and the first member found decides, also when it
//! is an exception (`mtype_test_cidrs` in net/netfilter/ipset/ip_set_hash_gen.h). It reads no text.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::Asked;
use super::address::Address;
use super::kind::{Kind, Mask, Part};
use crate::packet::Device;

/// Members of one family.
#[derive(Debug)]
pub(super) struct Store<A> {
    /// Longest first prefix first, of those with the same one longest second first.
    levels: Vec<Level<A>>,
    /// The level of the latest insertion: neighbours in a listing often share it.
    latest: usize,
    count: usize,
}

/// Members whose prefixes are of one length each.
#[derive(Debug)]
struct Level<A> {
    lengths: [u8; 2],
    members: HashMap<Key<A>, Flags>,
    /// The same for networks with interfaces.
    devices: HashMap<A, Vec<OnDevice>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<A> {
    addresses: [A; 2],
    /// Protocol and port, a port, or a mark.
    rest: u32,
}

#[derive(Debug)]
struct OnDevice {
    name: Box<str>,
    /// Whether any interface is meant whose name begins so.
    prefix: bool,
    flags: Flags,
}

/// What is said of a member besides what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// An exception (`nomatch`).
    pub(super) const EXCEPTION: Self = Self(1);
    /// Gone soon.
    pub(super) const EXPIRING: Self = Self(2);

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A member as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'t, A> {
    pub(super) addresses: [A; 2],
    pub(super) lengths: [u8; 2],
    pub(super) rest: u32,
    /// The interface, and whether its name is the beginning of one.
    pub(super) device: Option<(&'t str, bool)>,
    pub(super) flags: Flags,
}

/// What is looked for; `None` stands for what is not known.
#[derive(Debug)]
pub(super) struct Probe<'a, A> {
    addresses: [Option<A>; 2],
    rest: Option<u32>,
    device: Option<&'a Device>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Member,
    Exception,
    Nothing,
    /// A member that is about to go, and without it the answer is another.
    Expiring,
    /// Some member fits what is known.
    Unknown,
}

impl<A> Default for Store<A> {
    fn default() -> Self {
        Self { levels: Vec::new(), latest: 0, count: 0 }
    }
}

impl<A: Address> Store<A> {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, member: Member<'_, A>) {
        let [one, two] = member.lengths;
        let [first, second] = member.addresses;
        let addresses = [first.and(A::mask(one)), second.and(A::mask(two))];
        self.count += 1;
        let Some(level) = self.level(member.lengths) else { return };
        match member.device {
            None => {
                level.members.insert(Key { addresses, rest: member.rest }, member.flags);
            }
            Some((name, prefix)) => {
                let [network, _] = addresses;
                let on = OnDevice { name: name.into(), prefix, flags: member.flags };
                level.devices.entry(network).or_default().push(on);
            }
        }
    }

    fn level(&mut self, lengths: [u8; 2]) -> Option<&mut Level<A>> {
        if self.levels.get(self.latest).is_none_or(|level| level.lengths != lengths) {
            // Descending.
            let found = self.levels.binary_search_by(|level| lengths.cmp(&level.lengths));
            self.latest = found.unwrap_or_else(|at| {
                let (members, devices) = (HashMap::new(), HashMap::new());
                self.levels.insert(at, Level { lengths, members, devices });
                at
            });
        }
        self.levels.get_mut(self.latest)
    }

    pub(super) fn find(&self, probe: &Probe<'_, A>) -> Found {
        let ([Some(one), Some(two)], Some(rest)) = (probe.addresses, probe.rest) else {
            return self.find_roughly(probe);
        };
        if matches!(probe.device, Some(Device::Unknown)) {
            return self.find_roughly(probe);
        }
        // What was found and may be gone when the packet comes.
        let mut doubtful = None;
        for level in &self.levels {
            let [first, second] = level.lengths;
            let addresses = [one.and(A::mask(first)), two.and(A::mask(second))];
            let flags = match probe.device {
                None => level.members.get(&Key { addresses, rest }).copied(),
                Some(device) => match level.on(addresses, device) {
                    OnWhich::None => None,
                    OnWhich::Other => return settled(doubtful, Found::Nothing),
                    OnWhich::This(flags) => Some(flags),
                },
            };
            let Some(flags) = flags else { continue };
            let found = if flags.has(Flags::EXCEPTION) { Found::Exception } else { Found::Member };
            if !flags.has(Flags::EXPIRING) {
                return settled(doubtful, found);
            }
            if doubtful.is_some_and(|doubtful| doubtful != found) {
                return Found::Expiring;
            }
            doubtful = Some(found);
        }
        settled(doubtful, Found::Nothing)
    }

    /// Whether some member fits what is known. It looks at all of them: few packets lack what is asked for.
    fn find_roughly(&self, probe: &Probe<'_, A>) -> Found {
        let [one, two] = probe.addresses;
        let fits = |wanted: Option<A>, member: A, length| {
            wanted.is_none_or(|wanted| wanted.and(A::mask(length)) == member)
        };
        for level in &self.levels {
            let [first, second] = level.lengths;
            let may_be = level.members.keys().any(|key| {
                let [of_first, of_second] = key.addresses;
                fits(one, of_first, first)
                    && fits(two, of_second, second)
                    && probe.rest.is_none_or(|rest| rest == key.rest)
            });
            if may_be || level.devices.keys().any(|network| fits(one, *network, first)) {
                return Found::Unknown;
            }
        }
        Found::Nothing
    }

    /// The address, protocol and port of each member.
    pub(super) fn destinations(&self) -> Vec<(IpAddr, u8, u16)> {
        let mut found = Vec::new();
        for level in &self.levels {
            for key in level.members.keys() {
                let [address, _] = key.addresses;
                let [_, protocol, port @ ..] = key.rest.to_be_bytes();
                found.push((address.address(), protocol, u16::from_be_bytes(port)));
            }
        }
        found
    }

    /// The port of each member.
    pub(super) fn ports(&self) -> Vec<u16> {
        let keys = self.levels.iter().flat_map(|level| level.members.keys());
        keys.filter_map(|key| u16::try_from(key.rest).ok()).collect()
    }
}

/// What there is of a network and an interface.
enum OnWhich {
    /// Not the network.
    None,
    /// The network with other interfaces alone.
    Other,
    /// Both.
    This(Flags),
}

impl<A: Address> Level<A> {
    /// A network that is there with other interfaces only ends the search: shorter prefixes are not tried (`multi` in
    /// `mtype_test_cidrs` and `hash_netiface4_data_equal`).
    fn on(&self, addresses: [A; 2], device: &Device) -> OnWhich {
        let [network, _] = addresses;
        let Some(members) = self.devices.get(&network) else { return OnWhich::None };
        let Device::Named(device) = device else { return OnWhich::Other };
        let fits = |on: &&OnDevice| {
            if on.prefix { device.starts_with(&*on.name) } else { **device == *on.name }
        };
        // Of two that fit, one by the beginning of its name, a hash's order decides; nobody writes such a pair.
        members.iter().find(fits).map_or(OnWhich::Other, |on| OnWhich::This(on.flags))
    }
}

/// What was found for certain, unless something doubtful before it says otherwise.
fn settled(doubtful: Option<Found>, found: Found) -> Found {
    if doubtful.is_none_or(|doubtful| doubtful == found) { found } else { Found::Expiring }
}

impl<'a, A: Address> Probe<'a, A> {
    /// What a rule asks; `None` if the packet has no such field, or not of this family.
    pub(super) fn new(kind: &Kind, asked: &Asked<'a>) -> Option<Self> {
        let mut probe = Self { addresses: [Some(A::ZERO); 2], rest: Some(0), device: None };
        let mut addresses = probe.addresses.iter_mut();
        for (at, part) in kind.parts().iter().enumerate() {
            let source = asked.sources >> at & 1 == 1;
            match part {
                Part::Address | Part::Network => {
                    let value = match asked.address(source) {
                        Some(address) => Some(A::of(address)?),
                        None => None,
                    };
                    let masked = value.map(|value| masked(value, kind.mask));
                    if masked == Some(A::ZERO) && kind.refuses_zero() {
                        return None;
                    }
                    *addresses.next()? = masked;
                }
                Part::Port => {
                    let protocol = u32::from(asked.protocol) << 16;
                    probe.rest = asked.port(source).map(|port| protocol | u32::from(port));
                }
                Part::PlainPort => {
                    // `ip_set_get_ip_port` gives the ports of these two protocols only.
                    if !matches!(asked.protocol, 6 | 17) {
                        return None;
                    }
                    probe.rest = asked.port(source).map(u32::from);
                }
                Part::Mark => probe.rest = Some(asked.mark & kind.mark_mask),
                Part::Device => match asked.device(source) {
                    Device::Absent => return None,
                    device => probe.device = Some(device),
                },
                Part::Set | Part::Other => return None,
            }
        }
        Some(probe)
    }
}

pub(super) fn masked<A: Address>(address: A, mask: Mask) -> A {
    match mask {
        Mask::None => address,
        Mask::Prefix(length) => address.and(A::mask(length)),
        Mask::Bits(bits) => address.and(A::of(bits).unwrap_or(A::ONES)),
    }
}
