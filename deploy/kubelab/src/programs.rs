//! Finding the Kubernetes programs. Getting them is the project task's work.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::full;
use crate::spec::Kind;

/// What every cluster needs.
const LIGHT: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
/// What a full cluster needs on top.
const FULL: &[&str] = &["kubelet", "agnhost", "coredns", "containerd", "ctr", "runc", "busybox"];

/// Where programs may be: the directory given, `$WHY_DROPPED_KUBERNETES`, `$KUBEBUILDER_ASSETS`, PATH.
#[derive(Clone, Debug)]
pub struct Programs {
    directories: Vec<PathBuf>,
}

impl Programs {
    /// Looks in these places.
    pub fn new(first: Option<&Path>) -> Self {
        let from_env = ["WHY_DROPPED_KUBERNETES", "KUBEBUILDER_ASSETS"]
            .into_iter()
            .filter_map(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from));
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = first
            .map(Path::to_path_buf)
            .into_iter()
            .chain(from_env)
            .chain(env::split_paths(&path))
            .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
            .collect();
        Self { directories }
    }

    /// A program's path.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        match self.directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file()) {
            Some(path) => Ok(path),
            None => bail!("`{name}` is in none of WHY_DROPPED_KUBERNETES, KUBEBUILDER_ASSETS and PATH"),
        }
    }

    /// What a program says its version is: `v1.36.3`.
    pub fn version(&self, name: &str) -> Result<String> {
        let path = self.find(name)?;
        let output = Command::new(&path).arg("--version").output();
        let output = output.with_context(|| format!("ask {} for its version", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find(|word| word.starts_with("v1."));
        version.map(str::to_owned).with_context(|| format!("{} tells no version: {text}", path.display()))
    }

    /// The programs that a cluster of this kind needs and that are nowhere.
    pub fn missing(&self, kind: Kind) -> Vec<&'static str> {
        let more = if kind == Kind::Full { FULL } else { &[] };
        let mut missing: Vec<&str> =
            LIGHT.iter().chain(more).copied().filter(|name| self.find(name).is_err()).collect();
        if kind == Kind::Full && full::plugins().is_none() {
            missing.push("the CNI plugins");
        }
        missing
    }
}
