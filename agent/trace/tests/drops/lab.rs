//! Three network namespaces in a row, client - router - server, for drops to happen in.
//!
//! No pods and no node rules: just enough of a network that each drop has one known cause.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Addresses of the lab, the same in each since its namespaces are its own.
pub const CLIENT: &str = "10.7.0.2";
pub const SERVER: &str = "10.7.1.2";
pub const CLIENT6: &str = "fd07::2";
pub const SERVER6: &str = "fd07:1::2";

/// The namespaces; removed with it.
pub struct Lab {
    pub client: Netns,
    pub router: Netns,
    pub server: Netns,
}

/// One namespace.
pub struct Netns {
    name: String,
    pub cookie: u64,
}

/// Whether tests that need the kernel can run. Says why not, and fails where they must.
pub fn ready(test: &str) -> bool {
    let lack = if !nix::unistd::geteuid().is_root() {
        "needs root"
    } else if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        "needs kernel BTF"
    } else if ["ip", "nft", "iptables-legacy", "iptables-nft"].into_iter().any(|tool| !exists(tool)) {
        "needs ip, nft, iptables-legacy and iptables-nft"
    } else {
        return true;
    };
    let required = std::env::var("CI").is_ok_and(|value| value == "true")
        || std::env::var("WHY_DROPPED_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{test} {lack}, and every test is required here");
    eprintln!("skipped: {test} {lack}");
    false
}

impl Lab {
    /// Builds one for the named test.
    pub fn new(test: &str) -> Self {
        let netns = |role| Netns::new(format!("wd-{}-{test}-{role}", std::process::id()));
        let lab = Self { client: netns("c"), router: netns("r"), server: netns("s") };
        for (end, far) in [(&lab.client, "cli"), (&lab.server, "srv")] {
            run(
                "ip",
                &[
                    "link",
                    "add",
                    "eth0",
                    "netns",
                    &end.name,
                    "type",
                    "veth",
                    "peer",
                    "name",
                    far,
                    "netns",
                    &lab.router.name,
                ],
            );
        }
        lab.client.configure("eth0", &["10.7.0.2/24", "fd07::2/64"]);
        lab.router.configure("cli", &["10.7.0.1/24", "fd07::1/64"]);
        lab.router.configure("srv", &["10.7.1.1/24", "fd07:1::1/64"]);
        lab.server.configure("eth0", &["10.7.1.2/24", "fd07:1::2/64"]);
        lab.client.ip("route add default via 10.7.0.1");
        lab.client.ip("-6 route add default via fd07::1");
        lab.server.ip("route add default via 10.7.1.1");
        lab.server.ip("-6 route add default via fd07:1::1");
        lab.router.sysctl("net/ipv4/ip_forward", "1");
        lab.router.sysctl("net/ipv6/conf/all/forwarding", "1");
        lab
    }

    /// The cookies of all three.
    pub fn cookies(&self) -> [u64; 3] {
        [self.client.cookie, self.router.cookie, self.server.cookie]
    }
}

impl Netns {
    fn new(name: String) -> Self {
        run("ip", &["netns", "add", &name]);
        let mut netns = Self { name, cookie: 0 };
        netns.cookie = netns.enter(cookie);
        netns.ip("link set lo up");
        // A tentative link-local address sends no neighbour solicitation: a forwarded IPv6 packet would wait.
        netns.sysctl("net/ipv6/conf/default/accept_dad", "0");
        netns
    }

    fn configure(&self, device: &str, addresses: &[&str]) {
        for address in addresses {
            // Without duplicate address detection an IPv6 address is usable at once.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {device}{nodad}"));
        }
        self.ip(&format!("link set {device} up"));
    }

    /// Runs `ip` here, arguments separated by spaces.
    pub fn ip(&self, arguments: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        run("ip", &all);
    }

    /// Runs a command here and returns what it printed.
    pub fn exec(&self, command: &str) -> String {
        let mut all = vec!["netns", "exec", &self.name];
        all.extend(command.split(' '));
        run("ip", &all)
    }

    /// Loads an nft script here.
    pub fn nft(&self, script: &str) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start nft");
        child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("write the script");
        assert!(child.wait().expect("wait for nft").success(), "nft refused: {script}");
    }

    /// Writes a sysctl of this namespace.
    pub fn sysctl(&self, path: &str, value: &str) {
        // procfs shows the namespace of the opening thread.
        let file = format!("/proc/sys/{path}");
        self.enter(move || std::fs::write(&file, value)).expect("write a sysctl");
    }

    /// Runs a closure on a thread in this namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(format!("/run/netns/{}", self.name)).expect("open the namespace");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                    work()
                })
                .join()
                .expect("the thread in the namespace")
        })
    }

    /// Tries one connection that is to fail, too short for a SYN to be sent twice.
    pub fn fail_to_connect(&self, address: &str, port: u16) {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        let result = self.enter(move || TcpStream::connect_timeout(&address, Duration::from_millis(300)));
        assert!(result.is_err(), "the connection to {address} was to fail");
    }

    /// Makes one connection.
    pub fn connect(&self, address: &str, port: u16) -> TcpStream {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        self.enter(move || TcpStream::connect_timeout(&address, Duration::from_secs(10))).expect("connect")
    }

    /// Listens on all addresses.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.enter(move || TcpListener::bind(("::", port))).expect("listen")
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Also while a failed test unwinds: no assertion here.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// The net cookie of the calling thread's namespace.
fn cookie() -> u64 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let mut cookie = 0_u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).expect("eight");
    // SAFETY: the kernel writes at most `len` bytes into `cookie`.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    assert_eq!(result, 0, "SO_NETNS_COOKIE: {}", std::io::Error::last_os_error());
    cookie
}

fn exists(tool: &str) -> bool {
    Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("start a command");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {err}", arguments.join(" "));
    out.into_owned()
}
