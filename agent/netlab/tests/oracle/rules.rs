//! nftables rules one by one: conditions, things that a rule does, translations.
//!
//! They are loaded on node-1 of `cluster`; the client there and the node itself are asked about.

/// Conditions for what the client on node-1 and node-1 itself send to port 8080 of the pod `far` on node-2: some hold,
/// some do not, some for one of the two only.
pub const CONDITIONS: [&str; 65] = [
    "ip daddr 10.244.2.5",
    "ip daddr != 10.244.2.5",
    "ip daddr 10.244.2.6",
    "ip daddr 10.244.2.0/24",
    "ip daddr 10.244.3.0/24",
    "ip daddr 10.244.2.1-10.244.2.9",
    "ip daddr 10.244.2.6-10.244.2.9",
    "ip daddr { 10.244.2.5, 10.244.2.6 }",
    "ip daddr { 10.244.2.6, 10.244.2.7 }",
    "ip daddr != { 10.244.2.6, 10.244.2.7 }",
    "ip daddr { 10.0.0.0/9, 10.244.2.0/24 }",
    "ip daddr @known",
    "ip daddr @others",
    "ip daddr != @others",
    "ip daddr . tcp dport @pairs",
    "ip saddr . ip daddr . tcp dport { 10.244.1.5 . 10.244.2.5 . 8080 }",
    "ip saddr . ip daddr . meta l4proto . th dport { 10.244.1.0/24 . 10.244.2.5 . tcp . 8000-8100 }",
    "ip saddr . ip daddr . meta l4proto . th dport { 10.244.1.0/24 . 10.244.2.5 . udp . 8000-8100 }",
    "ip saddr 10.244.1.5",
    "ip saddr != 10.244.1.5",
    "ip saddr 10.200.0.0/24",
    "tcp dport 8080",
    "tcp dport != 8080",
    "tcp dport 8000-8079",
    "tcp dport > 8079",
    "tcp dport > 8080",
    "tcp dport <= 8080",
    "tcp dport { 22, 80-90, 8080 }",
    "tcp dport { 22, 80-90 }",
    "udp dport 8080",
    "udp dport != 53",
    "th dport 8080",
    "meta l4proto tcp",
    "meta l4proto != tcp",
    "meta l4proto { udp, sctp }",
    "ip protocol tcp",
    "ip6 nexthdr tcp",
    "ip6 daddr != fd00::1",
    "icmp type != echo-request",
    "meta nfproto ipv4",
    "meta nfproto ipv6",
    "meta nfproto != ipv6",
    "meta protocol ip",
    "tcp flags syn / fin,syn,rst,ack",
    "tcp flags & (syn|ack) == ack",
    "tcp flags syn",
    "ct state new",
    "ct state established,related",
    "ct state != new",
    "ct state ! invalid",
    "ct state { new, established }",
    "ct direction original",
    "ct direction reply",
    "ct status dnat",
    "ct status != dnat",
    "ct status ! dnat",
    "meta l4proto { tcp, udp } ct direction original ip daddr 10.244.2.5",
    "ct original ip daddr 10.244.2.5",
    "ct original ip daddr 10.244.2.6",
    "meta l4proto tcp ct original proto-dst 8080",
    "fib saddr type local",
    "fib daddr type local",
    "fib daddr type != local",
    "fib saddr type { local, unicast }",
    "iifname \"no-such*\"",
];

/// One condition before a drop, forwarded and sent. Only new connections: answers are not what is walked.
pub fn conditional(condition: &str) -> String {
    table(&format!("{condition} drop"))
}

/// Rules that do more than one thing, or lead somewhere.
pub const RULES: [&str; 26] = [
    "meta mark set 0x10 meta mark 0x10 drop",
    "meta mark set 0x10 meta mark != 0x10 drop",
    "meta mark set meta mark | 0x4000 meta mark & 0x4000 != 0 drop",
    "meta mark set meta mark | 0x4000 meta mark set meta mark ^ 0x4000 meta mark & 0x4000 != 0 drop",
    "ct mark set 0x7 ct mark 0x7 drop",
    "ct mark set 0x7 meta mark set ct mark meta mark 0x7 drop",
    "meta mark set 0x3 ct mark set meta mark ct mark & 0x1 == 0x1 drop",
    "jump called drop",
    "jump dropping",
    "goto called\n drop",
    "jump returning\n drop",
    "jump leaving\n drop",
    "ip daddr vmap { 10.244.2.5 : drop, 10.244.2.6 : accept }",
    "ip daddr vmap { 10.244.2.5 : accept, 10.244.2.6 : drop }\n drop",
    "ip daddr vmap { 10.244.2.5 : continue }\n drop",
    "ip daddr . tcp dport vmap { 10.244.2.5 . 8080 : jump dropping, 10.244.2.5 . 8081 : accept }",
    "ct state vmap { established : accept, new : goto dropping }",
    "tcp dport vmap { 1-8079 : accept, 8080-8090 : drop }",
    "reject",
    "counter log prefix \"x\" reject with tcp reset",
    // What nft does not print of these, that they are for one family or protocol, the kernel holds.
    "reject with icmpv6 no-route",
    "meta l4proto udp reject with icmp host-prohibited",
    "ip6 hoplimit set 3 drop",
    "udp dport set 53 drop",
    "add @ports { udp dport } drop",
    "add @ports { tcp dport } drop",
];

/// A table with this rule where what is forwarded and what is sent passes; answers are let through.
pub fn table(rule: &str) -> String {
    let rule = rule.replace("jump called drop", "jump called\n drop");
    let new = |rule: &str| format!("ct direction reply accept\n ct state established accept\n {rule}");
    let rules = if rule.contains("ct state") || rule.contains("ct direction") {
        // They are asked about the first packet; what comes after it would not get through either.
        format!("ct mark 0x77 accept\n {rule}\n ct mark set 0x77")
    } else {
        new(&rule)
    };
    format!(
        "table inet oracle {{
            set known {{ type ipv4_addr; flags interval; elements = {{ 10.244.2.0/28, 192.0.2.1 }}; }}
            set others {{ type ipv4_addr; flags interval; elements = {{ 10.244.2.16/28, 192.0.2.1 }}; }}
            set pairs {{ type ipv4_addr . inet_service; elements = {{ 10.244.2.5 . 8080, 10.244.2.6 . 81 }}; }}
            set ports {{ type inet_service; flags dynamic; size 16; }}
            chain called {{ counter; }}
            chain dropping {{ drop; }}
            chain leaving {{ accept; }}
            chain returning {{
                ip daddr 10.244.2.5 return
                drop
            }}
            chain forward {{
                type filter hook forward priority 10;
                {rules}
            }}
            chain output {{
                type filter hook output priority 10;
                {rules}
            }}
        }}\n"
    )
}

/// Translations of what the client and node-1 send to 192.0.2.9:80 or to a port of a pod, before and after the look-up.
pub const TRANSLATIONS: [&str; 8] = [
    "ip daddr 192.0.2.9 tcp dport 80 dnat ip to 10.244.2.5:8080",
    "ip daddr 192.0.2.9 dnat ip to 10.244.1.6",
    "dnat ip to ip daddr . tcp dport map { 192.0.2.9 . 80 : 10.244.2.5 . 8080, 192.0.2.9 . 8080 : 10.244.1.6 . 8080 }",
    "ip daddr 192.0.2.9 dnat ip to ip daddr map { 192.0.2.9 : 10.244.1.7 }",
    "ip daddr 192.0.2.9 meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.6 . 8080, 1 : 10.244.2.5 . 8080 }",
    "ip daddr 192.0.2.9 meta l4proto tcp dnat ip to jhash ip saddr mod 1 map { 0 : 10.244.2.5 . 8080 }",
    "ip daddr 192.0.2.9 numgen random mod 3 vmap { 0 : goto near, 1 : goto far, 2 : goto far }",
    "ip daddr 192.0.2.9 tcp dport 80 redirect to :8080",
];

/// A table that translates so.
pub fn translating(rule: &str) -> String {
    format!(
        "table inet oracle {{
            chain near {{ meta l4proto tcp dnat ip to 10.244.1.6:8080; }}
            chain far {{ meta l4proto tcp dnat ip to 10.244.2.5:8080; }}
            chain prerouting {{ type nat hook prerouting priority -150; {rule}; }}
            chain output {{ type nat hook output priority -90; {rule}; }}
            chain postrouting {{ type nat hook postrouting priority 0; ct status dnat masquerade; }}
        }}\n"
    )
}

/// Tables in which the order of chains decides: two at one place, nat chains whose priorities lie about their place.
pub const ORDERED: [&str; 4] = [
    "table inet oracle {
        chain one { type filter hook forward priority 10; meta mark set 0x1; }
        chain two { type filter hook forward priority 10; meta mark 0x1 drop; }
        chain three { type filter hook output priority 10; meta mark 0x1 drop; }
        chain four { type filter hook output priority 10; meta mark set 0x1; }
    }
",
    "table inet oracle {
        chain one { type filter hook forward priority 10; meta mark 0x1 drop; }
        chain two { type filter hook forward priority 10; meta mark set 0x1; }
        chain three { type filter hook output priority 10; meta mark set 0x1; }
        chain four { type filter hook output priority 10; meta mark 0x1 drop; }
    }
",
    "table inet oracle {
        chain early { type nat hook prerouting priority -190; tcp dport 80 dnat ip to 10.244.2.5:8080; }
        chain check { type filter hook prerouting priority -120; ip daddr 10.244.2.5 drop; }
        chain sent { type nat hook output priority -190; tcp dport 80 dnat ip to 10.244.2.5:8080; }
        chain seen { type filter hook output priority -120; ip daddr 10.244.2.5 drop; }
        chain back { type nat hook postrouting priority 0; ct status dnat masquerade; }
    }
",
    "table inet oracle {
        chain late { type nat hook prerouting priority 50; tcp dport 80 dnat ip to 10.244.2.5:8080; }
        chain check { type filter hook prerouting priority 0; ip daddr 10.244.2.5 drop; }
        chain sent { type nat hook output priority 50; tcp dport 80 dnat ip to 10.244.2.5:8080; }
        chain seen { type filter hook output priority 0; ip daddr 10.244.2.5 drop; }
    }
",
];
