//! Tells, without loading anything, what tracing will and will not see on this node, and what to do about it.
//!
//! It changes nothing and needs no privileges; whether the kernel's verifier agrees is only known by loading.

use std::path::Path;

use model::{SourceHealth, SourceState};

use crate::btf::KERNEL_BTF;
use crate::btf::{Btf, Parameter};
use crate::layout;
use crate::symbols;

/// Bits of the capability sets in /proc/PID/status (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The check.
#[derive(Clone, Copy, Debug)]
pub struct Preflight;

impl Preflight {
    /// The state of the source `drops`, and of `symbols`, which names the code that dropped a packet.
    pub fn check() -> Vec<SourceState> {
        vec![drops(&Facts::gather()), symbol_names(symbols::visible())]
    }
}

/// What the state of the source depends on.
#[derive(Clone, Debug)]
struct Facts {
    btf: BtfFact,
    missing: Vec<&'static str>,
    locked_down: bool,
}

#[derive(Clone, Debug)]
enum BtfFact {
    Absent(String),
    Unusable(String),
    Usable { reason: bool },
}

impl Facts {
    fn gather() -> Self {
        Self {
            btf: std::fs::read(KERNEL_BTF).map_or_else(|error| BtfFact::Absent(error.to_string()), examine),
            missing: missing_capabilities(),
            locked_down: std::fs::read_to_string(Path::new("/sys/kernel/security/lockdown"))
                .is_ok_and(|text| text.contains("[confidentiality]")),
        }
    }
}

fn examine(bytes: Vec<u8>) -> BtfFact {
    let btf = match Btf::parse(bytes) {
        Ok(btf) => btf,
        Err(error) => return BtfFact::Unusable(error.to_string()),
    };
    if let Err(error) = layout::find(&btf, false) {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        return BtfFact::Unusable(format!("{error}{cause}"));
    }
    let arguments: Vec<Parameter> = btf.tracepoint("kfree_skb").unwrap_or_default();
    BtfFact::Usable { reason: layout::has_reason(&arguments) }
}

/// The capabilities that loading needs and this process lacks. An unreadable status lacks none: loading will tell.
pub fn missing_capabilities() -> Vec<&'static str> {
    std::fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| missing_of(&status))
        .unwrap_or_default()
}

fn missing_of(status: &str) -> Option<Vec<&'static str>> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |capability: u32| effective >> capability & 1 == 1;
    // SYS_ADMIN covers both (kernel/bpf/syscall.c bpf_capable, include/linux/capability.h perfmon_capable).
    if has(CAP_SYS_ADMIN) {
        return Some(Vec::new());
    }
    Some(
        [("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON)]
            .into_iter()
            .filter(|&(_, capability)| !has(capability))
            .map(|(name, _)| name)
            .collect(),
    )
}

fn drops(facts: &Facts) -> SourceState {
    let cost = "connections that this node drops are not seen, rules and sockets still are";
    let (health, detail) = match &facts.btf {
        BtfFact::Absent(error) => (
            SourceHealth::Unavailable,
            format!("{KERNEL_BTF}: {error}; {cost}. Needs a kernel with CONFIG_DEBUG_INFO_BTF and /sys mounted"),
        ),
        BtfFact::Unusable(error) => (
            SourceHealth::Unavailable,
            format!("this kernel's structures are not as the programs need them ({error}); {cost}"),
        ),
        BtfFact::Usable { .. } if facts.locked_down => (
            SourceHealth::Unavailable,
            format!("the kernel is locked down (confidentiality) and lets no program read packets; {cost}"),
        ),
        BtfFact::Usable { .. } if !facts.missing.is_empty() => (
            SourceHealth::Unavailable,
            format!("this process lacks {}; {cost}. Add them, or SYS_ADMIN", facts.missing.join(" and ")),
        ),
        BtfFact::Usable { reason: false } => (
            SourceHealth::Degraded,
            "dropped SYNs are seen, but this kernel (before 5.17) gives no reason: only the place in its code is known"
                .to_owned(),
        ),
        BtfFact::Usable { reason: true } => {
            (SourceHealth::Ok, "dropped SYNs are seen with reason and place in the kernel".to_owned())
        }
    };
    SourceState { name: "drops".to_owned(), health, detail }
}

fn symbol_names(visible: bool) -> SourceState {
    let (health, detail) = if visible {
        (SourceHealth::Ok, "places in the kernel are shown by function name".to_owned())
    } else {
        (
            SourceHealth::Degraded,
            "/proc/kallsyms hides addresses: places in the kernel are shown as numbers, so iptables and nftables \
             drops look alike. Needs CAP_SYSLOG with kernel.kptr_restrict at 0 or 1"
                .to_owned(),
        )
    };
    SourceState { name: "symbols".to_owned(), health, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { btf: BtfFact::Usable { reason: true }, missing: Vec::new(), locked_down: false }
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        let status = |set: &str| format!("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{set}\n");
        assert_eq!(missing_of(&status("0000000000000000")), Some(vec!["CAP_BPF", "CAP_PERFMON"]));
        assert_eq!(missing_of(&status("0000008000000000")), Some(vec!["CAP_PERFMON"]));
        assert_eq!(missing_of(&status("000000c000000000")), Some(vec![]));
        assert_eq!(missing_of(&status("0000000000200000")), Some(vec![]), "SYS_ADMIN covers both");
        assert_eq!(missing_of("CapEff:\tnonsense\n"), None);
        assert_eq!(missing_of(""), None);
    }

    #[test]
    fn each_lack_is_told_with_its_cost() {
        let state = drops(&Facts { btf: BtfFact::Absent("no such file".to_owned()), ..facts() });
        assert_eq!(state.health, SourceHealth::Unavailable);
        assert!(state.detail.contains("CONFIG_DEBUG_INFO_BTF"), "{}", state.detail);

        let state = drops(&Facts { missing: vec!["CAP_BPF"], ..facts() });
        assert_eq!(state.health, SourceHealth::Unavailable);
        assert!(state.detail.contains("lacks CAP_BPF;"), "{}", state.detail);

        let state = drops(&Facts { locked_down: true, ..facts() });
        assert_eq!(state.health, SourceHealth::Unavailable);
        assert!(state.detail.contains("locked down"), "{}", state.detail);

        let state = drops(&Facts { btf: BtfFact::Usable { reason: false }, ..facts() });
        assert_eq!(state.health, SourceHealth::Degraded);
        assert!(state.detail.contains("no reason"), "{}", state.detail);

        assert_eq!(drops(&facts()).health, SourceHealth::Ok);
    }

    #[test]
    fn bytes_that_are_no_type_information_are_told_as_such() {
        assert!(matches!(examine(b"not BTF".to_vec()), BtfFact::Unusable(_)));
    }

    #[test]
    fn hidden_symbols_degrade() {
        assert_eq!(symbol_names(true).health, SourceHealth::Ok);
        assert_eq!(symbol_names(false).health, SourceHealth::Degraded);
    }
}
