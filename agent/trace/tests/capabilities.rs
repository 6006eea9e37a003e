//! Loads the programs with the least a process needs, and with less.
//!
//! Capabilities belong to a thread, so each case gives up its own on a thread of its own.

use trace::{Config, LoadError, Scope, Tracer};

const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Runs a closure on a thread that has these capabilities and no others.
fn with_only<T: Send>(capabilities: &[u32], work: impl FnOnce() -> T + Send) -> T {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let set: u64 = capabilities.iter().map(|capability| 1 << capability).sum();
    let half = |bits: u64| {
        let bits = u32::try_from(bits & 0xffff_ffff).expect("masked");
        Half { effective: bits, permitted: bits, inheritable: 0 }
    };
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // _LINUX_CAPABILITY_VERSION_3: two halves, lowest first (linux/capability.h).
                let header = Header { version: 0x2008_0522, pid: 0 };
                let halves = [half(set), half(set >> 32)];
                // SAFETY: both point to structures of the layout that this version prescribes.
                let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
                assert_eq!(result, 0, "capset: {}", std::io::Error::last_os_error());
                work()
            })
            .join()
            .expect("the thread")
    })
}

fn ready(test: &str) -> bool {
    let able = nix::unistd::geteuid().is_root() && std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    let required = std::env::var("CI").is_ok_and(|value| value == "true")
        || std::env::var("WHY_DROPPED_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(able || !required, "{test} needs root and kernel BTF, and every test is required here");
    if !able {
        eprintln!("skipped: {test} needs root and kernel BTF");
    }
    able
}

fn load() -> Result<(), LoadError> {
    let mut tracer = Tracer::load(&Config { scope: Scope::Only })?;
    tracer.drain().expect("drain");
    Ok(())
}

#[test]
fn bpf_and_perfmon_are_enough() {
    if ready("bpf_and_perfmon_are_enough") {
        with_only(&[CAP_BPF, CAP_PERFMON], load).expect("load and drain");
    }
}

#[test]
fn without_either_the_lack_is_named() {
    if !ready("without_either_the_lack_is_named") {
        return;
    }
    for (given, missing) in
        [(&[][..], "CAP_BPF and CAP_PERFMON"), (&[CAP_BPF], "CAP_PERFMON"), (&[CAP_PERFMON], "CAP_BPF")]
    {
        let error = with_only(given, load).expect_err("must not load");
        assert!(
            matches!(&error, LoadError::Capabilities { missing: named } if named == missing),
            "{error:?} with {given:?}"
        );
    }
}
