//! The rules that kubelets of old releases wrote on their nodes, and that kube-proxy of these releases relies on.
//!
//! Since 1.27 kube-proxy has all it needs to itself (KEP-3178, feature gate IPTablesOwnershipCleanup: alpha in 1.25, beta
//! and on in 1.27). Without these rules an older one would only mark what it means to drop.

use std::path::Path;

use anyhow::{Context, Result};
use model::Family;
use netlab::Netns;

/// The first minor version without them.
const OWN_CHAINS: u32 = 27;

/// Writes them, if kubelets of this minor version did, through the iptables programs in `tools`.
pub fn write(node: &Netns, tools: &Path, minor: u32) -> Result<()> {
    if minor >= OWN_CHAINS {
        return Ok(());
    }
    for (family, program) in [(Family::Ipv4, "iptables-restore"), (Family::Ipv6, "ip6tables-restore")] {
        let program = tools.join(program).display().to_string();
        node.feed(&[&program, "--noflush"], &rules(family))
            .with_context(|| format!("write a kubelet's rules on {}", node.name()))?;
    }
    Ok(())
}

/// `syncNetworkUtil` in pkg/kubelet/kubelet_network_linux.go, 1.24, with the drop bit that is the default (15).
fn rules(family: Family) -> String {
    let localnet = match family {
        Family::Ipv4 => {
            "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet \
             connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
        }
        Family::Ipv6 => "",
    };
    format!(
        "*nat\n\
         :KUBE-MARK-DROP - [0:0]\n\
         -A KUBE-MARK-DROP -j MARK --or-mark 0x8000\n\
         COMMIT\n\
         *filter\n\
         :KUBE-FIREWALL - [0:0]\n\
         -A KUBE-FIREWALL -m comment --comment \"kubernetes firewall for dropping marked packets\" -m mark --mark \
         0x8000/0x8000 -j DROP\n\
         {localnet}\
         -I OUTPUT -j KUBE-FIREWALL\n\
         -I INPUT -j KUBE-FIREWALL\n\
         COMMIT\n"
    )
}
