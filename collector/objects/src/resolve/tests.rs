//! Questions as typed, and what becomes of them.

use model::objects::Key;
use model::question::{PortAsk, Source};
use model::{ObjectSet, Protocol};
use proptest::prelude::*;

use super::*;
use crate::Reader;

const OBJECTS: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: web}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, spec: {clusterIP: 10.96.12.7, selector: {app: api}, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {clusterIP: 10.96.12.8, ports: [{name: http, port: 8080}, {name: admin, port: 9090}, {name: dns, port: 53, protocol: UDP}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: local, namespace: web}, spec: {clusterIP: 10.96.12.9, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: twin, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: twin, namespace: shop}, spec: {containers: [{name: a}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: web}, spec: {nodeName: node-1, containers: [{name: a}]}, status: {phase: Running, podIP: 10.244.1.9}}
---
{apiVersion: v1, kind: Pod, metadata: {name: visitor, namespace: web}, spec: {hostNetwork: true, containers: [{name: a}]}, status: {phase: Running, podIP: 192.0.2.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: shop, labels: {app: db}, ownerReferences: [{kind: StatefulSet, name: db, controller: true}]}, spec: {containers: [{name: a, ports: [{name: pg, containerPort: 5432}]}]}, status: {phase: Running, podIP: 10.244.2.20}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-7c9-a, namespace: shop, labels: {app: api, pod-template-hash: 7c9}, ownerReferences: [{kind: ReplicaSet, name: api-7c9, controller: true}]}, spec: {containers: [{name: a}]}, status: {phase: Running, podIP: 10.244.2.14}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-7c9-b, namespace: shop, labels: {app: api, pod-template-hash: 7c9}, ownerReferences: [{kind: ReplicaSet, name: api-7c9, controller: true}]}, spec: {containers: [{name: a}]}, status: {phase: Running, podIP: 10.244.2.15, conditions: [{type: Ready, status: 'True'}]}}
";

fn objects() -> ObjectSet {
    let mut reader = Reader::new(Timestamp(100_000));
    reader.add("objects.yaml", Timestamp(1), OBJECTS);
    match reader.finish() {
        Ok(objects) => objects.set,
        Err(refusals) => panic!("{refusals:#?}"),
    }
}

fn ask(source: &str, destination: &str) -> Result<Question, ResolveError> {
    let ask = Ask {
        source: source.to_owned(),
        destination: destination.to_owned(),
        now: Timestamp(100_000),
        default_window: 60_000,
        ..Ask::default()
    };
    question(&objects(), &ask)
}

fn good(source: &str, destination: &str) -> Question {
    ask(source, destination).unwrap_or_else(|error| panic!("{source} {destination}: {error}"))
}

fn service(namespace: &str, name: &str) -> Destination {
    Destination::Service(Key::new(namespace, name))
}

fn pod(namespace: &str, name: &str) -> Destination {
    Destination::Pod(Key::new(namespace, name))
}

#[test]
fn destinations_of_every_form() {
    let cases = [
        ("shop/api:80", service("shop", "api")),
        ("shop/api", service("shop", "api")),
        ("shop/svc/api:http", service("shop", "api")),
        ("api.shop:80", service("shop", "api")),
        ("api.shop.svc:80", service("shop", "api")),
        ("api.shop.svc.cluster.local:80", service("shop", "api")),
        ("api.shop.svc.cluster.local.:80", service("shop", "api")),
        ("local:80", service("web", "local")),
        ("10.96.12.7:80", service("shop", "api")),
        ("10.244.2.14:8080", pod("shop", "api-7c9-a")),
        ("shop/pod/twin:80", pod("shop", "twin")),
        ("shop/twin:80", service("shop", "twin")),
        ("shop/client:80", Destination::NoService(Key::new("shop", "client"))),
        ("web/client:80", pod("web", "client")),
        ("shop/deploy/api:8080", pod("shop", "api-7c9-b")),
        ("db-0.db.shop:5432", pod("shop", "db-0")),
        ("db-0.db.shop.svc.cluster.local:5432", pod("shop", "db-0")),
        ("10-244-2-14.shop.pod.cluster.local:80", pod("shop", "api-7c9-a")),
        ("node/node-1:10250", Destination::Node("node-1".to_owned())),
        ("192.0.2.1:10250", Destination::Node("node-1".to_owned())),
        ("203.0.113.9:443/tcp", Destination::Address("203.0.113.9".parse().unwrap())),
        ("[2001:db8::1]:443", Destination::Address("2001:db8::1".parse().unwrap())),
        ("svc/nothing:80", Destination::NoService(Key::new("default", "nothing"))),
        ("api:80", Destination::NoName { name: "api".to_owned(), tried: vec![Key::new("web", "api")] }),
        (
            "api.shopp:80",
            Destination::NoName { name: "api.shopp".to_owned(), tried: vec![Key::new("shopp", "api")] },
        ),
        (
            "nothing.shop.svc.cluster.local.:80",
            Destination::NoName {
                name: "nothing.shop.svc.cluster.local.".to_owned(),
                tried: vec![Key::new("shop", "nothing")],
            },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(good("web/client", text).destination, expected, "{text}");
    }
}

#[test]
fn ports_are_numbers_names_or_the_only_one() {
    let port = |text| {
        let question = good("web/client", text);
        (question.port, question.protocol)
    };
    let tcp = |number| (PortAsk::Number(number), Protocol::Tcp);
    assert_eq!(port("shop/api"), tcp(80));
    assert_eq!(port("shop/api:http"), tcp(80));
    assert_eq!(port("shop/api:81"), tcp(81), "a port it does not have is kept");
    assert_eq!(port("shop/api:https"), (PortAsk::UnknownName("https".to_owned()), Protocol::Tcp));
    assert_eq!(port("shop/cart:53"), (PortAsk::Number(53), Protocol::Udp), "the only protocol it has");
    assert_eq!(port("shop/cart:53/TCP"), tcp(53), "unless another is asked for");
    assert_eq!(port("shop/cart:dns"), (PortAsk::Number(53), Protocol::Udp));
    assert_eq!(port("shop/cart:80/sctp"), (PortAsk::Number(80), Protocol::Sctp));
    assert_eq!(port("shop/pod/db-0:pg"), tcp(5432));
    let error = ask("web/client", "shop/cart").unwrap_err();
    assert_eq!(error.to_string(), "Service shop/cart needs a port");
    let hint = "write one of its ports after a colon: 8080 (http), 9090 (admin), 53/udp (dns)";
    assert_eq!(error.hint().as_deref(), Some(hint));
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn sources_of_every_form() {
    let pod = |namespace: &str, name: &str| Source::Pod(Key::new(namespace, name));
    let any = |namespace: &str| Source::Any { namespace: namespace.to_owned() };
    let external = |text: &str| Source::External { address: text.parse().unwrap(), via: None };
    let cases = [
        ("web/client", pod("web", "client")),
        ("web/pod/client", pod("web", "client")),
        ("shop/api", pod("shop", "api-7c9-b")),
        ("shop/deployment/api", pod("shop", "api-7c9-b")),
        ("shop/sts/db", pod("shop", "db-0")),
        ("10.244.1.9", pod("web", "client")),
        ("192.0.2.1", Source::Node("node-1".to_owned())),
        ("node/node-1", Source::Node("node-1".to_owned())),
        ("203.0.113.9", external("203.0.113.9")),
        ("2001:db8::1", external("2001:db8::1")),
        ("any", any("shop")),
    ];
    for (text, expected) in cases {
        assert_eq!(good(text, "shop/api:80").source, expected, "{text}");
    }
    let notes = good("shop/api", "shop/twin:80").notes;
    assert_eq!(
        notes,
        [
            "Deployment shop/api stands for shop/api-7c9-b, the first ready of its 2 pods",
            "both a Service and a pod are called shop/twin; the Service was taken",
        ]
    );
}

#[test]
fn the_namespace_option_serves_bare_names() {
    let mut typed =
        Ask { source: "client".to_owned(), destination: "svc/api:80".to_owned(), ..Ask::default() };
    assert!(question(&objects(), &typed).is_err(), "there is no pod default/client");
    typed.namespace = Some("web".to_owned());
    let found = question(&objects(), &typed).unwrap();
    assert_eq!(found.source, Source::Pod(Key::new("web", "client")));
    assert_eq!(found.destination, Destination::NoService(Key::new("web", "api")));
}

#[test]
fn a_pod_that_does_not_ask_the_cluster_finds_no_cluster_name() {
    let question = good("web/visitor", "api.shop:80");
    assert_eq!(question.destination, Destination::NoName { name: "api.shop".to_owned(), tried: Vec::new() });
    assert!(question.notes[0].contains("hostNetwork with dnsPolicy ClusterFirst"), "{:?}", question.notes);
}

#[test]
fn names_of_the_outside_world_are_not_judged() {
    let error = ask("web/client", "www.example.com:443").unwrap_err();
    assert!(error.to_string().contains("outside the cluster"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_source_that_does_not_exist_is_an_error_with_its_neighbours() {
    let cases = [
        (
            "web/clinet",
            "no pod or workload named `web/clinet` to start from",
            "did you mean `web/client`? Pods in web: client, visitor",
        ),
        (
            "wbe/client",
            "no pod or workload named `wbe/client` to start from",
            "did you mean `web/client`? There is no namespace wbe",
        ),
        (
            "client",
            "no pod or workload named `default/client` to start from",
            "did you mean `web/client`? There is no namespace default",
        ),
        ("node/node-2", "no node named `node-2` to start from", "did you mean `node-1`? Nodes: node-1"),
        (
            "shop/cart",
            "no pod or workload named `shop/cart` to start from",
            "shop/cart is a Service. Pods in shop: api-7c9-a, api-7c9-b, db-0, twin",
        ),
    ];
    for (text, message, hint) in cases {
        let error = ask(text, "shop/api:80").unwrap_err();
        assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn errors_point_at_the_wrong_part() {
    let cases = [
        ("web/client", "shop/api:http/udpp", "              ^^^^", "is not a protocol"),
        ("web/client", "shop/api:99999", "         ^^^^^", "is not a port (1 to 65535)"),
        ("web/client", "shop/api:", "         ^", "the port after the colon is missing"),
        ("web/client", "shop/deplyo/api:80", "     ^^^^^^", "is not a kind"),
        ("web/client", "Shop/api:80", "^^^^", "is not a valid namespace"),
        ("web/client", "[fd00::1:80", "^", "`[` is not closed"),
        ("web/client", "10.0.0:80", "^^^^^^", "is not an IP address"),
        ("web/client", "fd00:::80", "^^^^^^^^^", "has more than one colon"),
        ("web/client", "203.0.113.9:http", "            ^^^^", "only a Service or a pod has named ports"),
        ("web/client:80", "shop/api:80", "          ^^^", "a source has no port"),
        ("10.96.12.7", "shop/api:80", "^^^^^^^^^^", "a Service does not connect"),
        ("web/cli\u{e9}nt", "shop/api:80", "    ^^^^^^", "is not a valid name"),
    ];
    for (source, destination, carets, reason) in cases {
        let error = ask(source, destination).unwrap_err();
        let pointer = error.pointer().unwrap_or_else(|| panic!("{destination}: {error}"));
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(pointer.lines().nth(1), Some(carets), "{pointer}");
    }
    let error = ask("web/client", "shop/deplyo/api:80").unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `shop/deploy/api`?"));
    let error = ask("web/client", "pod/shop/api:80").unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("the namespace comes first: shop/pod/api"));
}

#[test]
fn via_is_for_external_clients_and_names_a_node() {
    let via = |source: &str, via: &str| {
        let ask = Ask {
            source: source.to_owned(),
            destination: "shop/api:80".to_owned(),
            via: Some(via.to_owned()),
            ..Ask::default()
        };
        question(&objects(), &ask)
    };
    let Source::External { via: Some(node), .. } = via("203.0.113.9", "node/node-1").unwrap().source else {
        panic!("an external client");
    };
    assert_eq!(node, "node-1");
    assert_eq!(via("203.0.113.9", "node-9").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(via("web/client", "node-1").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_window_is_counted_from_now() {
    assert_eq!(good("web/client", "shop/api:80").since, Timestamp(40_000));
}

#[test]
fn what_was_not_read_is_not_called_missing() {
    let mut set = objects();
    set.coverage.services = false;
    set.services.clear();
    let typed =
        Ask { source: "web/client".to_owned(), destination: "shop/api:80".to_owned(), ..Ask::default() };
    assert!(matches!(question(&set, &typed), Err(ResolveError::Unreadable { what: "Services", .. })));
}

proptest! {
    #[test]
    fn no_text_panics(source in "[a-z0-9:/.\\[\\]é ]{0,30}", destination in "\\PC{0,30}") {
        if let Err(error) = ask(&source, &destination) {
            let _ = (error.to_string(), error.hint(), error.pointer());
        }
    }
}
