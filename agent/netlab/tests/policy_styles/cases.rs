//! Policies, and by hand who then reaches whom: no evaluator has a say in what is expected.

/// From `friend`, `stranger` and `store` (a row each) to `server` and `near` (a column each): `w` for TCP 8080, `m` for
/// TCP 9090, `d` for UDP 5353. Everything else must not get through.
pub type Grid = [[&'static str; 2]; 3];

pub struct Case {
    pub name: &'static str,
    /// Name and `spec` of each policy in namespace `shop`.
    pub policies: &'static [(&'static str, &'static str)],
    pub v4: Grid,
    pub v6: Grid,
    /// In both families where a policy has one chain for both directions, if that admits more.
    pub one_chain: Option<Grid>,
}

const ALL: [&str; 2] = ["wmd", "wmd"];
const NONE: [&str; 2] = ["", ""];
pub const OPEN: Grid = [ALL, ALL, ALL];

const fn both(name: &'static str, policies: &'static [(&'static str, &'static str)], grid: Grid) -> Case {
    Case { name, policies, v4: grid, v6: grid, one_chain: None }
}

pub const BY_LABEL: Case = both(
    "in by pod label",
    &[(
        "friends",
        "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress],
          ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]}",
    )],
    [ALL, ["", "wmd"], ["", "wmd"]],
);
/// The same when `stranger` has the label of `friend`.
pub const BY_LABEL_RELABELLED: Grid = [ALL, ALL, ["", "wmd"]];

pub const CASES: &[Case] = &[
    both("no policy", &[], OPEN),
    both(
        "deny in",
        &[("deny", "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}")],
        [["", "wmd"], ["", "wmd"], ["", "wmd"]],
    ),
    both(
        "deny out",
        &[("deny", "{podSelector: {matchLabels: {app: friend}}, policyTypes: [Egress]}")],
        [NONE, ALL, ALL],
    ),
    both(
        "in by namespace label",
        &[(
            "back",
            "{podSelector: {matchLabels: {tier: serving}}, policyTypes: [Ingress],
              ingress: [{from: [{namespaceSelector: {matchLabels: {team: back}}}]}]}",
        )],
        [NONE, NONE, ALL],
    ),
    Case {
        // One block's exception is another block's member; the families differ on purpose.
        name: "blocks with exceptions",
        policies: &[(
            "blocks",
            "{podSelector: {matchLabels: {tier: serving}}, policyTypes: [Ingress],
              ingress: [{from: [
                {ipBlock: {cidr: 10.244.0.0/16, except: [10.244.1.0/24]}},
                {ipBlock: {cidr: 10.244.1.0/29, except: [10.244.1.6/32]}},
                {ipBlock: {cidr: 'fd00:244::/32', except: ['fd00:244:0:2::/64']}}]}]}",
        )],
        v4: [ALL, NONE, ALL],
        v6: [ALL, ALL, NONE],
        one_chain: None,
    },
    Case {
        name: "everybody but",
        policies: &[(
            "but",
            "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress],
              ingress: [{from: [
                {ipBlock: {cidr: 0.0.0.0/0, except: [10.244.2.0/24]}},
                {ipBlock: {cidr: '::/0', except: ['fd00:244:0:1::/64']}}], ports: [{port: 8080}]}]}",
        )],
        v4: [["w", "wmd"], ["w", "wmd"], ["", "wmd"]],
        v6: [["", "wmd"], ["", "wmd"], ["w", "wmd"]],
        one_chain: None,
    },
    both(
        "named port in",
        &[(
            "web",
            "{podSelector: {matchLabels: {tier: serving}}, policyTypes: [Ingress],
              ingress: [{ports: [{port: web}]}]}",
        )],
        [["w", "m"], ["w", "m"], ["w", "m"]],
    ),
    both(
        "named port out",
        &[(
            "web",
            "{podSelector: {matchLabels: {app: friend}}, policyTypes: [Egress],
              egress: [{to: [{podSelector: {}}], ports: [{port: web}]}]}",
        )],
        [["w", "m"], ALL, ALL],
    ),
    both(
        "port range",
        &[(
            "range",
            "{podSelector: {matchLabels: {tier: serving}}, policyTypes: [Ingress],
              ingress: [{ports: [{port: 9000, endPort: 9100}, {port: 5353, protocol: UDP}]}]}",
        )],
        [["md", "md"], ["md", "md"], ["md", "md"]],
    ),
    both(
        "all of a protocol from a block",
        &[(
            "tcp",
            "{podSelector: {matchLabels: {app: near}}, policyTypes: [Ingress],
              ingress: [{from: [{ipBlock: {cidr: 10.244.1.0/24}}, {ipBlock: {cidr: 'fd00:244:0:1::/64'}}],
                         ports: [{protocol: TCP}]}]}",
        )],
        [["wmd", "wm"], ["wmd", "wm"], ["wmd", ""]],
    ),
    both(
        "out only",
        &[(
            "out",
            "{podSelector: {matchLabels: {app: friend}}, policyTypes: [Egress],
              egress: [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 5353, protocol: UDP}]}]}",
        )],
        [["d", ""], ALL, ALL],
    ),
    both(
        "union of two",
        &[
            (
                "friend",
                "{podSelector: {matchLabels: {tier: serving}}, policyTypes: [Ingress],
                  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: 8080}]}]}",
            ),
            (
                "stranger",
                "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress],
                  ingress: [{from: [{podSelector: {matchLabels: {app: stranger}}}],
                             ports: [{port: 5353, protocol: UDP}]}]}",
            ),
        ],
        [["w", "w"], ["d", ""], NONE],
    ),
    Case {
        name: "one policy both ways",
        policies: &[(
            "both",
            "{podSelector: {}, policyTypes: [Ingress, Egress],
              ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}],
              egress: [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 8080}]}]}",
        )],
        v4: [["w", ""], NONE, NONE],
        v6: [["w", ""], NONE, NONE],
        // The ingress rule lets `friend` out to `near`, whose node knows both as the policy's pods.
        one_chain: Some([["w", "wmd"], NONE, NONE]),
    },
    both("removed again", &[], OPEN),
];
