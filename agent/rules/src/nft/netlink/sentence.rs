//! A rule's statements while they are written, and what they have said so far about a packet's headers.
//!
//! nft leaves out a condition on a protocol where a field that follows implies it (`tcp dport 80` says that it is TCP).
//! So does this, and only then: as long as nothing but conditions lies between the two.

use super::super::tree::Value;
use super::expression::{Base, Expr};
use super::headers::{self, Field, Header};
use super::sets::Sets;
use super::types::{Names, Type};

/// `NFPROTO_…`.
pub(super) mod family {
    pub(in super::super) const INET: u8 = 1;
    pub(in super::super) const IPV4: u8 = 2;
    pub(in super::super) const ARP: u8 = 3;
    pub(in super::super) const NETDEV: u8 = 5;
    pub(in super::super) const BRIDGE: u8 = 7;
    pub(in super::super) const IPV6: u8 = 10;

    /// As nft names it.
    pub(in super::super) const fn word(family: u8) -> &'static str {
        match family {
            INET => "inet",
            IPV4 => "ip",
            ARP => "arp",
            NETDEV => "netdev",
            BRIDGE => "bridge",
            IPV6 => "ip6",
            _ => "unknown",
        }
    }
}

/// `ARPHRD_ETHER`.
const ETHERNET: u128 = 1;
/// `NFT_META_…`.
const META_PROTOCOL: u32 = 1;
const META_IIFTYPE: u32 = 8;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

/// Places in what was said: headers by where they are, and the type of message.
const LINK: usize = 0;
const NETWORK: usize = 1;
const TRANSPORT: usize = 2;
const MESSAGE: usize = 3;

/// What the words of a rule depend on beside the rule.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    /// The family of its table.
    pub(super) family: u8,
    /// The table's sets.
    pub(super) sets: &'a Sets,
    /// Names of interfaces.
    pub(super) names: Names<'a>,
}

/// The statements of a rule so far.
pub(super) struct Sentence<'a> {
    pub(super) around: Around<'a>,
    /// Statements; `None` for those that later ones imply.
    written: Vec<Option<Value<'a>>>,
    link: Option<&'static Header>,
    network: Option<&'static Header>,
    transport: Option<&'static Header>,
    /// Where a condition stands that says which header is there, by base.
    said: [Option<usize>; 4],
    /// The type of ICMP message that it is said to be.
    message: Option<u8>,
    /// The last statement, if it is the lower half of a range: its expression and bound.
    from: Option<(Expr<'a>, u128)>,
}

impl<'a> Sentence<'a> {
    pub(super) fn new(around: Around<'a>) -> Self {
        let network = match around.family {
            family::IPV4 => Some(&headers::IP),
            family::IPV6 => Some(&headers::IP6),
            family::ARP => Some(&headers::ARP),
            _ => None,
        };
        let link = (around.family == family::BRIDGE).then_some(&headers::ETHER);
        Self {
            around,
            written: Vec::new(),
            link,
            network,
            transport: None,
            said: [None; 4],
            message: None,
            from: None,
        }
    }

    /// Adds a condition.
    pub(super) fn condition(&mut self, statement: Value<'a>) {
        self.written.push(Some(statement));
        self.from = None;
    }

    /// Adds something that is done; what was said before it cannot be left out any more.
    pub(super) fn action(&mut self, statement: Value<'a>) {
        self.written.push(Some(statement));
        self.keep_all();
        self.from = None;
    }

    /// Lets no condition be left out that was said so far.
    pub(super) fn keep_all(&mut self) {
        self.said = [None; 4];
    }

    /// Notes that the last statement is the lower half of a range.
    pub(super) fn begins_range(&mut self, of: Expr<'a>, bound: u128) {
        self.from = Some((of, bound));
    }

    /// Takes the last statement back if it is the lower half of a range of this expression, and gives its bound.
    pub(super) fn end_range(&mut self, of: &Expr<'a>) -> Option<u128> {
        let (_, bound) = self.from.take_if(|(begun, _)| begun == of)?;
        self.written.pop();
        Some(bound)
    }

    /// What an expression being equal to a number says about the packet's headers; the statement was just written.
    pub(super) fn learn(&mut self, expression: &Expr<'a>, number: u128) {
        let Some(at) = self.written.len().checked_sub(1) else { return };
        let small = u16::try_from(number).unwrap_or(u16::MAX);
        let of_protocol = || u8::try_from(number).ok().and_then(headers::transport);
        match expression {
            Expr::Meta(META_NFPROTO) => {
                let header = match number {
                    2 => Some(&headers::IP),
                    10 => Some(&headers::IP6),
                    _ => None,
                };
                self.say(Base::Network, header, at);
            }
            Expr::Meta(META_L4PROTO) => self.say(Base::Transport, of_protocol(), at),
            Expr::Meta(META_PROTOCOL) => {
                let header = headers::network(small).filter(|header| header.base == Base::Network);
                // nft keeps it in tables of both families.
                let implied = self.around.family != family::INET;
                self.say(Base::Network, header, if implied { at } else { usize::MAX });
            }
            Expr::Meta(META_IIFTYPE) if number == ETHERNET => self.say(Base::Link, Some(&headers::ETHER), at),
            Expr::Payload { base, offset, bits } => {
                let Some((header, field)) = self.named(*base, *offset, *bits) else { return };
                match (header.name, field.name) {
                    ("ip", "protocol") | ("ip6", "nexthdr") => {
                        // In a table of both families it says which family as well.
                        let implied = self.around.family != family::INET;
                        self.say(Base::Transport, of_protocol(), if implied { at } else { usize::MAX });
                    }
                    ("ether" | "vlan", "type") => match headers::network(small) {
                        Some(header) if header.base == Base::Link => self.say(Base::Link, Some(header), at),
                        header => self.say(Base::Network, header, at),
                    },
                    ("icmp" | "icmpv6", "type") => {
                        self.message = u8::try_from(number).ok();
                        self.said[MESSAGE] = Some(at);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, base: Base, header: Option<&'static Header>, at: usize) {
        let (known, said) = match base {
            Base::Link => (&mut self.link, &mut self.said[LINK]),
            Base::Network => (&mut self.network, &mut self.said[NETWORK]),
            Base::Transport => (&mut self.transport, &mut self.said[TRANSPORT]),
            Base::Inner => return,
        };
        *known = header;
        *said = header.map(|_| at).filter(|at| *at != usize::MAX);
    }

    /// The header and field that bits of a packet are.
    pub(super) fn named(
        &self,
        base: Base,
        offset: u32,
        bits: u32,
    ) -> Option<(&'static Header, &'static Field)> {
        let header = self.header(base, offset)?;
        if let Some(field) = self.message.and_then(|kind| headers::of_message(header, kind, offset, bits)) {
            return Some((header, field));
        }
        Some((header, header.find(offset, bits)?))
    }

    /// The header that is known to be at a place.
    pub(super) fn header(&self, base: Base, offset: u32) -> Option<&'static Header> {
        match base {
            // The addresses lie before the tag.
            Base::Link if offset < headers::VLAN.fields[0].offset && self.link.is_some() => {
                Some(&headers::ETHER)
            }
            Base::Link => self.link,
            Base::Network => self.network,
            Base::Transport => Some(self.transport.unwrap_or(&headers::TH)),
            Base::Inner => None,
        }
    }

    /// The network protocol, where the table or a condition tells it.
    pub(super) fn is_ip6(&self) -> bool {
        self.network.is_some_and(|header| header.name == headers::IP6.name)
    }

    /// Leaves out the conditions that a field of a header implies.
    pub(super) fn imply(&mut self, header: &Header, field: &Field) {
        if header.name == headers::TH.name {
            return;
        }
        match header.base {
            // What kind of packet follows the tag is said beside the fact that there is one.
            Base::Link
                if (header.name, field.name) == ("vlan", "type") && self.around.family == family::INET =>
            {
                self.said[LINK] = None;
            }
            Base::Link => self.leave_out(LINK),
            Base::Network => self.leave_out(NETWORK),
            Base::Transport => {
                self.leave_out(TRANSPORT);
                if matches!(header.name, "icmp" | "icmpv6") {
                    self.leave_out(NETWORK);
                }
                if matches!(field.name, "mtu" | "gateway" | "parameter-problem") {
                    self.leave_out(MESSAGE);
                }
            }
            Base::Inner => {}
        }
    }

    /// A message of ICMP implies the family.
    pub(super) fn imply_family(&mut self) {
        self.leave_out(NETWORK);
    }

    /// A reset implies TCP; nft says it all the same in tables of both families.
    pub(super) fn imply_tcp(&mut self) {
        if self.around.family != family::INET {
            self.leave_out(TRANSPORT);
        }
    }

    fn leave_out(&mut self, base: usize) {
        if let Some(statement) =
            self.said.get_mut(base).and_then(Option::take).and_then(|at| self.written.get_mut(at))
        {
            *statement = None;
        }
    }

    /// The statements.
    pub(super) fn finish(self) -> Value<'a> {
        Value::Array(self.written.into_iter().flatten().collect())
    }

    /// The type of an expression's value, and how many bits of its lower end are cut off.
    pub(super) fn kind(&self, expression: &Expr<'a>) -> Type {
        match expression {
            Expr::Payload { base, offset, bits } => match self.named(*base, *offset, *bits) {
                Some((_, field)) => field.kind,
                None => Type::Integer,
            },
            Expr::Header { of, kind, offset, bits, present } => {
                let found = headers::extension(*of, *kind, *offset, *bits, *present);
                match found.and_then(|found| found.field) {
                    Some(field) => field.kind,
                    None if *present => Type::Boolean,
                    None => Type::Integer,
                }
            }
            // `ct original saddr`, whose type is that of the table.
            Expr::Ct { key: 8 | 9, .. } => match self.around.family {
                family::IPV4 => Type::Ipv4,
                family::IPV6 => Type::Ipv6,
                _ => Type::Invalid,
            },
            Expr::Bits { of, .. } | Expr::Shift { of, .. } | Expr::Turned(of) => self.kind(of),
            Expr::Joined { left, .. } => self.kind(left),
            Expr::Map { set, .. } => self
                .around
                .sets
                .get(set)
                .map_or(Type::Integer, |set| set.mapped.first().copied().unwrap_or(Type::Integer)),
            other => other.kind(),
        }
    }
}
