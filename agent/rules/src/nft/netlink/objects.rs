//! Tables, chains, flow tables and named objects in the words of libnftables-json(5).

use super::super::tree::Value;
use super::actions;
use super::sentence::family;
use super::types;
use super::wire::{Attributes, Fields, Message, remark, text};

/// `NFT_OBJECT_…`, in the words under which nft lists and uses them.
const WORDS: [&str; 11] = [
    "",
    "counter",
    "quota",
    "ct helper",
    "limit",
    "ct count",
    "tunnel",
    "ct timeout",
    "secmark",
    "ct expectation",
    "synproxy",
];
/// Comments left by user space with tables, chains and objects.
const COMMENT: u8 = 0;
/// `NFT_TABLE_F_…`.
const TABLE_FLAGS: [(u32, &str); 3] = [(1, "dormant"), (2, "owner"), (4, "persist")];
/// `enum nf_inet_hooks`; the last one is that of devices, for tables of both families.
const HOOKS: [&str; 6] = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
const ARP_HOOKS: [&str; 3] = ["input", "output", "forward"];
const DEVICE_HOOKS: [&str; 2] = ["ingress", "egress"];
/// `NF_DROP`, `NF_ACCEPT`.
const POLICIES: [&str; 2] = ["drop", "accept"];

/// The word for a kind of object.
pub(super) fn word(kind: u32) -> Option<&'static str> {
    WORDS.get(usize::try_from(kind).ok()?).copied().filter(|word| !word.is_empty())
}

/// `NFTA_TABLE_…`: name, flags, handle, what user space left.
pub(super) fn table<'m>(message: &Message<'m>) -> Result<Value<'m>, &'static str> {
    let fields = Fields::read(message.body)?;
    let name = fields.text(1).ok_or("a table without a name")?;
    let flags = fields.number(2).unwrap_or_default();
    let words: Vec<_> =
        TABLE_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| Value::text(*word)).collect();
    let body =
        Value::object([("family", Value::text(family::word(message.family))), ("name", Value::text(name))])
            .with_some("handle", fields.long(4).map(Value::number))
            .with_some("comment", comment(&fields, 6))
            .with_some("flags", (!words.is_empty()).then_some(Value::Array(words)));
    Ok(Value::under("table", body))
}

/// `NFTA_CHAIN_…`: table, handle, name, hook, policy, type, what user space left.
pub(super) fn chain<'m>(message: &Message<'m>) -> Result<Value<'m>, &'static str> {
    let fields = Fields::read(message.body)?;
    let mut body = Value::object([
        ("family", Value::text(family::word(message.family))),
        ("table", Value::text(fields.text(1).ok_or("a chain without a table")?)),
        ("name", Value::text(fields.text(3).ok_or("a chain without a name")?)),
    ])
    .with_some("handle", fields.long(2).map(Value::number))
    .with_some("comment", comment(&fields, 12));
    if let Some(hook) = fields.nested(4).transpose()? {
        let number = hook.number(1).and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
        let hooks: &[&str] = match message.family {
            family::ARP => &ARP_HOOKS,
            family::NETDEV => &DEVICE_HOOKS,
            _ => &HOOKS,
        };
        let policy = fields.number(5).and_then(|policy| POLICIES.get(usize::try_from(policy).ok()?));
        let priority = hook.number(2).ok_or("a hook without a priority")?.cast_signed();
        body = body
            .with_some("type", fields.text(7).map(Value::text))
            .with("hook", Value::text(*hooks.get(number).unwrap_or(&"unknown")))
            .with("prio", Value::number(priority))
            .with_some("dev", devices(&hook, 3, 4)?)
            .with_some("policy", policy.map(|policy| Value::text(*policy)));
    }
    Ok(Value::under("chain", body))
}

/// `NFTA_FLOWTABLE_…`: table, name, hook, handle.
pub(super) fn flow_table<'m>(message: &Message<'m>) -> Result<Value<'m>, &'static str> {
    let fields = Fields::read(message.body)?;
    let hook = fields.nested(3).transpose()?;
    let mut body = Value::object([
        ("family", Value::text(family::word(message.family))),
        ("name", Value::text(fields.text(2).ok_or("a flow table without a name")?)),
        ("table", Value::text(fields.text(1).ok_or("a flow table without a table")?)),
    ])
    .with_some("handle", fields.long(5).map(Value::number));
    if let Some(hook) = hook {
        body = body
            .with("hook", Value::text("ingress"))
            .with_some("prio", hook.number(2).map(|priority| Value::number(priority.cast_signed())))
            .with_some("dev", devices(&hook, 4, 3)?);
    }
    Ok(Value::under("flowtable", body))
}

/// `NFTA_OBJ_…`: table, name, type, data, handle, what user space left.
pub(super) fn object<'m>(message: &Message<'m>) -> Result<Value<'m>, &'static str> {
    let fields = Fields::read(message.body)?;
    let kind = word(fields.number(3).unwrap_or_default()).unwrap_or("object");
    let data = fields.nested(4).transpose()?;
    let body = Value::object([
        ("family", Value::text(family::word(message.family))),
        ("name", Value::text(fields.text(2).ok_or("an object without a name")?)),
        ("table", Value::text(fields.text(1).ok_or("an object without a table")?)),
    ])
    .with_some("handle", fields.long(6).map(Value::number))
    .with_some("comment", comment(&fields, 8));
    let body = match data {
        Some(data) => detail(kind, &data, body),
        None => body,
    };
    Ok(Value::under(kind, body))
}

/// What an object of a kind says of itself. None of it decides over a packet by itself.
fn detail<'m>(kind: &str, data: &Fields<'m>, body: Value<'m>) -> Value<'m> {
    let protocol = |number| match number {
        6 => "tcp",
        17 => "udp",
        _ => "unknown",
    };
    let family = |number: u16| u8::try_from(number).map_or("unknown", family::word);
    match kind {
        "quota" => body
            .with_some("bytes", data.long(1).map(Value::number))
            .with_some("used", data.long(4).map(Value::number))
            .with_some("inv", data.number(2).map(|flags| Value::Bool(flags & 1 != 0))),
        "counter" | "limit" => match actions::kept(kind, data) {
            Some((_, detail)) => body.joined(detail),
            None => body,
        },
        "ct helper" => body
            .with_some("type", data.text(1).map(Value::text))
            .with_some("protocol", data.byte(3).map(|number| Value::text(protocol(number))))
            .with_some("l3proto", data.short(2).map(|number| Value::text(family(number)))),
        "ct timeout" => body
            .with_some("protocol", data.byte(2).map(|number| Value::text(protocol(number))))
            .with_some("l3proto", data.short(1).map(|number| Value::text(family(number)))),
        "ct expectation" => body
            .with_some("protocol", data.byte(2).map(|number| Value::text(protocol(number))))
            .with_some("dport", data.short(3).map(Value::number))
            // In the machine's order (`nft_ct_expect_obj_dump`).
            .with_some("timeout", data.get(4).and_then(|bytes| types::number(bytes, true)).map(milliseconds))
            .with_some("size", data.byte(5).map(Value::number))
            .with_some("l3proto", data.short(1).map(|number| Value::text(family(number)))),
        "secmark" => body.with_some("context", data.text(1).map(Value::text)),
        _ => body,
    }
}

fn milliseconds<'m>(time: u128) -> Value<'m> {
    Value::number(u64::try_from(time).unwrap_or(u64::MAX))
}

fn comment<'m>(fields: &Fields<'m>, kind: u16) -> Option<Value<'m>> {
    fields.get(kind).and_then(|bytes| remark(bytes, COMMENT)).and_then(text).map(Value::text)
}

/// The devices of a hook: one by itself, or a list.
fn devices<'m>(hook: &Fields<'m>, one: u16, several: u16) -> Result<Option<Value<'m>>, &'static str> {
    let mut names = Vec::new();
    if let Some(bytes) = hook.get(several) {
        for item in Attributes(bytes) {
            names.extend(text(item?.1).map(Value::text));
        }
    }
    Ok(match names.len() {
        0 => hook.text(one).map(Value::text),
        1 => names.pop(),
        _ => Some(Value::Array(names)),
    })
}
