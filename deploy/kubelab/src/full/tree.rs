//! What a node sees for files: the machine's, with a layer in memory over them, so that nothing a node or a pod on it
//! writes reaches the machine; and its own /run, /proc, /sys, control groups and data directories.
//!
//! The programs that the machine has are there under their names, which is why there is no image of a node. What stays
//! shared is named in the documentation of [`super`].

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::{cgroups, mounts};
use crate::place::Place;
use crate::spec::Spec;

/// What is not taken from the machine but made for the node.
const OWN: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Files that container engines put over the machine's, and which the node has its own of.
const OWN_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
/// Where the node's data is, and in what directory of the node's large files.
const DATA: [(&str, &str); 4] = [
    ("var/lib/kubelet", "kubelet"),
    ("var/lib/containerd", CONTAINERD_DATA),
    ("var/lib/cni", CNI_DATA),
    ("var/log", "log"),
];
/// The directory with what containerd keeps.
pub const CONTAINERD_DATA: &str = "containerd";
/// The directory with what CNI plugins keep of pods.
pub const CNI_DATA: &str = "cni";
/// Below the node's directory: what is to be seen as /etc/cni/net.d.
pub const CNI_CONFIG: &str = "net.d";
/// File systems of the kernel that programs on nodes may ask for, and where they are, if the kernel has them.
const KERNEL: [(&str, &str); 4] = [
    ("bpf", "sys/fs/bpf"),
    ("tracefs", "sys/kernel/tracing"),
    ("debugfs", "sys/kernel/debug"),
    ("mqueue", "dev/mqueue"),
];
/// What kubelet sets for the whole machine (`setupKernelTunables` in pkg/kubelet/cm/container_manager_linux.go, 1.24 to
/// 1.36). It gets files of its own to read and write.
const SHIELDED: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Builds the tree in the calling process's mount namespace, and makes it the root.
pub fn build(place: &Place, spec: &Spec, node: &str) -> Result<()> {
    // `ip netns add` shares /run/netns among copies, and what is unmounted here would be unmounted there.
    propagate(MsFlags::MS_PRIVATE)?;
    let own = place.node(node);
    let root = own.join("root");
    let mut layers = Layers::new(&own.join("layers"))?;
    make(&root)?;
    layers.over(Path::new("/"), &root)?;
    for point in machine_mounts()? {
        let target = below(&root, &point);
        // What the kernel refuses to put a layer over, a single file for example, is seen as it is and not written to.
        if target.exists() && layers.over(&point, &target).is_err() {
            bind_read_only(&point, &target)?;
        }
    }
    let shielded = copy_sysctls(&own)?;
    mount_fresh("proc", &root.join("proc"), None)?;
    for (file, copy) in &shielded {
        bind(copy, &root.join("proc/sys").join(file))?;
    }
    mount_fresh("sysfs", &root.join("sys"), None)?;
    cgroups::mount(&root)?;
    bind(Path::new("/dev"), &root.join("dev"))?;
    mount_fresh("tmpfs", &root.join("dev/shm"), Some("mode=1777"))?;
    mount_kernel(&root)?;
    mount_fresh("tmpfs", &root.join("run"), Some("mode=755"))?;
    make(&root.join("run/lock"))?;
    for shared in [&own, &place.iptables()] {
        let target = below(&root, shared);
        make(&target)?;
        bind(shared, &target)?;
    }
    for (target, name) in DATA {
        let data = place.large().join(node).join(name);
        make(&data)?;
        let target = root.join(target);
        make(&target)?;
        bind(&data, &target)?;
    }
    let target = root.join("etc/cni/net.d");
    make(&target)?;
    bind(&own.join(CNI_CONFIG), &target)?;
    identity(&root, spec, node)?;
    change_root(&root)
}

/// Mounts a file system of the kernel.
pub fn mount_fresh(kind: &str, target: &Path, options: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mount {kind} at {}", target.display()))
}

/// The layers over the machine's file systems.
struct Layers {
    directory: PathBuf,
    count: u32,
}

impl Layers {
    /// In memory, since a layer must not lie in the file system below it (ovl_check_layer in fs/overlayfs/super.c).
    fn new(directory: &Path) -> Result<Self> {
        make(directory)?;
        mount_fresh("tmpfs", directory, Some("mode=755"))?;
        Ok(Self { directory: directory.to_owned(), count: 0 })
    }

    /// Shows one of the machine's file systems at `target`, under a new layer.
    fn over(&mut self, lower: &Path, target: &Path) -> Result<()> {
        self.count += 1;
        let directory = self.directory.join(self.count.to_string());
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        make(&upper)?;
        make(&work)?;
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount_fresh("overlay", target, Some(&options))
            .with_context(|| format!("put a layer over {}", lower.display()))
    }
}

/// Where the machine has other file systems than its root, those above before those below.
fn machine_mounts() -> Result<BTreeSet<PathBuf>> {
    let all = mounts::all()?.into_iter().map(|mount| mount.point);
    Ok(all
        .filter(|point| {
            point != Path::new("/")
                && !OWN.iter().any(|own| point.starts_with(own))
                && !OWN_FILES.iter().any(|own| point == Path::new(own))
        })
        .collect())
}

/// Private copies of what the node's programs would set for the machine: file below /proc/sys, and the copy.
fn copy_sysctls(own: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let directory = own.join("sysctl");
    make(&directory)?;
    let mut copies = Vec::new();
    for name in SHIELDED {
        let machine = Path::new("/proc/sys").join(name);
        if !machine.exists() {
            continue;
        }
        let copy = directory.join(name.replace('/', "."));
        // Not fs::copy: files of procfs say that they are empty.
        let value = fs::read(&machine).with_context(|| format!("read {}", machine.display()))?;
        fs::write(&copy, value).with_context(|| format!("write {}", copy.display()))?;
        copies.push((name, copy));
    }
    Ok(copies)
}

fn mount_kernel(root: &Path) -> Result<()> {
    let known = fs::read_to_string("/proc/filesystems").context("read /proc/filesystems")?;
    for (kind, target) in KERNEL {
        let target = root.join(target);
        if known.lines().any(|line| line.split_whitespace().last() == Some(kind)) && target.is_dir() {
            mount_fresh(kind, &target, None)?;
        }
    }
    Ok(())
}

/// What tells this node from others and from the machine.
fn identity(root: &Path, spec: &Spec, node: &str) -> Result<()> {
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for plan in spec.node_plans() {
        for address in plan.address6.map(IpAddr::V6).into_iter().chain([IpAddr::V4(plan.address)]) {
            // Writing to a String cannot fail.
            let _ = writeln!(hosts, "{address} {}", plan.name);
        }
    }
    let machine_id = super::machine_id(&spec.name, node);
    for (file, text) in [
        ("etc/hosts", hosts),
        ("etc/hostname", format!("{node}\n")),
        ("etc/machine-id", format!("{machine_id}\n")),
        // Nothing answers outside the cluster, and its name service says so at once.
        ("etc/resolv.conf", format!("nameserver {}\n", spec.dns_service())),
    ] {
        let path = root.join(file);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("replace {}", path.display())),
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// pivot_root(2), "pivot_root(".", ".")". Mounts made on the node are then to reach its pods where these ask for it.
fn change_root(root: &Path) -> Result<()> {
    chdir(root).with_context(|| format!("go to {}", root.display()))?;
    pivot_root(".", ".").context("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("let the machine's root go")?;
    propagate(MsFlags::MS_SHARED)
}

fn propagate(how: MsFlags) -> Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | how, nothing).context("change how mounts propagate")
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let nothing: Option<&str> = None;
    mount(Some(from), to, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
        .with_context(|| format!("bind {} to {}", from.display(), to.display()))
}

fn bind_read_only(from: &Path, to: &Path) -> Result<()> {
    let nothing: Option<&str> = None;
    mount(Some(from), to, nothing, MsFlags::MS_BIND, nothing)
        .and_then(|()| {
            let had = statvfs(from)?.flags();
            let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            for (has, keep) in [
                (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
                (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
                (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
            ] {
                flags.set(keep, had.contains(has));
            }
            mount(nothing, to, nothing, flags, nothing)
        })
        .with_context(|| format!("show {} at {}", from.display(), to.display()))
}

/// `/a/b` below a root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))
}
