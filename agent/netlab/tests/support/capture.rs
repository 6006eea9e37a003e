//! Objects and rules of a captured cluster. Reads only what the captures hold; a general reader is `objects`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::objects::{
    Endpoint, EndpointSlice, Meta, Node, Service, ServicePort, ServiceType, SlicePort, TargetPort,
    TrafficPolicy,
};
use model::{Family, Key, ObjectSet, Protocol};
use netlab::kube_proxy::Extra;
use serde_json::Value;

/// A file of the capture.
pub fn file(name: &str) -> String {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/kube-proxy-1.36.3").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The captured objects, and what of the Services the model leaves out.
pub fn objects() -> (ObjectSet, BTreeMap<Key, Extra>) {
    let list: Value = serde_json::from_str(&file("objects.json")).expect("JSON");
    let mut set = ObjectSet::default();
    let mut extras = BTreeMap::new();
    for item in array(&list["items"]) {
        let key = Key::new(text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"]));
        let meta = Meta { key: key.clone(), ..Meta::default() };
        match text(&item["kind"]).as_str() {
            "Node" => {
                set.nodes.insert(key.name.clone(), node(item, meta));
            }
            "Service" => {
                extras.insert(key.clone(), extra(&item["spec"]));
                set.services.insert(key, service(item, meta));
            }
            "EndpointSlice" => {
                set.slices.insert(key, slice(item, meta));
            }
            other => panic!("kind {other}"),
        }
    }
    set.coverage.slices = true;
    (set, extras)
}

fn node(item: &Value, meta: Meta) -> Node {
    let addresses = array(&item["status"]["addresses"])
        .filter(|address| address["type"] == "InternalIP")
        .map(|address| parsed(&address["address"]))
        .collect();
    let pod_cidrs = array(&item["spec"]["podCIDRs"]).map(parsed).collect();
    Node { meta, addresses, pod_cidrs, conditions: Vec::new() }
}

fn service(item: &Value, meta: Meta) -> Service {
    let spec = &item["spec"];
    let headless = spec["clusterIP"] == "None";
    let policy = |value: &Value| if value == "Local" { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    Service {
        meta,
        kind: match text(&spec["type"]).as_str() {
            "NodePort" => ServiceType::NodePort,
            "LoadBalancer" => ServiceType::LoadBalancer,
            _ => ServiceType::ClusterIp,
        },
        cluster_ips: if headless { Vec::new() } else { array(&spec["clusterIPs"]).map(parsed).collect() },
        headless,
        ports: array(&spec["ports"])
            .map(|port| ServicePort {
                name: text(&port["name"]),
                port: number(&port["port"]),
                protocol: protocol(&port["protocol"]),
                target: TargetPort::Number(number(&port["targetPort"])),
                node_port: port["nodePort"].as_u64().map(|_| number(&port["nodePort"])),
            })
            .collect(),
        external_ips: array(&spec["externalIPs"]).map(parsed).collect(),
        load_balancer_ips: array(&item["status"]["loadBalancer"]["ingress"])
            .map(|ingress| parsed(&ingress["ip"]))
            .collect(),
        internal_policy: policy(&spec["internalTrafficPolicy"]),
        external_policy: policy(&spec["externalTrafficPolicy"]),
        ..Service::default()
    }
}

fn extra(spec: &Value) -> Extra {
    Extra {
        source_ranges: array(&spec["loadBalancerSourceRanges"]).map(parsed).collect(),
        health_check_node_port: spec["healthCheckNodePort"]
            .as_u64()
            .map(|_| number(&spec["healthCheckNodePort"])),
        session_affinity: spec["sessionAffinity"] == "ClientIP",
    }
}

fn slice(item: &Value, meta: Meta) -> EndpointSlice {
    let service = text(&item["metadata"]["labels"]["kubernetes.io/service-name"]);
    EndpointSlice {
        meta,
        service: Some(service),
        family: (item["addressType"] == "IPv4").then_some(Family::Ipv4),
        endpoints: array(&item["endpoints"])
            .map(|endpoint| {
                let condition = |name: &str, absent| endpoint["conditions"][name].as_bool().unwrap_or(absent);
                Endpoint {
                    addresses: array(&endpoint["addresses"]).map(parsed).collect(),
                    ready: condition("ready", true),
                    serving: condition("serving", true),
                    terminating: condition("terminating", false),
                    pod: None,
                    node: endpoint["nodeName"].as_str().map(str::to_owned),
                    hinted: false,
                }
            })
            .collect(),
        ports: array(&item["ports"])
            .map(|port| SlicePort {
                name: text(&port["name"]),
                port: Some(number(&port["port"])),
                protocol: protocol(&port["protocol"]),
            })
            .collect(),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u16 {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).expect("a port number")
}

fn protocol(value: &Value) -> Protocol {
    text(value).parse().expect("a protocol")
}

fn parsed<T: std::str::FromStr>(value: &Value) -> T {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("cannot parse {value}"))
}
