//! Names of the kernel's drop reasons, as the running kernel has them.
//!
//! Never from a table of numbers: `NETFILTER_DROP` alone has been 6, 7, 8, 11 and 12. What a reason means is not
//! said here.

use std::collections::BTreeMap;

use crate::btf::Btf;

/// Reasons that are no loss: copies for other hosts on a flooded segment, and what a closing socket throws away.
/// `CONSUMED` and `NOT_DROPPED_YET` mark packets that did their work (include/net/dropreason-core.h).
pub const NO_LOSS: [&str; 5] =
    ["OTHERHOST", "QUEUE_PURGE", "SOCKET_CLOSE", "SKB_CONSUMED", "SKB_NOT_DROPPED_YET"];

/// What is reported where the kernel gives no reason: the kernel's own word for that.
pub const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// Subsystem number: bits 16 to 31 of a reason (include/net/dropreason.h, Linux 6.4).
const SUBSYSTEM_SHIFT: u32 = 16;

/// The names.
#[derive(Debug, Default)]
pub struct Reasons {
    names: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
    /// False on kernels whose tracepoint passes none: every number is then 0 and means nothing.
    given: bool,
}

impl Reasons {
    /// Reads them; `given` says whether the tracepoint passes a reason.
    pub fn read(btf: &Btf, given: bool) -> Self {
        let mut names = BTreeMap::new();
        for (name, value) in btf.enum_values("skb_drop_reason") {
            // The last two bound the enumeration and are no reasons.
            if name.ends_with("_MAX") || name.ends_with("_SUBSYS_MASK") {
                continue;
            }
            if let Ok(number) = u32::try_from(value) {
                names.entry(number).or_insert_with(|| stripped(name, "SKB_DROP_REASON_"));
            }
        }
        // Subsystems keep theirs in enumerations of their own: ovs_drop_reason, mac80211_drop_reason …
        for (name, value) in btf.enums_ending("_drop_reason") {
            if let Ok(number) = u32::try_from(value)
                && number >> SUBSYSTEM_SHIFT != 0
            {
                names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
        let subsystems = btf
            .enum_values("skb_drop_reason_subsys")
            .into_iter()
            .filter_map(|(name, value)| {
                Some((u32::try_from(value).ok()?, stripped(name, "SKB_DROP_REASON_SUBSYS_")))
            })
            .collect();
        Self { names, subsystems, given }
    }

    /// The name of a number: `NETFILTER_DROP`, or `OPENVSWITCH reason 3`, `reason 123` where the kernel tells none.
    pub fn name(&self, number: u32) -> String {
        if !self.given {
            return NOT_SPECIFIED.to_owned();
        }
        if let Some(name) = self.names.get(&number) {
            return name.clone();
        }
        let subsystem = number >> SUBSYSTEM_SHIFT;
        match self.subsystems.get(&subsystem) {
            Some(name) if subsystem != 0 => format!("{name} reason {}", number & 0xffff),
            _ => format!("reason {number}"),
        }
    }

    /// The number of a name, if this kernel has it.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.iter().find(|(_, known)| *known == name).map(|(&number, _)| number)
    }
}

fn stripped(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::tests::Builder;

    fn reasons(given: bool) -> Reasons {
        let mut builder = Builder::new();
        builder.enumeration(
            "skb_drop_reason",
            &[
                ("SKB_NOT_DROPPED_YET", 0),
                ("SKB_CONSUMED", 1),
                ("SKB_DROP_REASON_NETFILTER_DROP", 12),
                ("SKB_DROP_REASON_MAX", 127),
                ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
            ],
        );
        builder.enumeration(
            "skb_drop_reason_subsys",
            &[
                ("SKB_DROP_REASON_SUBSYS_CORE", 0),
                ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 2),
                ("SKB_DROP_REASON_SUBSYS_QDISC", 3),
            ],
        );
        builder.enumeration("ovs_drop_reason", &[("OVS_DROP_LAST_ACTION", 0x2_0001)]);
        // Not the kernel's numbering of drop reasons: its own numbers overlap core ones.
        builder.enumeration("other_drop_reason", &[("OTHER", 12)]);
        Reasons::read(&builder.build(), given)
    }

    #[test]
    fn names_lose_their_prefix() {
        let reasons = reasons(true);
        assert_eq!(reasons.name(12), "NETFILTER_DROP");
        assert_eq!(reasons.name(1), "SKB_CONSUMED");
        assert_eq!(reasons.number("NETFILTER_DROP"), Some(12));
        assert_eq!(reasons.number("MAX"), None);
    }

    #[test]
    fn subsystems_have_names_of_their_own() {
        let reasons = reasons(true);
        assert_eq!(reasons.name(0x2_0001), "OVS_DROP_LAST_ACTION");
        assert_eq!(reasons.name(0x3_0005), "QDISC reason 5", "its module's names are not in this BTF");
    }

    #[test]
    fn an_unknown_number_stays_a_number() {
        let reasons = reasons(true);
        assert_eq!(reasons.name(99), "reason 99");
        assert_eq!(reasons.name(0x9_0001), "reason 589825");
        assert_eq!(reasons.name(127), "reason 127");
    }

    #[test]
    fn without_reasons_every_number_is_unspecified() {
        assert_eq!(reasons(false).name(12), "NOT_SPECIFIED");
    }
}
