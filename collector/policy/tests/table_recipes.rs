//! The policies that the Kubernetes documentation shows ("Network Policies", "Declare Network Policy"), and the usual recipes
//! beside them, as reachability. The manifests are written anew; what they are for is what is expected.

use std::fmt::Write as _;

use model::explanation::PolicyVerdict;
use model::{Key, ObjectSet, Protocol, Timestamp};
use objects::Reader;
use policy::{Connection, End, PolicyIndex, verdict};

/// Namespaces with a label each, and pods with theirs: `namespace/pod labels address`.
const SPACES: &[(&str, &str)] = &[
    ("default", "purpose: main"),
    ("myproject", "project: myproject"),
    ("frontend", "namespace: frontend"),
    ("backend", "namespace: backend"),
    ("kube-system", "purpose: system"),
];
const PODS: &[(&str, &str, &str, &str)] = &[
    ("default", "db", "role: db", "172.17.9.1"),
    ("default", "front", "role: frontend, app: web", "172.17.9.2"),
    ("default", "other", "app: other", "172.17.9.3"),
    ("myproject", "member", "app: member", "172.18.0.1"),
    ("frontend", "web", "role: frontend, type: monitoring", "172.18.1.1"),
    ("backend", "api", "app: api", "172.18.2.1"),
    ("kube-system", "dns", "k8s-app: kube-dns", "172.18.3.1"),
];

/// A recipe: what it is for, its policies, and connections as `SRC DST PORT[/proto]`, `+` allowed, `-` denied, `?` unknown.
struct Recipe {
    what: &'static str,
    policies: &'static [&'static str],
    connections: &'static [&'static str],
}

const RECIPES: &[Recipe] = &[
    Recipe {
        what: "the example of the documentation",
        policies: &["metadata: {name: test, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {project: myproject}}
    - podSelector: {matchLabels: {role: frontend}}
    ports: [{protocol: TCP, port: 6379}]
  egress:
  - to: [{ipBlock: {cidr: 10.0.0.0/24}}]
    ports: [{protocol: TCP, port: 5978}]"],
        connections: &[
            "+ default/front default/db 6379",
            "- default/front default/db 6380",
            "- default/front default/db 6379/udp",
            "+ myproject/member default/db 6379",
            "- frontend/web default/db 6379",
            // Its address is in the block, and this API says that blocks match pods too.
            "+ default/other default/db 6379",
            "+ 172.17.2.5 default/db 6379",
            // In the hole, but a client's address may be translated on the way in.
            "? 172.17.1.5 default/db 6379",
            "+ default/db 10.0.0.7 5978",
            "- default/db 10.0.0.7 5979",
            "- default/db 10.0.1.7 5978",
            "- default/db default/front 80",
            "+ default/front default/other 80",
        ],
    },
    Recipe {
        what: "default deny all ingress",
        policies: &["metadata: {name: default-deny-ingress, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress]}"],
        connections: &[
            "- default/front default/db 80",
            "- backend/api default/db 80",
            "- 203.0.113.5 default/db 80",
            "+ default/db backend/api 80",
            "+ default/db 203.0.113.5 443",
            "+ backend/api frontend/web 80",
        ],
    },
    Recipe {
        what: "allow all ingress, whatever denies",
        policies: &[
            "metadata: {name: default-deny-ingress, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress]}",
            "metadata: {name: allow-all-ingress, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{}]}",
        ],
        connections: &["+ backend/api default/db 80", "+ 203.0.113.5 default/db 1/udp", "+ default/db backend/api 80"],
    },
    Recipe {
        what: "default deny all egress",
        policies: &["metadata: {name: default-deny-egress, namespace: default}
spec: {podSelector: {}, policyTypes: [Egress]}"],
        connections: &[
            "- default/db default/front 80",
            "- default/db kube-system/dns 53/udp",
            "- default/db 203.0.113.5 443",
            "+ backend/api default/db 80",
        ],
    },
    Recipe {
        what: "allow all egress",
        policies: &["metadata: {name: allow-all-egress, namespace: default}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}"],
        connections: &["+ default/db 203.0.113.5 443", "+ default/db backend/api 80", "+ backend/api default/db 80"],
    },
    Recipe {
        what: "default deny all both ways",
        policies: &["metadata: {name: default-deny-all, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}"],
        connections: &[
            "- default/front default/db 80",
            "- backend/api default/db 80",
            "- default/db backend/api 80",
            "+ backend/api frontend/web 80",
        ],
    },
    Recipe {
        what: "a range of ports",
        policies: &["metadata: {name: multi-port-egress, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Egress]
  egress:
  - to: [{ipBlock: {cidr: 10.0.0.0/24}}]
    ports: [{protocol: TCP, port: 32000, endPort: 32768}]"],
        connections: &[
            "- default/db 10.0.0.7 31999",
            "+ default/db 10.0.0.7 32000",
            "+ default/db 10.0.0.7 32500",
            "+ default/db 10.0.0.7 32768",
            "- default/db 10.0.0.7 32769",
            "- default/db 10.0.0.7 32000/sctp",
        ],
    },
    Recipe {
        what: "several namespaces by their label",
        policies: &["metadata: {name: egress-namespaces, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchExpressions: [{key: namespace, operator: In, values: [frontend, backend]}]}}]"],
        connections: &[
            "+ default/front frontend/web 80",
            "+ default/front backend/api 80",
            "- default/front myproject/member 80",
            "- default/front default/db 80",
            "+ default/other myproject/member 80",
        ],
    },
    Recipe {
        what: "a namespace by its name",
        policies: &["metadata: {name: by-name, namespace: default}
spec:
  podSelector: {}
  ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: backend}}}]}]"],
        connections: &["+ backend/api default/db 80", "- frontend/web default/db 80", "- default/front default/db 80"],
    },
    Recipe {
        what: "access from pods with a label only (Declare Network Policy)",
        policies: &["metadata: {name: access, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]"],
        connections: &["+ default/front default/db 80", "- default/other default/db 80", "- backend/api default/db 80"],
    },
    Recipe {
        what: "nothing to an application",
        policies: &["metadata: {name: web-deny-all, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: []}"],
        connections: &["- default/other default/front 80", "+ default/other default/db 80"],
    },
    Recipe {
        what: "nothing from other namespaces",
        policies: &["metadata: {name: deny-others, namespace: default}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"],
        connections: &["+ default/other default/front 80", "- backend/api default/front 80", "- 203.0.113.5 default/front 80"],
    },
    Recipe {
        what: "all namespaces, but not the outside",
        policies: &["metadata: {name: all-namespaces, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {}}]}]}"],
        connections: &["+ backend/api default/front 80", "+ default/other default/front 80", "- 203.0.113.5 default/front 80"],
    },
    Recipe {
        what: "some pods of another namespace",
        policies: &["metadata: {name: monitoring, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {namespace: frontend}}
      podSelector: {matchLabels: {type: monitoring}}"],
        connections: &["+ frontend/web default/front 80", "- backend/api default/front 80", "- default/db default/front 80"],
    },
    Recipe {
        what: "the outside, and everybody",
        policies: &["metadata: {name: web-allow-external, namespace: default}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: []}]}"],
        connections: &["+ 203.0.113.5 default/front 80", "+ backend/api default/front 80"],
    },
    Recipe {
        what: "a number is the pod's port, not that of a Service",
        policies: &["metadata: {name: api-allow-5000, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {role: db}}}], ports: [{port: 5000}]}]"],
        connections: &["+ default/db default/front 5000", "- default/db default/front 8001"],
    },
    Recipe {
        what: "no egress but names",
        policies: &["metadata: {name: dns-only, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Egress]
  egress: [{ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]"],
        connections: &[
            "+ default/db kube-system/dns 53/udp",
            "+ default/db kube-system/dns 53",
            "+ default/db 203.0.113.5 53",
            "- default/db kube-system/dns 80",
            "- default/db 203.0.113.5 443",
        ],
    },
    Recipe {
        what: "no egress out of the cluster",
        policies: &["metadata: {name: no-external-egress, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    to: [{namespaceSelector: {}}]
  - to: [{namespaceSelector: {}}]"],
        connections: &["+ default/db backend/api 80", "- default/db 203.0.113.5 443", "- default/db 203.0.113.5 53"],
    },
];

fn set(recipe: &Recipe) -> ObjectSet {
    let mut text = String::new();
    for (name, label) in SPACES {
        let _ = writeln!(
            text,
            "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{label}}}}}}}"
        );
    }
    for (namespace, name, labels, address) in PODS {
        let _ = writeln!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}, spec: \
             {{containers: [{{name: c, image: i}}]}}, status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}}}"
        );
    }
    for policy in recipe.policies {
        let _ = writeln!(text, "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{policy}");
    }
    let mut reader = Reader::new(Timestamp(1));
    reader.add("recipe.yaml", Timestamp(1), &text);
    let read = reader.finish().unwrap_or_else(|refusals| panic!("{}: {refusals:#?}", recipe.what));
    assert!(read.warnings.is_empty(), "{}: {:?}", recipe.what, read.warnings);
    read.set
}

fn end(text: &str) -> End {
    match text.split_once('/') {
        Some((namespace, name)) => End::Pod(Key::new(namespace, name)),
        None => End::Address(text.parse().expect("an address")),
    }
}

#[test]
fn recipes_do_what_they_are_for() {
    let mut wrong = String::new();
    let mut connections = 0;
    for recipe in RECIPES {
        let set = set(recipe);
        let index = PolicyIndex::new(&set);
        for line in recipe.connections {
            connections += 1;
            let words: Vec<&str> = line.split(' ').collect();
            let [expected, src, dst, port] = words[..] else { panic!("{line}") };
            let (port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let protocol: Protocol = protocol.parse().expect("a protocol");
            let connection = Connection::direct(end(src), end(dst), port.parse().expect("a port"), protocol);
            let found = match verdict(&index, &connection) {
                PolicyVerdict::Allow => "+",
                PolicyVerdict::Deny => "-",
                PolicyVerdict::Unknown => "?",
            };
            if found != expected {
                let _ = writeln!(wrong, "{}: {line}, but {found}", recipe.what);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{} recipes, {connections} connections", RECIPES.len());
}
