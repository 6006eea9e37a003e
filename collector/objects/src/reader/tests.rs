//! Files and server objects, read and refused.

use model::objects::{
    ClusterPolicyKind, ContainerState, Operator, Peer, PolicyPortSpec, Power, TargetPort, Tier,
};
use model::{Family, PortRange, Protocol};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const AT: Timestamp = Timestamp(1_000);

fn read(text: &str) -> Result<ReadObjects, Vec<Refusal>> {
    let mut reader = Reader::new(AT);
    reader.add("objects.yaml", Timestamp(7), text);
    reader.finish()
}

fn good(text: &str) -> ObjectSet {
    match read(text) {
        Ok(objects) => {
            assert_eq!(objects.warnings, [], "no warnings expected");
            objects.set
        }
        Err(refusals) => panic!("{}", lines(&refusals).join("\n")),
    }
}

fn lines(refusals: &[Refusal]) -> Vec<String> {
    refusals.iter().map(ToString::to_string).collect()
}

fn refused(text: &str) -> Vec<String> {
    lines(&read(text).expect_err("should be refused"))
}

const MISMATCH: &str = "
apiVersion: v1
kind: Service
metadata: {name: my-service, namespace: shop}
spec:
  selector: {app: my-app}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: my-application, namespace: shop, labels: {app: my-application}}
spec:
  nodeName: node-2
  containers:
  - {name: app, image: app, ports: [{containerPort: 80, name: http}], readinessProbe: {tcpSocket: {port: 80}}}
status:
  phase: Running
  podIP: 10.244.2.14
  podIPs: [{ip: 10.244.2.14}, {ip: fd00::14}]
  conditions: [{type: Ready, status: \"True\"}]
  containerStatuses: [{name: app, ready: true, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: my-service-1, namespace: shop, labels: {kubernetes.io/service-name: my-service}}
addressType: IPv4
endpoints:
- addresses: [10.244.2.14]
  conditions: {ready: false}
  targetRef: {kind: Pod, name: my-application}
  nodeName: node-2
ports: [{port: 8080, protocol: TCP, name: \"\"}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-2}
spec: {podCIDRs: [10.244.2.0/24]}
status:
  addresses: [{type: Hostname, address: node-2}, {type: ExternalIP, address: 203.0.113.2}, {type: InternalIP, address: 192.0.2.2}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
anything: goes
";

#[test]
fn every_kind_is_read() {
    let set = good(MISMATCH);
    let service = &set.services[&Key::new("shop", "my-service")];
    assert_eq!(service.ports[0].target, TargetPort::Number(8080));
    assert_eq!(service.selector["app"], "my-app");
    assert_eq!((service.meta.changed_at, service.meta.source.as_str()), (Timestamp(7), "objects.yaml"));
    let pod = &set.pods[&Key::new("shop", "my-application")];
    assert_eq!(pod.addresses.len(), 2);
    assert_eq!(pod.named_port("http", Protocol::Tcp), Some(80));
    assert_eq!(pod.ready(), Some(true));
    assert_eq!(pod.containers[0].state, ContainerState::Waiting("CrashLoopBackOff".to_owned()));
    assert_eq!((pod.containers[0].restarts, pod.containers[0].readiness_probe), (3, true));
    let slice = &set.slices[&Key::new("shop", "my-service-1")];
    assert_eq!((slice.family, slice.service.as_deref()), (Some(Family::Ipv4), Some("my-service")));
    let endpoint = &slice.endpoints[0];
    assert_eq!(endpoint.pod, Some(Key::new("shop", "my-application")));
    assert_eq!((endpoint.ready, endpoint.serving, endpoint.terminating), (false, false, false));
    assert_eq!(set.namespaces["shop"].meta.labels["kubernetes.io/metadata.name"], "shop");
    assert_eq!(set.nodes["node-2"].addresses[0].to_string(), "192.0.2.2");
    assert_eq!(set.other_kinds["Deployment"], 1);
    assert!(set.coverage.slices && set.coverage.policies);
    assert_eq!(set.current_at, AT);
}

#[test]
fn lists_single_objects_and_json_are_the_same() {
    let item = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
                      "spec": {"ports": [{"port": 80}]}});
    let typed = json!({"apiVersion": "v1", "kind": "ServiceList", "metadata": {"resourceVersion": "1"},
                       "items": [{"metadata": {"name": "api"}, "spec": {"ports": [{"port": 80}]}}]});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item]});
    let yaml = "kind: Service\napiVersion: v1\nmetadata:\n  name: api\nspec:\n  ports:\n  - port: 80\n";
    let expected = good(yaml);
    assert_eq!(expected.services.keys().next(), Some(&Key::new("default", "api")), "namespace defaults");
    for text in [item.to_string(), list.to_string(), typed.to_string(), format!("---\n{yaml}---\n")] {
        assert_eq!(good(&text), expected, "{text}");
    }
    assert!(!expected.coverage.slices, "no slice was given");
    assert!(good("{apiVersion: discovery.k8s.io/v1, kind: EndpointSliceList, items: []}").coverage.slices);
}

#[test]
fn a_misspelt_required_key_is_refused_with_what_was_meant() {
    let refusals = read(&format!(
        "{}---\n{}---\n{}",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n",
        "aapiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: [{port: 99999}]}\n"
    ))
    .unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "objects.yaml, document 3: unknown key `aapiVersion`; `apiVersion` is missing"
    );
    assert_eq!(refusals[0].hint.as_deref(), Some("did you mean `apiVersion`?"));
    assert_eq!(
        refusals[1].to_string(),
        "objects.yaml, document 3: spec.ports[0].port: 99999 is not a port (1 to 65535)",
        "the rest of the document is still checked"
    );
    assert_eq!(refusals.len(), 2);
}

#[test]
fn unknown_keys_elsewhere_are_warnings() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: api, lables: {a: b}}\n\
                spec: {selectr: {a: b}, ports: [{port: 80, colour: red}]}\n";
    let warnings = read(text).unwrap().warnings;
    let told: Vec<(String, Option<&str>)> =
        warnings.iter().map(|warning| (warning.to_string(), warning.hint.as_deref())).collect();
    let line = |rest: &str| format!("objects.yaml, document 1: {rest}");
    assert_eq!(
        told,
        [
            (line("metadata: unknown key `lables`"), Some("did you mean `labels`?")),
            (line("spec: unknown key `selectr`"), Some("did you mean `selector`?")),
            (line("spec.ports[0]: unknown key `colour`"), None),
        ]
    );
    let kind = read("apiVersion: v1\nkind: Srevice\nmetadata: {name: a}\n").unwrap();
    assert_eq!(kind.warnings[0].hint.as_deref(), Some("did you mean `Service`?"));
    assert_eq!(kind.set.other_kinds["Srevice"], 1);
}

#[test]
fn what_the_api_server_refuses_is_refused() {
    let service =
        |spec: &str| format!("{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{{spec}}}}}");
    let policy = |spec: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: a}}, spec: {{{spec}}}}}"
        )
    };
    let cases = [
        (service("ports: []"), "spec.ports: at least one port is needed"),
        (service("ports: [{port: 0}]"), "spec.ports[0].port: 0 is not a port"),
        (service("ports: [{targetPort: 80}]"), "spec.ports[0].port: is missing"),
        (service("ports: [{port: \"80\"}]"), "spec.ports[0].port: must be an integer, not a text"),
        (service("ports: [{port: 80, targetPort: \"80\"}]"), "spec.ports[0].targetPort: `80` is not a valid port name"),
        (service("ports: [{port: 80, protocol: tcp}]"), "spec.ports[0].protocol: `tcp` is not one of"),
        (service("ports: [{port: 80}, {port: 81}]"), "spec.ports[0].name: is missing"),
        (service("ports: [{name: a, port: 80}, {name: b, port: 80}]"), "80/tcp is given twice"),
        (service("ports: [{name: a, port: 80}, {name: a, port: 81}]"), "`a` is given to two ports"),
        (service("ports: [{port: 80}], clusterIP: ten"), "spec.clusterIP: `ten` is not an IP address, nor `None`"),
        (service("ports: [{port: 80}], clusterIPs: [10.0.0.1, 10.0.0.2]"), "at most one address of each family"),
        (service("ports: [{port: 80}], selector: {flag: yes}"), "spec.selector.flag: must be a text, not true or false"),
        (service("ports: [{port: 80}], selector: {a: \"b c\"}"), "`b c` is not a valid label value"),
        (service("type: ExternalName"), "spec.externalName: is missing"),
        (service("type: NodePorts, ports: [{port: 80}]"), "spec.type: `NodePorts` is not one of"),
        (policy("podSelectr: {}"), "spec.podSelector: is missing; there is an unknown key `podSelectr`"),
        (policy("podSelector: {}, ingress: [{from: [{}]}]"), "spec.ingress[0].from[0]: an entry needs"),
        (
            policy("podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]"),
            "spec.ingress[0].from[0]: an ipBlock cannot stand beside a selector",
        ),
        (
            policy("podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]"),
            "spec.egress[0].to[0].ipBlock.cidr: `10.0.0.0/33` is not an address block",
        ),
        (
            policy("podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]"),
            "except[0]: 11.0.0.0/8 does not lie inside 10.0.0.0/8",
        ),
        (
            policy("podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]"),
            "except[0]: 10.0.0.0/8 does not lie inside 10.0.0.0/8",
        ),
        (policy("podSelector: {}, ingress: [{ports: [{port: 80, endPort: 79}]}]"), "endPort: 79 lies before `port` 80"),
        (policy("podSelector: {}, ingress: [{ports: [{endPort: 79}]}]"), "endPort: needs `port`"),
        (policy("podSelector: {}, ingress: [{ports: [{port: a, endPort: 79}]}]"), "endPort: cannot follow a port name"),
        (policy("podSelector: {}, ingress: [{ports: [{port: 0}]}]"), "ports[0].port: 0 is not a port"),
        (policy("podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]"), "protocol: `ICMP` is not one of"),
        (policy("podSelector: {}, policyTypes: [ingress]"), "spec.policyTypes[0]: `ingress` is not one of"),
        (
            policy("podSelector: {matchExpressions: [{key: a, operator: In}]}"),
            "matchExpressions[0].values: must not be empty",
        ),
        (
            policy("podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
            "matchExpressions[0].values: must be left out",
        ),
        (
            policy("podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}"),
            "matchExpressions[0].operator: `Equals` is not one of In, NotIn, Exists, DoesNotExist",
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: []}}".to_owned(), "at least one container"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: A_B}, spec: {containers: [{name: a}]}}".to_owned(), "`A_B` is not a valid name"),
        ("{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: [{name: a}]}}".to_owned(), "metadata.name: is missing"),
        ("{apiVersion: v1, kind: EndpointSlice}".to_owned(), "apiVersion: `v1` has no kind EndpointSlice"),
        (
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4, endpoints: [{addresses: ['fd00::1']}]}"
                .to_owned(),
            "endpoints[0].addresses: fd00::1 is not an IPv4 address",
        ),
        ("just a text".to_owned(), "must be a mapping, not a text"),
        (
            "{apiVersion: v1, kind: Node, metdata: {name: node-1}}".to_owned(),
            "metadata: is missing; there is an unknown key `metdata`",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n".to_owned(),
            "document 2: metadata.name: Namespace a is given twice; first in objects.yaml, document 1",
        ),
        ("a: 1\na: 2\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n".to_owned(), "key `a` is given twice"),
    ];
    for (text, expected) in cases {
        let told = refused(&text);
        assert!(
            told.iter().any(|line| line.contains(expected)),
            "{text}\nwanted: {expected}\ngot: {told:#?}"
        );
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let told = refused(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 0}, {port: 70000}]}\n---\n\
         b: [\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n",
    );
    for document in 1..=3 {
        assert!(told.iter().any(|line| line.contains(&format!("document {document}:"))), "{told:#?}");
    }
    assert!(told.len() >= 5, "{told:#?}");
    assert!(told.iter().any(|line| line.contains("not valid YAML at line 7")), "{told:#?}");
}

#[test]
fn a_node_port_out_of_range_and_a_headless_service_are_fine() {
    let set = good(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {clusterIP: None, selector: {a: b}}\n\
         ---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: c}\nspec: {template: {}}\n",
    );
    assert_eq!(set.services[&Key::new("default", "a")].ports[0].node_port, Some(80));
    assert!(set.services[&Key::new("default", "b")].headless);
    assert_eq!(set.other_kinds["Service"], 1, "another group's Service is another kind");
}

#[test]
fn policies_are_read_with_their_defaults() {
    let set = good(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: shop}\nspec:\n  podSelector: {matchLabels: {app: api}, matchExpressions: [{key: tier, operator: NotIn, values: [x, z]}]}\n  ingress:\n  - from:\n    - namespaceSelector: {}\n      podSelector: {matchLabels: {role: web}}\n    - ipBlock: {cidr: 10.1.2.3/8, except: [10.1.0.0/16]}\n    ports: [{port: 80, endPort: 90}, {port: http, protocol: UDP}, {protocol: SCTP}]\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: b, namespace: shop}\nspec: {podSelector: {}, egress: [{}]}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: c, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress]}\n",
    );
    let policy = |name| &set.policies[&Key::new("shop", name)];
    let isolates = |name| (policy(name).isolates_ingress, policy(name).isolates_egress);
    assert_eq!((isolates("a"), isolates("b"), isolates("c")), ((true, false), (true, true), (false, true)));
    let a = policy("a");
    assert_eq!(a.pod_selector.requirements[1].operator, Operator::NotIn);
    let Peer::Block(block) = &a.ingress[0].peers[1] else { panic!("{:?}", a.ingress) };
    assert_eq!(block.cidr.to_string(), "10.0.0.0/8");
    let ports: Vec<_> = a.ingress[0].ports.iter().map(|port| (port.protocol, port.ports.clone())).collect();
    assert_eq!(
        ports,
        [
            (Protocol::Tcp, PolicyPortSpec::Range(PortRange { first: 80, last: 90 })),
            (Protocol::Udp, PolicyPortSpec::Name("http".to_owned())),
            (Protocol::Sctp, PolicyPortSpec::All),
        ]
    );
    assert!(a.unread.is_empty());
}

#[test]
fn cluster_wide_policies_are_read_with_what_was_not_understood() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: policy.networking.k8s.io/v1beta1\n  kind: ClusterNetworkPolicy\n  metadata: {name: a}\n  spec:\n    tier: Baseline\n    priority: 7\n    subject: {pods: {podSelector: {matchLabels: {app: api}}}}\n    ingress:\n    - {action: Pass, from: [{namespaces: {}}]}\n    - {action: Deny, from: [{namespaces: {}}], protocol: TCP}\n";
    let read = read(text).expect("fine");
    assert_eq!(read.warnings.len(), 1);
    let set = read.set;
    let policy = &set.cluster_policies[&(ClusterPolicyKind::ClusterNetworkPolicy, "a".to_owned())];
    assert_eq!((policy.tier, policy.priority, policy.name()), (Tier::Baseline, 7, "a"));
    assert_eq!(policy.unread, ["spec.ingress[1]"], "as seen from the object, not from the list");
    assert_eq!(policy.ingress.iter().map(|rule| rule.unread).collect::<Vec<_>>(), [false, true]);
    assert!(set.other_policies.is_empty() && set.other_kinds.is_empty());
}

#[test]
fn policies_of_other_kinds_are_kept_by_name() {
    let set = good(
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: a, namespace: shop}, spec: {endpointSelector: {matchLabels: {app: api}}}}\n\
         ---\n{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {name: b}, spec: {selector: all()}}\n\
         ---\n{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: c}, spec: {selector: a || b}}\n\
         ---\n{apiVersion: crd.antrea.io/v1beta1, kind: ClusterNetworkPolicy, metadata: {name: d}, spec: {}}\n\
         ---\n{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: e, namespace: istio-system}, spec: {}}\n\
         ---\n{apiVersion: example.com/v1, kind: SuperNetworkPolicy, metadata: {name: f, namespace: shop}}\n\
         ---\n{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: g, namespace: shop}}\n\
         ---\n{apiVersion: apps/v1, kind: Deployment, metadata: {name: h}}\n",
    );
    let found: Vec<(String, bool, Option<String>, Power)> = set
        .other_policies
        .values()
        .map(|policy| {
            let pods = policy.pods.as_ref().map(ToString::to_string);
            (format!("{} {}", policy.kind, policy.meta.key), policy.everywhere, pods, policy.power)
        })
        .collect();
    let expected = [
        ("AuthorizationPolicy istio-system/e", true, None, Power::Restricts),
        ("CiliumNetworkPolicy shop/a", false, Some("app=api"), Power::Overrides),
        ("ClusterNetworkPolicy d", true, None, Power::Overrides),
        ("GlobalNetworkPolicy b", true, Some(""), Power::Overrides),
        ("NetworkPolicy default/c", false, None, Power::Overrides),
        ("StagedNetworkPolicy shop/g", false, None, Power::Elsewhere),
        ("SuperNetworkPolicy shop/f", false, None, Power::Overrides),
    ];
    assert_eq!(
        found,
        expected.map(|(name, everywhere, pods, power)| {
            (name.to_owned(), everywhere, pods.map(str::to_owned), power)
        })
    );
    assert_eq!(set.other_kinds.values().sum::<u32>(), 8, "they are counted as well");
    assert!(set.policies.is_empty() && set.cluster_policies.is_empty());
}

#[test]
fn workloads_are_seen_through_their_replica_sets() {
    let pod = |owner: &str, labels: &str| {
        let set = good(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: a, labels: {labels}, ownerReferences: [{owner}]}}, spec: {{containers: [{{name: a}}]}}}}"
        ));
        set.pods[&Key::new("default", "a")]
            .workload
            .as_ref()
            .map(|found| format!("{}/{}", found.kind, found.name))
    };
    let replica_set = "{kind: ReplicaSet, name: api-7c9, controller: true}";
    assert_eq!(pod(replica_set, "{pod-template-hash: 7c9}").as_deref(), Some("Deployment/api"));
    assert_eq!(pod(replica_set, "{}").as_deref(), Some("ReplicaSet/api-7c9"));
    assert_eq!(pod("{kind: Node, name: n1}", "{}"), None, "an owner that is no controller");
    assert_eq!(
        pod("{kind: StatefulSet, name: db, controller: true}", "{}").as_deref(),
        Some("StatefulSet/db")
    );
}

#[test]
fn server_objects_are_never_refused() {
    let (object, gaps) = from_api(
        "NetworkPolicy",
        &json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"podSelector": {}, "newField": 1,
                "ingress": [{"from": [{"serviceAccountSelector": {}}]}]}}),
        Timestamp(5),
    );
    let Some(Object::NetworkPolicy(policy)) = object else { panic!("{object:?}") };
    assert_eq!(policy.meta.source, "API");
    assert!(policy.unread.contains(&"spec.ingress[0].from[0]".to_owned()), "{:?}", policy.unread);
    assert!(gaps.iter().any(|gap| gap.what == "NetworkPolicy shop/a"), "{gaps:?}");
    let (object, gaps) = from_api(
        "Service",
        &json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 99999}, {"port": 80}], "brandNew": {}}}),
        Timestamp(5),
    );
    let Some(Object::Service(service)) = object else { panic!("{object:?}") };
    assert_eq!(service.ports.len(), 1, "what can be read is read");
    assert!(!gaps.is_empty() && !gaps.iter().any(|gap| gap.why.contains("brandNew")), "{gaps:?}");
    assert_eq!(from_api("Deployment", &json!({}), Timestamp(5)), (None, Vec::new()));
    assert_eq!(from_api("Pod", &json!([1]), Timestamp(5)).0, None);
}

#[test]
fn the_latest_write_is_when_a_server_object_changed() {
    let value = json!({"metadata": {"creationTimestamp": "2024-01-01T00:00:00Z",
        "managedFields": [{"time": "2024-01-01T00:00:05Z"}, {"time": "2024-01-01T00:00:02Z"}, {}]}});
    assert_eq!(api_changed_at(&value), Timestamp(1_704_067_205_000));
    assert_eq!(api_changed_at(&json!({})), Timestamp(0));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn yaml_like_text_never_panics(parts in prop::collection::vec(
        prop::sample::select(vec![
            "apiVersion: v1\n", "kind: Service\n", "kind: List\n", "kind: NetworkPolicy\n", "metadata:\n", "  name: a\n",
            "spec:\n", "  ports:\n", "  - port: 80\n", "  ", "- ", "items:\n", "---\n", "&a ", "*a", "{", "}", "[", "]",
            ": ", "? ", "| \n", "> \n", "<<: *a\n", "\t", "\"", "'", "!!str ", "!x ", "\n", "#", "%YAML 1.1\n", "...\n",
            "0x", "~", "\u{0}", "é", "podSelector: {}\n", "ingress: [{}]\n", "null", ",",
        ]), 0..40)) {
        let _ = read(&parts.concat());
    }
}
