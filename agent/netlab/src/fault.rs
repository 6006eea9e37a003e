//! Things that go wrong on nodes, done on purpose.

use std::fmt::Write;

use model::walk::Backend;

use crate::error::Error;
use crate::kube_proxy::restore_tool;
use crate::lab::Node;

impl Node {
    /// Sets the policy of the FORWARD chain, as a container engine or a firewall does with DROP.
    pub fn set_forward_policy(&self, backend: Backend, policy: ForwardPolicy) -> Result<(), Error> {
        let word = match policy {
            ForwardPolicy::Accept => "ACCEPT",
            ForwardPolicy::Drop => "DROP",
        };
        let text = format!("*filter\n:FORWARD {word} [0:0]\nCOMMIT\n");
        self.netns.feed(&[restore_tool(backend), "--noflush"], &text).map(drop)
    }

    /// Puts a rule at the top of a chain of the filter table, as somebody does by hand: `-p tcp --dport 80 -j DROP`.
    pub fn insert_filter_rule(&self, backend: Backend, chain: &str, rule: &str) -> Result<(), Error> {
        let text = format!("*filter\n-I {chain} 1 {rule}\nCOMMIT\n");
        self.netns.feed(&[restore_tool(backend), "--noflush"], &text).map(drop)
    }

    /// Turns forwarding off, which makes the node drop everything that is not its own.
    pub fn stop_forwarding(&self) -> Result<(), Error> {
        self.netns.sysctl("net.ipv4.ip_forward", "0")?;
        if self.spec.has_v6() {
            self.netns.sysctl("net.ipv6.conf.all.forwarding", "0")?;
        }
        Ok(())
    }

    /// Forgets the way to another node's pods, in every family.
    pub fn forget_pods_of(&self, other: &Self) -> Result<(), Error> {
        let mut batch = String::new();
        for (range, via) in self.spec.ways_to(&other.spec) {
            // Writing to a String cannot fail.
            let _ = writeln!(batch, "route del {range} via {via}");
        }
        self.netns.ip(&batch)
    }
}

/// What FORWARD does with a packet that no rule decided over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPolicy {
    /// Lets it pass.
    Accept,
    /// Drops it.
    Drop,
}
