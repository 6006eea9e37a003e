//! Where in the kernel's packet path chains are called, and in which order.
//!
//! It knows the fixed places of the iptables tables; chains that name their own place bring it with them.

use std::fmt;

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// After arrival, before the route look-up.
    Prerouting,
    /// To a local socket.
    Input,
    /// To another host.
    Forward,
    /// From a local socket.
    Output,
    /// Before leaving.
    Postrouting,
}

/// What kind of base chain it is, which decides when it is consulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// For every packet.
    Filter,
    /// For every packet; if it changes what is sent, the way is looked up again.
    Route,
    /// For the first packet of a connection only.
    Nat,
    /// For what IPVS has not taken yet.
    Ipvs,
}

/// A base chain's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// The hook it is called from.
    pub hook: Hook,
    /// Lower is earlier.
    pub priority: i32,
    /// When it is consulted.
    pub kind: Kind,
}

/// Where connection tracking looks at what arrives or is sent (`NF_IP_PRI_CONNTRACK`).
const CONNTRACK: i32 = -200;

/// Where the kernel calls its nat chains before and after the route look-up (`NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`).
const NAT: [i32; 2] = [-100, 100];

impl Base {
    /// The priority at which it is really called. All nat chains of a hook are called from one place, whatever their own
    /// priorities, which only order them among themselves (`nf_nat_register_fn` in net/netfilter/nf_nat_core.c).
    pub const fn position(self) -> i32 {
        match (self.kind, self.hook) {
            (Kind::Filter | Kind::Route | Kind::Ipvs, _) => self.priority,
            (Kind::Nat, Hook::Prerouting | Hook::Output) => NAT[0],
            (Kind::Nat, _) => NAT[1],
        }
    }

    /// Whether connection tracking has seen every packet that comes here.
    pub const fn after_tracking(self) -> bool {
        self.position() > CONNTRACK || !matches!(self.hook, Hook::Prerouting | Hook::Output)
    }
}

impl Hook {
    /// The kernel's word, as iptables names its built-in chains.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }

    /// The hook of a built-in chain's name.
    pub fn of(chain: &str) -> Option<Self> {
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting]
            .into_iter()
            .find(|hook| hook.word() == chain)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a built-in chain of an iptables table is called (`enum nf_ip_hook_priorities`, `include/uapi/linux/netfilter_ipv4.h`).
pub fn iptables_base(table: &str, chain: &str) -> Option<Base> {
    let hook = Hook::of(chain)?;
    let (priority, kind) = match (table, hook) {
        ("raw", Hook::Prerouting | Hook::Output) => (-300, Kind::Filter),
        ("mangle", Hook::Output) => (-150, Kind::Route),
        ("mangle", _) => (-150, Kind::Filter),
        ("nat", Hook::Prerouting | Hook::Output) => (-100, Kind::Nat),
        ("nat", Hook::Input | Hook::Postrouting) => (100, Kind::Nat),
        ("filter", Hook::Input | Hook::Forward | Hook::Output) => (0, Kind::Filter),
        ("security", Hook::Input | Hook::Forward | Hook::Output) => (50, Kind::Filter),
        _ => return None,
    };
    Some(Base { hook, priority, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_chains_have_the_kernels_order() {
        let priority = |table, chain| iptables_base(table, chain).map(|base| base.priority);
        assert_eq!(priority("raw", "PREROUTING"), Some(-300));
        assert_eq!(priority("mangle", "POSTROUTING"), Some(-150));
        assert_eq!(priority("nat", "OUTPUT"), Some(-100));
        assert_eq!(priority("nat", "POSTROUTING"), Some(100));
        assert_eq!(priority("filter", "FORWARD"), Some(0));
        assert_eq!(priority("filter", "PREROUTING"), None);
        assert_eq!(priority("filter", "KUBE-FORWARD"), None);
    }
}
