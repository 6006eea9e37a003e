//! Control groups of a node: `why-dropped-CLUSTER/NODE` in every hierarchy of the machine, which the node takes for the
//! root. Version 1 and version 2.
//!
//! The node's own programs are in the group `system` below, because in version 2 a group that hands controllers on has
//! no processes of its own (cgroup-v2.rst, "No Internal Process Constraint"). Everything is removed with the cluster's
//! group, by [`Place`].

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use super::mounts;
use super::tree::mount_fresh;
use crate::place::{Place, remove_cgroup};

const ROOT: &str = "/sys/fs/cgroup";
/// The group of a node's own programs.
const SYSTEM: &str = "system";
/// What kubelet wants to be handed on in version 2; what the kernel lacks of it is left out.
const CONTROLLERS: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
/// What kubelet refuses to start without in version 1 (`validateSystemRequirements` in
/// pkg/kubelet/cm/container_manager_linux.go).
const REQUIRED: [&str; 4] = ["cpu", "cpuacct", "cpuset", "memory"];
/// What runc refuses to start a pod without in version 2.
const REQUIRED_TWO: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// One hierarchy.
#[derive(Debug)]
struct Hierarchy {
    /// Where the machine has it.
    point: PathBuf,
    version: Version,
}

#[derive(Debug)]
enum Version {
    /// With these controllers, or a name.
    One(Vec<String>),
    Two,
}

/// Makes the node's groups anew, moves the calling process to them and makes them the roots that it sees.
pub fn enter_anew(place: &Place, node: &str) -> Result<()> {
    let hierarchies = hierarchies()?;
    let group = group(place, node);
    for hierarchy in &hierarchies {
        // Of the machine before this one, if it was switched off.
        remove_cgroup(&hierarchy.point.join(&group))?;
        hierarchy.make(&group)?;
        hierarchy.join(&group)?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP).context("make a control group namespace")?;
    let system = group.join(SYSTEM);
    for hierarchy in &hierarchies {
        hierarchy.make_one(&system)?;
        hierarchy.join(&system)?;
        hierarchy.hand_on(&group);
    }
    Ok(())
}

/// Moves the calling process to where the node's programs are.
pub fn enter(place: &Place, node: &str) -> Result<()> {
    let system = group(place, node).join(SYSTEM);
    hierarchies()?.iter().try_for_each(|hierarchy| hierarchy.join(&system))
}

/// Mounts the hierarchies below `root`, as [`enter_anew`] left the process.
pub fn mount(root: &Path) -> Result<()> {
    let all = root.join("sys/fs/cgroup");
    let hierarchies = hierarchies()?;
    if hierarchies.iter().any(|hierarchy| matches!(hierarchy.version, Version::Two)) {
        return mount_fresh("cgroup2", &all, None);
    }
    mount_fresh("tmpfs", &all, Some("mode=755"))?;
    for hierarchy in &hierarchies {
        let Version::One(controllers) = &hierarchy.version else { continue };
        let name = hierarchy.point.file_name().context("a hierarchy without a name")?;
        let options = controllers.join(",");
        let target = all.join(name);
        fs::create_dir(&target).with_context(|| format!("make {}", target.display()))?;
        mount_fresh("cgroup", &target, Some(&options))?;
        for controller in controllers.iter().filter(|controller| *controller != &name.to_string_lossy()) {
            let link = all.join(controller.trim_start_matches("name="));
            if !link.exists() {
                symlink(name, &link).with_context(|| format!("make {}", link.display()))?;
            }
        }
    }
    Ok(())
}

/// Whether kubelets and containers would start here.
pub fn check() -> Result<()> {
    let mut known = Vec::new();
    let mut required = REQUIRED;
    for hierarchy in hierarchies()? {
        match hierarchy.version {
            Version::One(controllers) => known.extend(controllers),
            Version::Two => {
                required = REQUIRED_TWO;
                let path = hierarchy.point.join("cgroup.controllers");
                let all = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                known.extend(all.split_whitespace().map(str::to_owned));
            }
        }
    }
    let missing: Vec<&str> =
        required.into_iter().filter(|name| !known.iter().any(|one| one == name)).collect();
    ensure!(
        missing.is_empty(),
        "kubelet needs control groups with the controllers {}; below {ROOT} these are missing: {}. Mount what is missing, \
         or use --light",
        required.join(", "),
        missing.join(", ")
    );
    Ok(())
}

fn group(place: &Place, node: &str) -> PathBuf {
    Path::new(&place.cgroup()).join(node)
}

/// What the machine has mounted. On machines that have both versions, the controllers are in version 1.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let controllers = fs::read_to_string("/proc/cgroups").context("read /proc/cgroups")?;
    let known: Vec<&str> = controllers
        .lines()
        .filter_map(|line| line.split('\t').next())
        .filter(|name| *name != "#subsys_name")
        .collect();
    let mounts = mounts::all()?;
    // The last mount at a place is the one that is seen.
    let root = mounts.iter().rev().find(|mount| mount.point == Path::new(ROOT));
    if root.is_some_and(|mount| mount.kind == "cgroup2") {
        return Ok(vec![Hierarchy { point: ROOT.into(), version: Version::Two }]);
    }
    let first = mounts.into_iter().filter(|mount| mount.kind == "cgroup" && mount.point.starts_with(ROOT));
    Ok(first
        .map(|mount| {
            let options = mount.options.split(',');
            let own = options.filter(|option| known.contains(option) || option.starts_with("name="));
            Hierarchy { version: Version::One(own.map(str::to_owned).collect()), point: mount.point }
        })
        .collect())
}

impl Hierarchy {
    /// Makes a group and those above it.
    fn make(&self, group: &Path) -> Result<()> {
        let mut above: Vec<&Path> = group.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        above.reverse();
        for group in above {
            self.hand_on(group.parent().unwrap_or(Path::new("")));
            self.make_one(group)?;
        }
        Ok(())
    }

    fn make_one(&self, group: &Path) -> Result<()> {
        let directory = self.point.join(group);
        let parent = group.parent().unwrap_or(Path::new(""));
        match fs::create_dir(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("make control group {}", directory.display()));
            }
        }
        if let Version::One(controllers) = &self.version
            && controllers.iter().any(|name| name == "cpuset")
        {
            // A new group has no processors and takes no processes (cgroup-v1/cpusets.rst); those made below it by
            // others, kubelet and runc, copy from it then.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = self.point.join(parent).join(file);
                let value = fs::read(&above).with_context(|| format!("read {}", above.display()))?;
                write(&directory.join(file), &value)?;
            }
            write(&directory.join("cgroup.clone_children"), b"1")?;
        }
        Ok(())
    }

    fn join(&self, group: &Path) -> Result<()> {
        // 0 is the writing process.
        write(&self.point.join(group).join("cgroup.procs"), b"0")
    }

    /// Hands controllers on to the groups below one. kubelet tells what it misses.
    fn hand_on(&self, group: &Path) {
        if matches!(self.version, Version::One(_)) {
            return;
        }
        let directory = self.point.join(group);
        let there = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
        for controller in
            CONTROLLERS.iter().filter(|name| there.split_whitespace().any(|known| known == **name))
        {
            if let Err(error) =
                write(&directory.join("cgroup.subtree_control"), format!("+{controller}").as_bytes())
            {
                eprintln!("{error:#}");
            }
        }
    }
}

fn write(path: &Path, value: &[u8]) -> Result<()> {
    fs::write(path, value).with_context(|| format!("write {}", path.display()))
}
