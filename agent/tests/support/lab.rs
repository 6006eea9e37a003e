//! A node and its pods as network namespaces: made with `ip`, gone when dropped. Sockets are made inside by threads that
//! enter a namespace and end.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces of one test.
pub struct Lab {
    prefix: String,
    names: Vec<String>,
}

/// Whether tests that need root and `ip` can run; a lack is a failure where everything is required.
pub fn possible() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let tools = ["ip", "iptables"].iter().all(|tool| Command::new(tool).arg("-V").output().is_ok());
    let required = ["CI", "WHY_DROPPED_REQUIRE_ALL"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| matches!(value.as_str(), "1" | "true")));
    if root && tools {
        return true;
    }
    assert!(!required, "this test needs root (is: {root}) and ip and iptables (are: {tools})");
    eprintln!("skipped: needs root (is: {root}) and ip and iptables (are: {tools})");
    false
}

impl Lab {
    /// A node without pods.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut lab = Self { prefix: format!("wd-{}-{number}", std::process::id()), names: Vec::new() };
        lab.add("node");
        lab.run("node", &["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
        lab
    }

    /// A pod `10.77.N.2` behind a bridge of its own on the node, so that whatever it sends is routed.
    pub fn pod(&mut self, name: &str, n: u8) {
        self.add(name);
        let (veth, bridge, inside) = (format!("veth{n}"), format!("br{n}"), self.name(name));
        let node = self.name("node");
        ip(&["-n", &node, "link", "add", &bridge, "type", "bridge"]);
        ip(&["-n", &node, "addr", "add", &format!("10.77.{n}.1/24"), "dev", &bridge]);
        ip(&["-n", &node, "link", "set", &bridge, "up"]);
        ip(&["-n", &node, "link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &inside]);
        ip(&["-n", &node, "link", "set", &veth, "master", &bridge, "up"]);
        ip(&["-n", &inside, "addr", "add", &format!("10.77.{n}.2/24"), "dev", "eth0"]);
        ip(&["-n", &inside, "link", "set", "eth0", "up"]);
        ip(&["-n", &inside, "route", "add", "default", "via", &format!("10.77.{n}.1")]);
    }

    /// The namespace's name for `ip netns`.
    pub fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// Runs a command in a namespace.
    pub fn run(&self, short: &str, command: &[&str]) {
        let name = self.name(short);
        ip(&[&["netns", "exec", &name], command].concat());
    }

    /// A listener in a namespace.
    pub fn listen(&self, short: &str, address: SocketAddr) -> TcpListener {
        self.inside(short, move || TcpListener::bind(address)).expect("the address should be free there")
    }

    /// One connection attempt from a namespace.
    pub fn connect(&self, short: &str, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
        self.inside(short, move || TcpStream::connect_timeout(&to, within))
    }

    /// Runs code in a namespace on a thread that ends.
    pub fn inside<T: Send + 'static>(&self, short: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
        let file =
            File::open(format!("/run/netns/{}", self.name(short))).expect("the namespace should exist");
        let thread = std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            run()
        });
        thread.join().expect("the thread should not panic")
    }

    fn add(&mut self, short: &str) {
        let name = self.name(short);
        ip(&["netns", "add", &name]);
        self.names.push(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            // One that will not go must not keep the others.
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip should run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {told}", arguments.join(" "));
}
