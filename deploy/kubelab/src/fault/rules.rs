//! Rules that somebody else wrote: by hand, by a firewall, by a container engine.

use super::journal::At;
use super::stage::SERVED;
use super::{Fault, Need, Reach, Symptom, Tool};

pub const FAULTS: &[Fault] = &[
    Fault {
        name: "forward-drop",
        breaks: "a DROP rule in FORWARD on the server's node",
        cause: "H27",
        symptom: Symptom::Silent,
        reach: Reach::Node,
        inject: |stage| {
            let rule = format!("-d {}/32 -p tcp -m tcp --dport {SERVED} -j DROP", stage.address("api")?);
            stage.rule(&stage.scene.server_node(), Tool::Nft, "filter", "FORWARD", &rule)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "forward-reject",
        breaks: "a REJECT rule in FORWARD on the server's node",
        cause: "H27",
        // On the client's node it would look like silence: the RST to what came through a bridge goes past the connection
        // tracking (`nf_send_reset` in net/ipv4/netfilter/nf_reject_ipv4.c) and so comes from an address the client does
        // not know.
        needs: &[Need::TwoNodes],
        reach: Reach::Node,
        inject: |stage| {
            let rule = format!(
                "-d {}/32 -p tcp -m tcp --dport {SERVED} -j REJECT --reject-with tcp-reset",
                stage.address("api")?
            );
            stage.rule(&stage.scene.server_node(), Tool::Nft, "filter", "FORWARD", &rule)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "legacy-forward-drop",
        breaks: "a DROP rule in FORWARD on the server's node, written through the iptables that kube-proxy does not use",
        cause: "H27",
        symptom: Symptom::Silent,
        inject: |stage| {
            let rule = format!("-d {}/32 -p tcp -m tcp --dport {SERVED} -j DROP", stage.address("api")?);
            stage.rule(&stage.scene.server_node(), stage.other_tool(), "filter", "FORWARD", &rule)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "raw-drop",
        breaks: "a DROP rule in PREROUTING of the raw table, before any translation",
        cause: "H27",
        symptom: Symptom::Silent,
        inject: |stage| {
            let rule = format!("-s {}/32 -p tcp -m tcp --dport 80 -j DROP", stage.address("client")?);
            stage.rule(&stage.scene.client_node(), Tool::Nft, "raw", "PREROUTING", &rule)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "pod-input-drop",
        breaks: "a DROP rule in INPUT of the server's own network namespace",
        cause: "H27",
        symptom: Symptom::Silent,
        inject: |stage| {
            let rule = format!("-p tcp -m tcp --dport {SERVED} -j DROP");
            stage.rule(&At::Pod(stage.scene.key("api")), Tool::Nft, "filter", "INPUT", &rule)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "nft-drop",
        breaks: "an nftables table made by hand that drops on the client's node",
        cause: "H27",
        symptom: Symptom::Silent,
        inject: |stage| {
            let chain = format!(
                "chain forward {{ type filter hook forward priority 10; policy accept;\n\
                 ip daddr {} tcp dport {SERVED} counter drop\n}}",
                stage.address("api")?
            );
            stage.table(&stage.scene.client_node(), "inet by-hand", &chain)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "firewall-reject",
        breaks: "firewalld rejects what no zone of it admits on the server's node",
        cause: "H3",
        symptom: Symptom::HostUnreachable,
        // In the shape of firewalld's table; it rejects everything, and this one only what goes to the world's server.
        inject: |stage| {
            let chain = format!(
                "chain filter_FORWARD {{ type filter hook forward priority filter + 10; policy accept;\n\
                 ct state {{ established, related }} accept\njump filter_FWD_public\n}}\n\
                 chain filter_FWD_public {{ ip daddr {} reject with icmpx admin-prohibited\n}}",
                stage.address("api")?
            );
            stage.table(&stage.scene.server_node(), "inet firewalld", &chain)
        },
        ..Fault::USUAL
    },
    Fault {
        name: "forward-policy-drop",
        breaks: "the policy of FORWARD on the server's node is DROP, as a container engine sets it",
        cause: "H2",
        symptom: Symptom::Silent,
        reach: Reach::Node,
        needs: &[Need::TwoNodes],
        inject: |stage| {
            let node = stage.scene.server_node();
            let policy = |word| ["iptables-nft", "-w", "-P", "FORWARD", word];
            if !stage.has_table(&node, "ip filter") {
                return stage.run(&node, &policy("DROP"), &["nft", "delete", "table", "ip", "filter"]);
            }
            let chain = stage.read(&node, &["iptables-nft", "-w", "-S", "FORWARD"])?;
            let before = if chain.starts_with("-P FORWARD DROP") { "DROP" } else { "ACCEPT" };
            stage.run(&node, &policy("DROP"), &policy(before))
        },
        ..Fault::USUAL
    },
];
