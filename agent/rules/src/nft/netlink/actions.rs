//! What a rule does beside comparing: counting, limits, logging, rejecting, translating, adding to sets.

use super::super::tree::{Map, Value};
use super::expression::{Expr, Registers};
use super::objects;
use super::sentence::{Sentence, family};
use super::types::{self, Type};
use super::wire::{Attributes, Fields};
use super::words::address_family;

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
pub(super) const NAME: u16 = 1;
pub(super) const DATA: u16 = 2;
/// Units of quotas and limits in bytes, largest first.
const UNITS: [(u64, &str); 3] = [(1 << 20, "mbytes"), (1 << 10, "kbytes"), (1, "bytes")];
/// Units of time of a limit, in seconds.
const TIMES: [(u64, &str); 5] =
    [(1, "second"), (60, "minute"), (3_600, "hour"), (86_400, "day"), (604_800, "week")];
/// `enum nft_limit_flags`, `NFT_QUOTA_F_INV`, `NFT_CONNLIMIT_F_INV`.
const INVERTED: u32 = 1;
/// `LOG_WARNING`, which nft does not write.
const DEFAULT_LEVEL: u32 = 4;
const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
/// `NF_LOG_…`.
const LOG_FLAGS: [(u32, &str); 5] =
    [(1, "tcp sequence"), (2, "tcp options"), (4, "ip options"), (8, "skuid"), (0x20, "ether")];
const ALL_LOG_FLAGS: u32 = 0x2f;
/// `NF_NAT_RANGE_…`.
const NAT_FLAGS: [(u32, &str); 4] =
    [(4, "random"), (0x10, "fully-random"), (8, "persistent"), (0x40, "netmap")];
const NETMAP: u32 = 0x40;

impl<'a> Sentence<'a> {
    /// Writes what an expression does. `None`: it is not known, or says something that is not.
    pub(super) fn act(&mut self, name: &str, data: &Fields<'a>, registers: &Registers<'a>) -> Option<()> {
        let statement = match name {
            "counter" | "quota" | "limit" | "connlimit" | "last" => {
                let (word, value) = kept(name, data)?;
                Value::under(word, value)
            }
            "notrack" => Value::under("notrack", Value::Null),
            "log" => log(data)?,
            "reject" => self.reject(data)?,
            "nat" => self.translate(data, registers)?,
            "masq" => self.own(("masquerade", 1, 2, 3), data, registers)?,
            "redir" => self.own(("redirect", 3, 1, 2), data, registers)?,
            "tproxy" => self.proxy(data, registers)?,
            "dup" => self.copy(data, registers)?,
            "fwd" => self.forward(data, registers)?,
            "queue" => queue(data)?,
            "synproxy" => synproxy(data)?,
            "objref" => self.object(data, registers)?,
            "dynset" => self.add(data, registers)?,
            "flow_offload" if data.known_to(1) => {
                let table = Value::text(format!("@{}", data.text(1)?));
                Value::under("flow", Value::object([("op", Value::text("add")), ("flowtable", table)]))
            }
            "match" | "target" => {
                let body = [("type", Value::text(if name == "match" { "match" } else { "target" }))];
                Value::under("xt", Value::object(body).with("name", Value::text(data.text(1)?)))
            }
            _ => return None,
        };
        self.action(statement);
        Some(())
    }

    fn reject(&mut self, data: &Fields<'a>) -> Option<Value<'a>> {
        let code = u32::from(data.byte(2).unwrap_or_default());
        let (word, kind) = match data.number(1).filter(|_| data.known_to(2))? {
            0 if self.is_ip6() => ("icmpv6", Type::Icmpv6Code),
            0 => ("icmp", Type::IcmpCode),
            1 => {
                self.imply_tcp();
                return Some(Value::under("reject", Value::object([("type", Value::text("tcp reset"))])));
            }
            2 => ("icmpx", Type::IcmpxCode),
            _ => return None,
        };
        if word != "icmpx" {
            self.imply_family();
        }
        let code = types::value(kind, code.into(), self.around.names);
        Some(Value::under("reject", Value::object([("type", Value::text(word)), ("expr", code)])))
    }

    /// `snat`, `dnat`: `NFTA_NAT_…`.
    fn translate(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        let word = match data.number(1).filter(|_| data.known_to(7))? {
            0 => "snat",
            1 => "dnat",
            _ => return None,
        };
        let of = u8::try_from(data.number(2)?).ok()?;
        let kind = match of {
            family::IPV4 => Type::Ipv4,
            family::IPV6 => Type::Ipv6,
            _ => Type::Integer,
        };
        let flags = data.number(7).unwrap_or_default();
        let (mut with_port, mut ranges) = (false, false);
        let address = match data.number(3) {
            Some(register) => {
                let held = registers.held(register)?;
                // A map may hold the port, too, in the registers behind the address.
                with_port = matches!(held, Expr::Map { size, .. } if *size > kind.size().max(1));
                ranges = matches!(held, Expr::Map { set, .. } if self.maps_to_ranges(set));
                let last = data.number(4).filter(|last| *last != register && !with_port && !ranges);
                with_port &= self.maps_to_several(held);
                Some(self.bounds(kind, register, last, registers)?)
            }
            None => None,
        };
        let port = match data.number(5).filter(|_| !with_port) {
            Some(register) => {
                let last = data.number(6).filter(|last| *last != register);
                Some(self.bounds(Type::Port, register, last, registers)?)
            }
            None => None,
        };
        // In tables of one family it goes without saying, but where a map holds ports or ranges.
        let told = (self.around.family == family::INET && address.is_some()) || with_port || ranges;
        let mut body = Value::object([]);
        body = body.with_some("family", address_family(of).filter(|_| told).map(Value::text));
        body = body.with_some("addr", address).with_some("port", port).with_some("flags", nat_flags(flags));
        body = body.with_some("type_flags", (flags & NETMAP != 0).then(|| Value::text("prefix")));
        Some(Value::under(word, body))
    }

    fn maps_to_several(&self, held: &Expr<'a>) -> bool {
        matches!(held, Expr::Map { set, .. } if self.around.sets.get(set).is_some_and(|set| set.mapped.len() > 1))
    }

    fn maps_to_ranges(&self, set: &str) -> bool {
        self.around.sets.get(set).is_some_and(|set| set.mapped_ranges)
    }

    /// What a register holds, or the range from one to the other.
    fn bounds(
        &mut self,
        kind: Type,
        first: u32,
        last: Option<u32>,
        registers: &Registers<'a>,
    ) -> Option<Value<'a>> {
        let low = registers.held(first)?.clone();
        let Some(last) = last else { return self.operand(kind, &low) };
        match (&low, registers.held(last)?) {
            (Expr::Constant(low), Expr::Constant(high)) => {
                types::range(kind, low, high, false, self.around.names)
            }
            (_, high) => {
                let high = high.clone();
                Some(Value::under(
                    "range",
                    Value::Array(vec![self.operand(kind, &low)?, self.operand(kind, &high)?]),
                ))
            }
        }
    }

    /// An expression, a constant being of this type.
    fn operand(&mut self, kind: Type, expression: &Expr<'a>) -> Option<Value<'a>> {
        match expression {
            Expr::Constant(bytes) => self.constant(kind, bytes, kind.is_host_order()),
            other => self.words(other),
        }
    }

    /// `masquerade`, `redirect`, with the types of their attributes: flags, lowest and highest port.
    fn own(
        &mut self,
        (word, flags, low, high): (&'static str, u16, u16, u16),
        data: &Fields<'a>,
        registers: &Registers<'a>,
    ) -> Option<Value<'a>> {
        if !data.known_to(3) {
            return None;
        }
        let port = match data.number(low) {
            Some(first) => {
                let last = data.number(high).filter(|last| *last != first);
                Some(self.bounds(Type::Port, first, last, registers)?)
            }
            None => None,
        };
        let flags = nat_flags(data.number(flags).unwrap_or_default());
        let body = match (&port, &flags) {
            (None, None) => Value::Null,
            _ => Value::object([]).with_some("port", port).with_some("flags", flags),
        };
        Some(Value::under(word, body))
    }

    fn proxy(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        let of = u8::try_from(data.number(1).filter(|_| data.known_to(3))?).ok()?;
        // nft leaves nothing out before it.
        self.keep_all();
        let kind = if of == family::IPV6 { Type::Ipv6 } else { Type::Ipv4 };
        let mut held = |number, kind| match data.number(number) {
            Some(register) => Some(Some(self.operand(kind, &registers.held(register)?.clone())?)),
            None => Some(None),
        };
        let (address, port) = (held(2, kind)?, held(3, Type::Port)?);
        let told = address_family(of).filter(|_| self.around.family == family::INET).map(Value::text);
        let body = Value::object([]).with_some("family", told);
        Some(Value::under("tproxy", body.with_some("addr", address).with_some("port", port)))
    }

    fn copy(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        let kind = if self.around.family == family::IPV6 { Type::Ipv6 } else { Type::Ipv4 };
        let mut held = |number, kind| match data.number(number) {
            Some(register) => Some(Some(self.operand(kind, &registers.held(register)?.clone())?)),
            None => Some(None),
        };
        let (address, device) = (held(1, kind)?, held(2, Type::Interface)?);
        let body = Value::object([]).with_some("addr", address).with_some("dev", device);
        data.known_to(2).then(|| Value::under("dup", body))
    }

    fn forward(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        let of = data.number(3).and_then(|of| u8::try_from(of).ok());
        let kind = if of == Some(family::IPV6) { Type::Ipv6 } else { Type::Ipv4 };
        let device = registers.held(data.number(1).filter(|_| data.known_to(3))?)?.clone();
        let body = Value::object([("dev", self.operand(Type::Interface, &device)?)]);
        let address = match data.number(2) {
            Some(register) => Some(self.operand(kind, &registers.held(register)?.clone())?),
            None => None,
        };
        let body = body.with_some("family", of.and_then(address_family).map(Value::text));
        Some(Value::under("fwd", body.with_some("addr", address)))
    }

    /// An object by name, or by a map.
    fn object(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        if !data.known_to(5) {
            return None;
        }
        if let Some(kind) = data.number(1) {
            return Some(Value::under(objects::word(kind)?, Value::text(data.text(2)?)));
        }
        let set = data.text(4)?;
        let known = self.around.sets.get(set)?;
        let (kind, size) = (known.object?, known.key_size);
        let key = registers.get(data.number(3)?, size)?;
        let data = self.contents(set, &key);
        let map = Value::under("map", Value::object([("key", self.words(&key)?), ("data", data)]));
        Some(Value::under(objects::word(kind)?, map))
    }

    /// An element that is added to a set: `NFTA_DYNSET_…`.
    fn add(&mut self, data: &Fields<'a>, registers: &Registers<'a>) -> Option<Value<'a>> {
        let set = data.text(1).filter(|_| data.known_to(10))?;
        let op = *["add", "update", "delete"].get(usize::try_from(data.number(3)?).ok()?)?;
        let known = self.around.sets.get(set);
        let key = data.number(4)?;
        let key = match known {
            Some(known) => registers.get(key, known.key_size)?,
            None => registers.held(key)?.clone(),
        };
        let value = self.words(&key)?;
        let element = match data.long(6).filter(|time| *time != 0) {
            Some(time) => {
                let timed = [("val", value), ("timeout", Value::number(time / 1000))];
                Value::under("elem", Value::object(timed))
            }
            None => value,
        };
        let body = Value::object([("op", Value::text(op)), ("elem", element)]);
        let name = Value::text(format!("@{set}"));
        let (word, body) = match data.number(5) {
            Some(register) => {
                let kind = known.and_then(|set| set.mapped.first().copied()).unwrap_or(Type::Integer);
                let mapped = self.operand(kind, &registers.held(register)?.clone())?;
                ("map", body.with("data", mapped).with("map", name))
            }
            None => ("set", body.with("set", name)),
        };
        let mut kept: Vec<&[u8]> = data.get(7).into_iter().collect();
        if kept.is_empty() {
            for item in data.get(10).map(Attributes).into_iter().flatten() {
                kept.push(item.ok()?.1);
            }
        }
        let mut stateful_words = Vec::new();
        for bytes in kept {
            let (word, value) = stateful(bytes)?;
            // What a rule starts counting from is nothing.
            let value = if word == "counter" { Value::Null } else { value };
            stateful_words.push(Value::under(word, value));
        }
        let stmt = (!stateful_words.is_empty()).then_some(Value::Array(stateful_words));
        Some(Value::under(word, body.with_some("stmt", stmt)))
    }
}

/// Something that is counted for an element, from its expression.
pub(super) fn stateful(bytes: &[u8]) -> Option<(&'static str, Value<'_>)> {
    let expression = Fields::read(bytes).ok()?;
    let data = expression.nested(DATA)?.ok()?;
    kept(expression.text(NAME)?, &data)
}

/// Counters, quotas and limits.
pub(super) fn kept<'v>(name: &str, data: &Fields<'_>) -> Option<(&'static str, Value<'v>)> {
    Some(match name {
        "counter" if data.known_to(3) => {
            let body = [("packets", Value::number(data.long(2)?)), ("bytes", Value::number(data.long(1)?))];
            ("counter", Value::object(body))
        }
        "quota" if data.known_to(4) => {
            let (value, unit) = bytes(data.long(1)?);
            let mut body = Value::object([("val", Value::number(value)), ("val_unit", Value::text(unit))]);
            if data.number(2).unwrap_or_default() & INVERTED != 0 {
                body = body.with("inv", Value::Bool(true));
            }
            if let Some(used) = data.long(4).filter(|used| *used != 0) {
                let (used, unit) = bytes(used);
                body = body.with("used", Value::number(used)).with("used_unit", Value::text(unit));
            }
            ("quota", body)
        }
        "limit" if data.known_to(6) => ("limit", limit(data)?),
        "connlimit" if data.known_to(2) => {
            let body = Value::object([("val", Value::number(data.number(1)?))]);
            let inverted = data.number(2).unwrap_or_default() & INVERTED != 0;
            ("ct count", body.with_some("inv", inverted.then_some(Value::Bool(true))))
        }
        "last" if data.known_to(3) => {
            let used = data.long(2).filter(|_| data.number(1) != Some(0));
            ("last", used.map_or(Value::Null, |used| Value::object([("used", Value::number(used))])))
        }
        _ => return None,
    })
}

fn limit<'v>(data: &Fields<'_>) -> Option<Value<'v>> {
    let rate = data.long(1)?;
    let per = data.long(2).and_then(|unit| TIMES.iter().find(|(seconds, _)| *seconds == unit))?.1;
    let burst = u64::from(data.number(3).unwrap_or_default());
    let in_bytes = data.number(4) == Some(1);
    let ((rate, unit), (burst, burst_unit)) =
        if in_bytes { (bytes(rate), bytes(burst)) } else { ((rate, ""), (burst, "")) };
    let mut body = Value::object([
        ("rate", Value::number(rate)),
        ("burst", Value::number(burst)),
        ("per", Value::text(per)),
    ]);
    if data.number(5).unwrap_or_default() & INVERTED != 0 {
        body = body.with("inv", Value::Bool(true));
    }
    if in_bytes {
        body = body.with("rate_unit", Value::text(unit)).with("burst_unit", Value::text(burst_unit));
    }
    Some(body)
}

/// A number of bytes in the largest unit that leaves no rest.
fn bytes(number: u64) -> (u64, &'static str) {
    let unit = UNITS.iter().find(|(size, _)| number != 0 && number.is_multiple_of(*size));
    unit.map_or((number, "bytes"), |(size, word)| (number / size, word))
}

fn log<'v>(data: &Fields<'v>) -> Option<Value<'v>> {
    if !data.known_to(6) {
        return None;
    }
    let group = data.short(1);
    let level = data.number(5).filter(|level| group.is_none() && *level != DEFAULT_LEVEL);
    let level = match level {
        Some(level) => Some(*LEVELS.get(usize::try_from(level).ok()?)?),
        None => None,
    };
    let flags = match data.number(6).unwrap_or_default() {
        0 => None,
        ALL_LOG_FLAGS => Some(Value::text("all")),
        flags => several(LOG_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word)),
    };
    let body = Value::object([])
        .with_some("prefix", data.text(2).map(Value::text))
        .with_some("group", group.map(Value::number))
        .with_some("snaplen", data.number(3).filter(|length| *length != 0).map(Value::number))
        .with_some("queue-threshold", data.short(4).filter(|length| *length != 0).map(Value::number))
        .with_some("level", level.map(Value::text))
        .with_some("flags", flags);
    let empty = body.as_object().is_some_and(Map::is_empty);
    Some(Value::under("log", if empty { Value::Null } else { body }))
}

fn queue<'v>(data: &Fields<'v>) -> Option<Value<'v>> {
    let (first, count) = (data.short(1).filter(|_| data.known_to(3))?, data.short(2).unwrap_or(1));
    let last = first.checked_add(count.checked_sub(1)?)?;
    let number = if first == last {
        Value::number(first)
    } else {
        Value::under("range", Value::Array(vec![Value::number(first), Value::number(last)]))
    };
    let flags = data.short(3).unwrap_or_default();
    let words = [(1, "bypass"), (2, "fanout")].into_iter().filter(|(bit, _)| flags & bit != 0);
    let body = Value::object([("num", number)]).with_some("flags", several(words.map(|(_, word)| word)));
    Some(Value::under("queue", body))
}

fn synproxy<'v>(data: &Fields<'v>) -> Option<Value<'v>> {
    let flags = data.number(3).filter(|_| data.known_to(3))?;
    let words = [(4, "sack-perm"), (8, "timestamp")].into_iter().filter(|(bit, _)| flags & bit != 0);
    let body = Value::object([])
        .with_some("mss", data.short(1).filter(|_| flags & 1 != 0).map(Value::number))
        .with_some("wscale", data.byte(2).filter(|_| flags & 2 != 0).map(Value::number))
        .with_some("flags", several(words.map(|(_, word)| word)));
    Some(Value::under("synproxy", body))
}

fn nat_flags<'v>(flags: u32) -> Option<Value<'v>> {
    several(NAT_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word))
}

/// A word, a list of words, or nothing.
fn several<'v>(words: impl Iterator<Item = &'static str>) -> Option<Value<'v>> {
    let mut words: Vec<_> = words.map(Value::text).collect();
    match words.len() {
        0 => None,
        1 => words.pop(),
        _ => Some(Value::Array(words)),
    }
}
