//! Whether this machine lets a test make namespaces.

/// `false` (with a line on stderr) without root, except where skipping is forbidden.
pub fn available(purpose: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let set = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    assert!(!set("CI", "true") && !set("WHY_DROPPED_REQUIRE_ALL", "1"), "{purpose} needs root");
    eprintln!("skipped: {purpose} needs root");
    false
}
