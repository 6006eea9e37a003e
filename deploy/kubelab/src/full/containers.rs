//! containerd on every node, with the images in it.
//!
//! Importing is what takes time, so only the first node's containerd does it; the others begin with copies of what it
//! then has, whose large files are the same on disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{Common, config, containerd_name, images, machine, tree};
use crate::control_plane::option;
use crate::spec::NodePlan;

/// Starts it on every node and imports the images.
pub fn start(common: &Common) -> Result<()> {
    let Some((first, others)) = common.plans.split_first() else { return Ok(()) };
    let directory = common.place.large().join("images");
    let archives = std::thread::scope(|scope| {
        let archives = scope.spawn(|| images::write_all(&common.programs, &directory));
        start_on(common, first)?;
        archives.join().unwrap_or_else(|_| bail!("the thread that makes images panicked"))
    })?;
    let socket = wait_listening(common, first)?;
    let ctr = common.programs.find("ctr")?;
    for archive in &archives {
        import(&ctr, &socket, archive).with_context(|| format!("node {}", first.name))?;
    }
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    if others.is_empty() {
        return Ok(());
    }
    // So that nothing is written while it is copied. Its database survives that as it survives a crash.
    common.components.stop(&containerd_name(&first.name))?;
    for plan in others {
        copy(&data(common, first), &data(common, plan))?;
    }
    common.components.start_again(&containerd_name(&first.name))?;
    for plan in others {
        start_on(common, plan)?;
    }
    for plan in &common.plans {
        wait_listening(common, plan)?;
    }
    Ok(())
}

fn start_on(common: &Common, plan: &NodePlan) -> Result<()> {
    let config = common.place.node(&plan.name).join("containerd.toml");
    let recipe = common.recipe(plan, "containerd", [option("config", &config)])?;
    common.components.start(&containerd_name(&plan.name), recipe)
}

/// Where it keeps images.
fn data(common: &Common, plan: &NodePlan) -> PathBuf {
    common.place.large().join(&plan.name).join(tree::CONTAINERD_DATA)
}

fn wait_listening(common: &Common, plan: &NodePlan) -> Result<PathBuf> {
    common.wait(&containerd_name(&plan.name), || {
        let first = machine::number(&common.place, &plan.name)?;
        let socket = Path::new("/proc").join(first.to_string()).join("root").join(config::CONTAINERD);
        UnixStream::connect(&socket).ok().map(|_| socket)
    })
}

/// Has containerd take an archive of images.
pub fn import(ctr: &Path, socket: &Path, archive: &Path) -> Result<()> {
    let output = Command::new(ctr)
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", ctr.display()))?;
    ensure!(
        output.status.success(),
        "import {}: {}",
        archive.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Copies directories, links and databases, and gives other files a second name: content and the files of images are
/// never written to again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = || -> std::io::Result<()> {
        fs::create_dir_all(to)?;
        fs::set_permissions(to, Permissions::from_mode(fs::metadata(from)?.permissions().mode()))?;
        Ok(())
    };
    copied().with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(|| format!("look at {}", source.display()))?;
        if kind.is_dir() {
            copy(&source, &target)?;
            continue;
        }
        let done = if kind.is_symlink() {
            fs::read_link(&source).and_then(|pointed| symlink(pointed, &target))
        } else if source.extension().is_some_and(|end| end == "db") {
            fs::copy(&source, &target).map(drop)
        } else {
            fs::hard_link(&source, &target)
        };
        done.with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn databases_are_copied_and_contents_shared() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let inner = from.join("inner");
        fs::create_dir_all(&inner).expect("directories");
        fs::set_permissions(&inner, Permissions::from_mode(0o700)).expect("permissions");
        fs::write(inner.join("meta.db"), "database").expect("a file");
        fs::write(inner.join("blob"), "content").expect("a file");
        symlink("blob", inner.join("link")).expect("a link");
        copy(&from, &to).expect("a copy");
        let of = |root: &Path, name: &str| fs::metadata(root.join("inner").join(name)).expect("a file");
        assert_eq!(of(&to, "blob").ino(), of(&from, "blob").ino());
        assert_ne!(of(&to, "meta.db").ino(), of(&from, "meta.db").ino());
        assert_eq!(fs::read_to_string(to.join("inner/meta.db")).expect("a file"), "database");
        assert_eq!(fs::read_link(to.join("inner/link")).expect("a link"), Path::new("blob"));
        assert_eq!(of(&to, ".").mode() & 0o777, 0o700);
    }
}
