//! Endpoints from slices and from pods.

use model::Timestamp;
use model::objects::Origin;

use super::*;
use crate::Reader;

fn set(text: &str) -> ObjectSet {
    let mut reader = Reader::new(Timestamp(9));
    reader.add("objects.yaml", Timestamp(1), text);
    match reader.finish() {
        Ok(objects) => objects.set,
        Err(refusals) => panic!("{refusals:#?}"),
    }
}

fn service(spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: api, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

fn pod(name: &str, spec: &str, status: &str) -> String {
    let deleting = if name.starts_with("gone") { "deletionTimestamp: 2024-01-01T00:00:00Z, " } else { "" };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, {deleting}labels: {{app: api}}}}\n\
         spec: {{containers: [{{name: app, {spec}}}]}}\nstatus: {{{status}}}\n"
    )
}

fn running(address: &str, ready: &str) -> String {
    format!("phase: Running, podIP: {address}, conditions: [{{type: Ready, status: '{ready}'}}]")
}

fn of(set: &ObjectSet) -> Backends {
    let key = Key::new("shop", "api");
    let port = set.services[&key].ports[0].clone();
    backends(set, &key, &port, Family::Ipv4)
}

fn words(backends: &Backends) -> Vec<String> {
    let word = |backend: &Backend| {
        let pod = backend.pod.as_ref().map_or("-", |pod| pod.name.as_str()).to_owned();
        let state = match (backend.ready, backend.serving, backend.terminating) {
            (true, ..) => "ready",
            (false, true, true) => "terminating",
            _ => "not ready",
        };
        format!("{} {pod} {state}", backend.address)
    };
    backends.endpoints.iter().map(word).collect()
}

#[test]
fn without_slices_endpoints_come_from_the_pods() {
    let text = service("selector: {app: api}, ports: [{port: 80, targetPort: http}]")
        + &pod("a", "ports: [{name: http, containerPort: 8080}]", &running("10.0.0.1", "True"))
        + &pod("b", "ports: [{name: http, containerPort: 9090}]", &running("10.0.0.2", "False"))
        + &pod("c", "ports: [{name: http, containerPort: 53, protocol: UDP}]", &running("10.0.0.3", "True"))
        + &pod("gone", "ports: [{name: http, containerPort: 8080}]", &running("10.0.0.4", "True"))
        + &pod("done", "ports: [{name: http, containerPort: 8080}]", "phase: Succeeded, podIP: 10.0.0.5")
        + &pod("early", "ports: [{name: http, containerPort: 8080}]", "phase: Pending")
        + &pod("paper", "ports: [{name: http, containerPort: 8080}]", "")
        + &pod("six", "ports: [{name: http, containerPort: 8080}]", &running("'fd00::6'", "True"));
    let found = of(&set(&text));
    assert_eq!(found.from, BackendSource::DerivedFromPods);
    assert_eq!(
        words(&found),
        ["10.0.0.1:8080 a ready", "10.0.0.2:9090 b not ready", "10.0.0.4:8080 gone terminating"]
    );
    assert_eq!(found.selected.len(), 8);
    let left_out: Vec<(&str, LeftOut)> =
        found.left_out.iter().map(|(key, why)| (key.name.as_str(), *why)).collect();
    assert_eq!(
        left_out,
        [
            ("c", LeftOut::NoSuchPort),
            ("done", LeftOut::Finished),
            ("early", LeftOut::NoAddress),
            ("paper", LeftOut::NoStatus { port: 8080 }),
            ("six", LeftOut::NoAddressOfFamily),
        ]
    );
    assert_eq!(found.eligible().len(), 1);
}

#[test]
fn unready_pods_are_published_where_asked() {
    let text = service("selector: {app: api}, publishNotReadyAddresses: true, ports: [{port: 80}]")
        + &pod("a", "image: a", &running("10.0.0.1", "False"));
    assert_eq!(words(&of(&set(&text))), ["10.0.0.1:80 a ready"]);
}

#[test]
fn terminating_endpoints_serve_only_when_none_is_ready() {
    let text = service("selector: {app: api}, ports: [{port: 80}]")
        + &pod("gone", "image: a", &running("10.0.0.1", "True"));
    let found = of(&set(&text));
    assert_eq!(found.eligible().len(), 1);
    assert!(!found.endpoints[0].ready);
}

#[test]
fn slices_are_believed_where_they_are_given() {
    let slice = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: shop, \
             labels: {{kubernetes.io/service-name: api}}}}\n{rest}"
        )
    };
    let base =
        service("selector: {app: api}, ports: [{name: web, port: 80}, {name: udp, port: 80, protocol: UDP}]")
            + &pod("a", "image: a", &running("10.0.0.1", "True"))
            + &pod("b", "image: a", &running("10.0.0.2", "True"));
    let text = base.clone()
        + &slice(
            "one",
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1, 10.0.0.9], conditions: {ready: false}}, {addresses: [10.0.0.7]}]\n\
             ports: [{name: web, port: 8080}, {name: udp, port: 53, protocol: UDP}]\n",
        )
        + &slice("any", "addressType: IPv4\nendpoints: [{addresses: [10.0.0.8]}]\nports: [{name: web}]\n")
        + &slice(
            "two",
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: [{name: web, port: 8080}]\n",
        )
        + &slice(
            "six",
            "addressType: IPv6\nendpoints: [{addresses: ['fd00::1']}]\nports: [{name: web, port: 8080}]\n",
        );
    let found = of(&set(&text));
    assert_eq!(found.from, BackendSource::Slices);
    assert_eq!(words(&found), ["10.0.0.1:8080 a ready", "10.0.0.7:8080 - ready"], "listed twice, ready wins");
    assert_eq!(found.left_out, [(Key::new("shop", "b"), LeftOut::NotInSlices)]);

    let empty = of(&set(&(base + &slice("one", "addressType: IPv4\nendpoints: []\n"))));
    assert_eq!((empty.from, empty.endpoints.len()), (BackendSource::Slices, 0));
}

#[test]
fn a_server_without_slices_has_none() {
    let text = service("selector: {app: api}, ports: [{port: 80}]")
        + &pod("a", "image: a", &running("10.0.0.1", "True"));
    let mut set = set(&text);
    set.origin = Origin::ApiServer;
    set.coverage.slices = true;
    assert_eq!((of(&set).from, of(&set).endpoints.len()), (BackendSource::Slices, 0));
    set.coverage.slices = false;
    assert_eq!((of(&set).from, of(&set).endpoints.len()), (BackendSource::DerivedFromPods, 1));
}

#[test]
fn derived_slices_group_pods_by_their_ports() {
    let text = service("selector: {app: api}, clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: http}]")
        + &pod("a", "ports: [{name: http, containerPort: 8080}]", &running("10.0.0.1", "True"))
        + &pod("b", "ports: [{name: http, containerPort: 9090}]", &running("10.0.0.2", "True"))
        + &pod("c", "ports: [{name: http, containerPort: 8080}]", &running("10.0.0.3", "True"));
    let slices = derive_slices(&set(&text));
    let shape: Vec<(Option<u16>, usize)> =
        slices.iter().map(|slice| (slice.ports[0].port, slice.endpoints.len())).collect();
    assert_eq!(shape, [(Some(8080), 2), (Some(9090), 1)]);
    assert!(slices.iter().all(|slice| slice.service.as_deref() == Some("api")));
    let none = set(&service("selector: {app: other}, ports: [{port: 80}]"));
    assert_eq!(derive_slices(&none).len(), 1, "one empty slice is left behind");
    assert_eq!(derive_slices(&set(&service("ports: [{port: 80}]"))), [], "endpoints are made by hand");
}

/// The two manifests most people come with: a selector that names another label, and a port nobody listens on.
#[test]
fn the_usual_two_faults_can_be_seen() {
    let both = "
{apiVersion: v1, kind: Service, metadata: {name: my-service, namespace: shop}, spec: {selector: {app: my-app}, ports: [{port: 80, targetPort: 8080}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: my-service-x, namespace: shop, labels: {kubernetes.io/service-name: my-service}}, addressType: IPv4, endpoints: null, ports: null}
---
{apiVersion: v1, kind: Pod, metadata: {name: my-application, namespace: shop, labels: {app: my-application}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}, status: {phase: Running, podIP: 10.244.2.14, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: shop}, spec: {selector: {app: other}, ports: [{port: 80, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: other, namespace: shop, labels: {app: other}}, spec: {containers: [{name: app, ports: [{containerPort: 80}]}]}, status: {phase: Running, podIP: 10.244.2.15, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: other-x, namespace: shop, labels: {kubernetes.io/service-name: other}}, addressType: IPv4, endpoints: [{addresses: [10.244.2.15], conditions: {ready: true}, targetRef: {kind: Pod, name: other, namespace: shop}}], ports: [{name: '', port: 8080, protocol: TCP}]}
";
    let set = set(both);
    let of = |name: &str| {
        let key = Key::new("shop", name);
        backends(&set, &key, &set.services[&key].ports[0], Family::Ipv4)
    };
    let selector = of("my-service");
    assert_eq!((selector.from, selector.endpoints.len()), (BackendSource::Slices, 0));
    assert_eq!(selector.selected, []);
    let port = of("other");
    assert_eq!(words(&port), ["10.244.2.15:8080 other ready"]);
    assert_eq!(set.pods[&port.selected[0]].declared_ports().next().map(|port| port.port), Some(80));
}
