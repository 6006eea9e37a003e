//! A namespace for one test, removed on every path. Not for clusters; those are `netlab`'s.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kernel::{Known, Namespaces};

/// A network namespace and what runs in it.
pub struct Scratch {
    name: String,
    children: Vec<Child>,
}

impl Scratch {
    /// Makes it; `None` (with a line on stderr) without root, except where skipping is forbidden.
    pub fn new(purpose: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            let required = std::env::var("CI").is_ok_and(|value| value == "true")
                || std::env::var("WHY_DROPPED_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "this test needs root");
            eprintln!("skipped: {purpose} needs root");
            return None;
        }
        let name = format!("wd-{}-{purpose}", std::process::id());
        output(&["ip", "netns", "add", &name]);
        let scratch = Self { name, children: Vec::new() };
        scratch.ip(&["link", "set", "lo", "up"]);
        Some(scratch)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the crate under test finds it.
    pub fn known(&self) -> Known {
        let inode = std::fs::metadata(format!("/run/netns/{}", self.name)).map(|meta| {
            use std::os::unix::fs::MetadataExt;
            meta.ino()
        });
        let inode = inode.expect("the namespace file");
        let namespaces = Namespaces::open().expect("namespaces");
        namespaces
            .all()
            .find(|known| u64::from(known.netns.inode) == inode)
            .unwrap_or_else(|| panic!("{} not found; gaps: {:?}", self.name, namespaces.gaps()))
            .clone()
    }

    /// `ip` inside it.
    pub fn ip(&self, arguments: &[&str]) {
        output(&[&["ip", "-n", &self.name], arguments].concat());
    }

    /// Runs a command inside and returns what it printed.
    pub fn run(&self, command: &[&str]) -> String {
        output(&[&["ip", "netns", "exec", &self.name], command].concat())
    }

    /// Runs a command inside with this on its standard input.
    pub fn feed(&self, command: &[&str], input: &str) {
        self.try_feed(command, input).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    /// The same where it may fail; what it then said is the error.
    pub fn try_feed(&self, command: &[&str], input: &str) -> Result<(), String> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(command)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        // It reads all of it before it says anything.
        child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("write");
        let done = child.wait_with_output().expect("wait");
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    }

    /// Starts a program inside that ends with the test; `ip netns exec` becomes the program, so its pid is the pid.
    pub fn spawn(&mut self, command: &[&str]) -> u32 {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let pid = child.id();
        self.children.push(child);
        pid
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs a command that must succeed.
pub fn output(command: &[&str]) -> String {
    let done = Command::new(command[0]).args(&command[1..]).output().expect("start");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Parses what a tool printed.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// Polls until there is a value, for at most ten seconds.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::yield_now();
    }
}
