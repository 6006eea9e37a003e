//! The lab carries real connections, and is gone afterwards. Needs root.

#[path = "support/root.rs"]
mod root;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::Key;
use netlab::{ConnectOutcome, Lab, LabSpec, Listen, Netns, NodeSpec, Pod, PodSpec};

const SECOND: Duration = Duration::from_secs(1);

fn two_nodes(name: &str) -> Lab {
    let node = |number: u8| {
        let pod_cidr = format!("10.244.{number}.0/24").parse().expect("cidr");
        NodeSpec::new(format!("node-{number}"), [10, 200, 0, 10 + number].into(), pod_cidr)
    };
    Lab::new(LabSpec { name: name.into(), nodes: vec![node(1), node(2)] }).expect("a lab")
}

fn pod(lab: &mut Lab, name: &str, node: u8, last: u8) -> Pod {
    let spec = PodSpec::new(Key::new("shop", name), format!("node-{node}"), [10, 244, node, last].into());
    lab.pod(spec).expect("a pod")
}

fn at(pod: &Pod, port: u16) -> SocketAddr {
    SocketAddr::new(pod.address(), port)
}

#[test]
fn pods_reach_each_other_on_one_node_and_across() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = two_nodes("reach");
    let client = pod(&mut lab, "client", 1, 5);
    let near = pod(&mut lab, "near", 1, 6);
    let far = pod(&mut lab, "far", 2, 5);
    let seen = far.listen(Listen::on(8080, "far")).expect("listen");
    near.listen(Listen::on(8080, "near")).expect("listen");
    for (target, name) in [(&near, "near"), (&far, "far")] {
        let result = lab.connect(&client.spec.key, at(target, 8080), SECOND).expect("attempt");
        assert_eq!(result.outcome, ConnectOutcome::Connected, "{name}");
        assert_eq!(result.answer, name.as_bytes());
    }
    let peers = seen.lock().expect("lock").accepted();
    assert_eq!(peers.iter().map(SocketAddr::ip).collect::<Vec<_>>(), [client.address()]);
    // A node reaches its pods, and another node's.
    for node in ["node-1", "node-2"] {
        let result = lab.node(node).expect("node").netns.connect(at(&far, 8080), SECOND).expect("attempt");
        assert_eq!(result.outcome, ConnectOutcome::Connected, "{node}");
    }
}

#[test]
fn nothing_listens_loopback_only_and_the_outside_fail_each_in_its_way() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = two_nodes("fail");
    let client = pod(&mut lab, "client", 1, 5);
    let server = pod(&mut lab, "server", 2, 5);
    server.listen(Listen::on_loopback(8080, "")).expect("listen");
    for port in [8080, 81] {
        let result = lab.connect(&client.spec.key, at(&server, port), SECOND).expect("attempt");
        assert_eq!(result.outcome, ConnectOutcome::Refused, "{port}");
        assert!(result.took < SECOND);
    }
    let inside = server.netns.connect("127.0.0.1:8080".parse().expect("address"), SECOND).expect("attempt");
    assert_eq!(inside.outcome, ConnectOutcome::Connected);
    let short = Duration::from_millis(300);
    let outside =
        lab.connect(&client.spec.key, "10.96.0.77:80".parse().expect("address"), short).expect("attempt");
    assert_eq!(
        outside.outcome,
        ConnectOutcome::TimedOut,
        "a cluster address nobody programmed leaves and is lost"
    );
}

#[test]
fn a_relay_reaches_what_listens_outside_the_lab() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let lab = two_nodes("relay");
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = collector.local_addr().expect("address");
    let node = lab.node("node-1").expect("node");
    let inside: SocketAddr = "127.0.0.1:7443".parse().expect("address");
    let _relay = node.netns.relay(inside, address).expect("relay");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = collector.accept().expect("accept");
        std::io::Write::write_all(&mut stream, b"collector").expect("write");
    });
    let result = node.netns.connect(inside, SECOND).expect("attempt");
    assert_eq!(result.answer, b"collector");
    server.join().expect("server");
}

#[test]
fn two_labs_with_the_same_addresses_do_not_meet_and_leave_nothing() {
    if !root::available("two labs") {
        return;
    }
    let mut labs = [two_nodes("first"), two_nodes("second")];
    let mut names: Vec<String> = Vec::new();
    for (index, lab) in labs.iter_mut().enumerate() {
        let server = pod(lab, "server", 2, 5);
        pod(lab, "client", 1, 5);
        server.listen(Listen::on(8080, format!("lab {index}"))).expect("listen");
        names.extend(lab.nodes().map(|node| node.netns.name().to_owned()));
        names.extend(lab.pods().map(|pod| pod.netns.name().to_owned()));
        names.extend([lab.outside().name().to_owned(), lab.underlay().name().to_owned()]);
        assert_eq!(lab.to_string().lines().count(), 5);
    }
    for (index, lab) in labs.iter().enumerate() {
        let to = at(lab.get_pod(&Key::new("shop", "server")).expect("pod"), 8080);
        let result = lab.connect(&Key::new("shop", "client"), to, SECOND).expect("attempt");
        assert_eq!(result.answer, format!("lab {index}").into_bytes());
    }
    let [mut first, second] = labs;
    first.tear_down();
    first.tear_down();
    drop((first, second));
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(&name).exists(), "{name} is left");
    }
}

#[test]
fn a_namespace_is_entered_by_any_path_that_stands_for_it() {
    if !root::available("a lab of two nodes") {
        return;
    }
    let mut lab = two_nodes("path");
    let client = pod(&mut lab, "client", 1, 5);
    let server = pod(&mut lab, "server", 1, 6);
    server.listen(Listen::on(8080, "server")).expect("listen");
    let far_off = format!("/proc/{}/root{}", std::process::id(), client.netns.path().display());
    let same = Netns::at(far_off);
    assert_eq!(same.name(), client.netns.name());
    assert_eq!(same.connect(at(&server, 8080), SECOND).expect("attempt").answer, b"server");
    same.ip("link add probe type bridge\n").expect("ip");
    assert!(client.netns.run(&["ip", "-o", "link", "show", "probe"]).expect("run").contains("probe"));
    // The child is the program itself, so that its pid can be used and ended. It ends with its standard input anyway.
    let mut child = same.command("cat").stdin(Stdio::piped()).spawn().expect("start");
    let name = format!("/proc/{}/comm", child.id());
    until("the child is the program", || {
        let comm = std::fs::read_to_string(&name).unwrap_or_default();
        if comm.trim() == "cat" { Ok(()) } else { Err(comm) }
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
    let missing = Netns::at("/run/netns/there-is-none").run(&["true"]).expect_err("no such namespace");
    assert!(missing.to_string().contains("/run/netns/there-is-none"), "{missing}");
}

/// Polls until it is so, for at most ten seconds; then fails with what was last seen.
fn until(what: &str, mut poll: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(seen) = poll() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited 10 s until {what}; last: {seen}");
        std::thread::yield_now();
    }
}

/// Does nothing unless the test below starts it as a process of its own.
#[test]
fn owner_to_be_killed() {
    if std::env::var_os("NETLAB_TEST_OWNER").is_none() {
        return;
    }
    let mut lab = two_nodes("killed");
    pod(&mut lab, "server", 1, 5).listen(Listen::on(8080, "")).expect("listen");
    println!("built {}", lab.underlay().name());
    loop {
        std::thread::park();
    }
}

/// A process with a lab; ends with the test, however that ends.
struct Owner(Child);

impl Owner {
    /// SIGKILL: no destructor runs.
    fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("wait");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts it with what begins its command line; returns it with the name of its underlay.
fn start_owner(mut command: Command) -> (Owner, String) {
    let mut owner = command
        .args(["owner_to_be_killed", "--exact", "--nocapture"])
        .env("NETLAB_TEST_OWNER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the owner");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(owner.stdout.take().expect("stdout")));
    let name = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("built ")?.1.to_owned()));
    (Owner(owner), name.expect("the owner built its lab"))
}

#[test]
fn a_lab_in_a_mount_namespace_of_its_own_is_entered_through_its_owner() {
    if !root::available("a private mount namespace") {
        return;
    }
    let mut command = Command::new("unshare");
    let script = "mkdir -p /run/netns /run/why-dropped-netlab && mount -t tmpfs none /run/netns \
                  && mount -t tmpfs none /run/why-dropped-netlab && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(std::env::current_exe().expect("this test"));
    let (owner, underlay) = start_owner(command);
    let prefix = underlay.strip_suffix("underlay").expect("prefix");
    let inside = |name: &str| Netns::at(format!("/proc/{}/root/run/netns/{prefix}{name}", owner.0.id()));
    assert!(!std::path::Path::new("/run/netns").join(&underlay).exists(), "it is not to be seen from here");
    let server = SocketAddr::from(([10, 244, 1, 5], 8080));
    let result = inside("node-2").connect(server, SECOND).expect("attempt");
    assert_eq!(result.outcome, ConnectOutcome::Connected);
    let addresses = inside("shop.server").run(&["ip", "-oneline", "addr", "show", "eth0"]).expect("run");
    assert!(addresses.contains("10.244.1.5/24"), "{addresses}");
}

#[test]
fn a_killed_owner_is_swept_and_a_living_one_is_not() {
    if !root::available("sweeping") {
        return;
    }
    let living = two_nodes("living");
    let (mut owner, name) = start_owner(Command::new(std::env::current_exe().expect("this test")));
    netlab::sweep().expect("sweep");
    assert!(std::path::Path::new("/run/netns").join(&name).exists(), "swept while its owner lives");
    owner.kill();
    netlab::sweep().expect("sweep");
    let prefix = name.strip_suffix("underlay").expect("prefix");
    let start = Instant::now();
    loop {
        let left: Vec<_> = std::fs::read_dir("/run/netns")
            .expect("list")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .collect();
        if left.is_empty() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "left: {left:?}");
        netlab::sweep().expect("sweep");
    }
    assert!(living.underlay().path().exists());
}
