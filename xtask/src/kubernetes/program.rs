//! The programs a cluster is made of: their names, Go packages, and how each tells its version.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::release::Version;

/// How often a busy file is tried.
const BUSY_TRIES: usize = 100;

/// A program of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Proxy,
    Kubectl,
    Kubelet,
    Agnhost,
    CoreDns,
}

/// Which programs are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// A real control plane and real kube-proxies; the pods are namespaces.
    Light,
    /// Also real kubelets, and what their pods run.
    Full,
}

impl Set {
    pub fn programs(self) -> &'static [Program] {
        use Program::{
            Agnhost, ApiServer, ControllerManager, CoreDns, Etcd, Kubectl, Kubelet, Proxy, Scheduler,
        };
        const FULL: &[Program] =
            &[Etcd, ApiServer, ControllerManager, Scheduler, Proxy, Kubectl, Kubelet, Agnhost, CoreDns];
        match self {
            Self::Light => &FULL[..6],
            Self::Full => FULL,
        }
    }
}

/// Which module graph a program is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// That of `k8s.io/kubernetes`, with its versions of everything.
    Kubernetes,
    /// Its own: it has no release of Kubernetes.
    CoreDns,
}

impl Program {
    /// What the file is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Proxy => "kube-proxy",
            Self::Kubectl => "kubectl",
            Self::Kubelet => "kubelet",
            Self::Agnhost => "agnhost",
            Self::CoreDns => "coredns",
        }
    }

    pub fn graph(self) -> Graph {
        match self {
            Self::CoreDns => Graph::CoreDns,
            _ => Graph::Kubernetes,
        }
    }

    /// Its main package. etcd's moved with its own version, so the release names it.
    pub fn package(self, etcd: &str) -> String {
        match self {
            Self::Etcd => etcd.to_owned(),
            Self::CoreDns => "github.com/coredns/coredns".to_owned(),
            Self::Agnhost => "k8s.io/kubernetes/test/images/agnhost".to_owned(),
            _ => format!("k8s.io/kubernetes/cmd/{}", self.name()),
        }
    }

    /// Whether its version is that of Kubernetes.
    pub fn is_released_with_kubernetes(self) -> bool {
        !matches!(self, Self::Etcd | Self::CoreDns | Self::Agnhost)
    }

    /// Whether a program of this version may serve an API server of that one: the version skew policy of Kubernetes
    /// (kubernetes.io/releases/version-skew-policy, three minors for kubelet and kube-proxy since 1.28).
    pub fn fits(self, own: Version, server: Version) -> bool {
        let behind = i32::from(server.minor) - i32::from(own.minor);
        match self {
            Self::ApiServer => behind == 0,
            Self::ControllerManager | Self::Scheduler => (0..=1).contains(&behind),
            Self::Kubectl => (-1..=1).contains(&behind),
            Self::Kubelet | Self::Proxy => (0..=if server.minor >= 28 { 3 } else { 2 }).contains(&behind),
            Self::Etcd | Self::Agnhost | Self::CoreDns => true,
        }
    }

    /// What it says its version is: the first line it prints that carries one. Nothing if it does not run.
    pub fn version_line(self, path: &Path) -> Option<String> {
        let arguments: &[&str] = match self {
            Self::Kubectl => &["version", "--client"],
            Self::CoreDns => &["-version"],
            _ => &["--version"],
        };
        let ask = || Command::new(path).args(arguments).stdin(Stdio::null()).output();
        // A file that another process holds open for writing, if only between its fork and exec, is busy for a moment.
        let output = (0..BUSY_TRIES)
            .map(|_| ask())
            .find(|result| !matches!(result, Err(error) if error.kind() == ErrorKind::ExecutableFileBusy))?
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // agnhost, built outside its image, says `app version development`: that it runs has to be enough.
        let tells = |line: &&str| self == Self::Agnhost || line.bytes().any(|byte| byte.is_ascii_digit());
        let line = text.lines().find(tells)?;
        output.status.success().then(|| line.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_set_is_what_needs_no_kubelet() {
        let names: Vec<_> = Set::Light.programs().iter().map(|program| program.name()).collect();
        assert_eq!(
            names,
            ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"]
        );
        assert_eq!(Set::Full.programs().len(), 9);
    }

    #[test]
    fn the_skew_policy_bounds_what_is_used() {
        let at = |minor| Version { minor, patch: 0 };
        assert!(Program::Proxy.fits(at(33), at(36)));
        assert!(!Program::Proxy.fits(at(32), at(36)));
        assert!(!Program::Proxy.fits(at(37), at(36)));
        assert!(!Program::Proxy.fits(at(17), at(20)), "two minors before 1.28");
        assert!(Program::Kubectl.fits(at(37), at(36)));
        assert!(!Program::ControllerManager.fits(at(34), at(36)));
    }
}
