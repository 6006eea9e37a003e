//! Everything that reads a node's rules, as functions of bytes that must hold whatever the bytes are.
//!
//! Each reads its input as if a node had printed it, walks packets through what was understood, and asserts what an answer
//! may never be (`walks`). A panic, a hang or memory without bound is a finding. What was found lies in `regressions`, and
//! the tests of `rules` replay it with `seeds` (`agent/rules/tests/fuzz_inputs.rs`); so this file knows nothing of libFuzzer.
//!
//! It is no test of meaning: that a walk says what the kernel does is shown in `agent/netlab/tests/oracle.rs`.

mod netlink;
mod walks;

use std::collections::BTreeMap;

use model::flow::Family;
use model::node_state::{NodeState, SavedRules};
use model::walk::Backend;
use rules::Host;

/// A function of bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their folders.
pub const TARGETS: [(&str, Target); 6] = [
    ("iptables", iptables),
    ("nft_json", nft_json),
    ("nft_netlink", nft_netlink),
    ("ipset", ipset),
    ("ipvs", ipvs),
    ("node", node),
];

/// What `iptables-save` prints; of both back-ends and families, for the writer is not known from the text.
pub fn iptables(data: &[u8]) {
    let text = text(data);
    let saved = |backend, family| SavedRules { backend, family, text: text.clone() };
    let iptables =
        vec![saved(Backend::IptablesLegacy, Family::Ipv4), saved(Backend::IptablesNft, Family::Ipv6)];
    walks::all(&Host::new(&NodeState { iptables, ..walks::network() }));
}

/// What `nft -j list ruleset` prints.
pub fn nft_json(data: &[u8]) {
    walks::all(&Host::new(&NodeState { nftables: text(data), ..walks::network() }));
}

/// What the kernel answers to dumps of nf_tables: as it is, and with lengths made to fit, so that what is inside is reached.
pub fn nft_netlink(data: &[u8]) {
    netlink::read(data);
    let mut data = data.to_vec();
    netlink::fit(&mut data);
    netlink::read(&data);
}

/// What `ipset save` prints, asked by rules of every number of dimensions.
pub fn ipset(data: &[u8]) {
    const RULES: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m set --match-set s src -j ACCEPT
-A FORWARD -m set ! --match-set s dst -m set --match-set t src,src -j DROP
-A FORWARD -m set --match-set s dst,dst -j ACCEPT
-A FORWARD -m set --match-set s src,dst --return-nomatch -j DROP
-A FORWARD -m set --match-set s dst,src,dst -m set ! --match-set t dst,dst,src -j DROP
-A INPUT -m set --match-set u dst,dst -j DROP
-A OUTPUT -m set --match-set u src,dst,dst,src -j DROP
COMMIT
";
    let saved = |family| SavedRules { backend: Backend::IptablesNft, family, text: RULES.to_owned() };
    let iptables = vec![saved(Family::Ipv4), saved(Family::Ipv6)];
    walks::all(&Host::new(&NodeState { iptables, ipsets: Some(text(data)), ..walks::network() }));
}

/// What `ipvsadm -Sn` and /proc/net/ip_vs print.
pub fn ipvs(data: &[u8]) {
    walks::all(&Host::new(&NodeState { ipvs: Some(text(data)), ..walks::network() }));
}

/// A node directory, each file headed by a line `== NAME`; what belongs to no file is read as /proc/net/tcp.
pub fn node(data: &[u8]) {
    let text = text(data);
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut parts = text.split("== ");
    let sockets = parts.next().unwrap_or_default();
    for (name, body) in parts.map(|part| part.split_once('\n').unwrap_or((part, ""))) {
        files.insert(name.to_owned(), body.to_owned());
    }
    let _ = snapshot::listeners(sockets);
    walks::all(&Host::new(&snapshot::node_state(&mut files)));
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
