//! The Go on this machine, and the throw-away modules that programs are built in.
//!
//! `k8s.io/kubernetes` cannot be built with `go install`: its go.mod replaces the staging modules by folders that only
//! its git repository has. The module that is written here carries the same requirements, with those replacements
//! turned to the published versions, so every dependency has the version that the release itself was built with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::program::Graph;
use super::release::{FIRST_THAT_SWITCHES, Go, Release, Toolchain, Version};
use crate::process::{find, output};

/// CoreDNS as full clusters run it.
pub const COREDNS: &str = "v1.14.7";
const KUBERNETES: &str = "k8s.io/kubernetes";

/// A Go that will build, with the toolchain settled.
#[derive(Debug)]
pub struct Builder {
    go: PathBuf,
    /// What `GOTOOLCHAIN` is set to.
    toolchain: String,
    /// What compiles in the end.
    pub version: Go,
}

impl Builder {
    /// The Go for this release, or why there is none.
    pub fn of(release: &Release) -> Result<Self, String> {
        let install = |what: &str| {
            let needed = match release.toolchain {
                Toolchain::AtLeast(go) => format!("{go} or newer"),
                Toolchain::Exactly(go) => {
                    format!("{FIRST_THAT_SWITCHES} or newer, which brings {go} by itself")
                }
            };
            format!(
                "{what}, and Kubernetes {} has to be built: install {needed} (https://go.dev/dl) and put `go` on PATH",
                release.version
            )
        };
        let standard = PathBuf::from("/usr/local/go/bin/go");
        let go = find("go")
            .or_else(|| Some(standard).filter(|go| go.is_file()))
            .ok_or_else(|| install("there is no Go"))?;
        let text =
            output(Command::new(&go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/"))
                .map_err(|error| install(&format!("the Go at {} does not run ({error:#})", go.display())))?;
        let own = Go::parse(&text)
            .ok_or_else(|| install(&format!("the Go at {} calls itself `{}`", go.display(), text.trim())))?;
        let (toolchain, version) =
            choose(own, release.toolchain).ok_or_else(|| install(&format!("{own} is too old")))?;
        Ok(Self { go, toolchain, version })
    }

    /// A go command in this directory, with nothing of the user's settings that would change what is built.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new("nice");
        command
            .arg(&self.go)
            .current_dir(directory)
            .env("GOTOOLCHAIN", &self.toolchain)
            .env("GOFLAGS", "-mod=mod -buildvcs=false")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0")
            .env_remove("GOOS")
            .env_remove("GOARCH");
        command
    }

    /// Writes the module that the programs of this graph are built in and returns the hash of what pins its dependencies.
    pub fn module(&self, graph: Graph, release: &Release, directory: &Path) -> Result<String> {
        let (path, version) = match graph {
            Graph::Kubernetes => (KUBERNETES, release.version.to_string()),
            Graph::CoreDns => ("github.com/coredns/coredns", COREDNS.to_owned()),
        };
        // Outside any module; the directory's own go.mod is only now being made.
        let told = output(self.command(Path::new("/")).args([
            "mod",
            "download",
            "-json",
            &format!("{path}@{version}"),
        ]))
        .with_context(|| format!("download the module {path} {version}"))?;
        let told: Value = serde_json::from_str(&told).context("read what `go mod download` prints")?;
        let file =
            |key: &str| told[key].as_str().with_context(|| format!("`go mod download` tells no {key}"));
        let (manifest, source) = (PathBuf::from(file("GoMod")?), PathBuf::from(file("Dir")?));
        let text =
            std::fs::read_to_string(&manifest).with_context(|| format!("read {}", manifest.display()))?;
        let wrapped = wrap(&text, path, &version, release.version)?;
        std::fs::write(directory.join("go.mod"), wrapped)?;
        let sums = source.join("go.sum");
        let sums = std::fs::read(&sums).with_context(|| format!("read {}", sums.display()))?;
        // The release's own sums save a round trip for each module, and are checked like any other.
        std::fs::write(directory.join("go.sum"), &sums)?;
        Ok(super::store::hash(&sums))
    }
}

/// What to set `GOTOOLCHAIN` to, and the version that then compiles.
fn choose(own: Go, wanted: Toolchain) -> Option<(String, Go)> {
    match wanted {
        Toolchain::AtLeast(go) if own >= go => Some(("local".to_owned(), own)),
        Toolchain::Exactly(go) if own == go => Some(("local".to_owned(), own)),
        Toolchain::AtLeast(go) | Toolchain::Exactly(go) => {
            (own >= FIRST_THAT_SWITCHES).then(|| (go.to_string(), go))
        }
    }
}

/// The go.mod of a module that requires `path` and pins what `path` itself pins.
fn wrap(text: &str, path: &str, version: &str, kubernetes: Version) -> Result<String> {
    let staging = kubernetes.of_staging();
    let mut wrapped = String::new();
    let mut own_name = false;
    for line in text.lines() {
        if line.starts_with("module ") {
            own_name = true;
            wrapped.push_str("module why-dropped.test/programs\n");
            continue;
        }
        let code = line.split("//").next().unwrap_or_default().trim_end();
        let line = match code.split_once("=> ./staging/src/") {
            Some((left, module)) => format!("{left}=> {module} {staging}"),
            None => match code.strip_suffix(" v0.0.0") {
                Some(module) if module.trim_start().trim_start_matches("require ").starts_with("k8s.io/") => {
                    format!("{module} {staging}")
                }
                _ => line.to_owned(),
            },
        };
        if line.contains("=> ./") || line.contains("=> ../") {
            bail!("{path} {version} replaces a module by a folder that is not published: `{}`", line.trim());
        }
        wrapped.push_str(&line);
        wrapped.push('\n');
    }
    if !own_name {
        bail!("the go.mod of {path} {version} has no `module` line");
    }
    wrapped.extend(["\nrequire ", path, " ", version, "\n"]);
    Ok(wrapped)
}

/// Linker flags: small, and with the version that the release's own build scripts put in (hack/lib/version.sh).
pub fn linker_flags(graph: Graph, release: &Release) -> String {
    let mut flags = "-s -w".to_owned();
    if graph == Graph::Kubernetes {
        let facts = [
            ("gitVersion", release.version.to_string()),
            ("gitMajor", "1".to_owned()),
            ("gitMinor", release.version.minor.to_string()),
            ("gitTreeState", "clean".to_owned()),
            ("gitCommit", "0".repeat(40)),
            ("buildDate", "1970-01-01T00:00:00Z".to_owned()),
        ];
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            for (name, value) in &facts {
                flags.extend([" -X ", package, ".", name, "=", value]);
            }
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "// generated\nmodule k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n\t\
        k8s.io/klog/v2 v2.4.0\n\tk8s.io/cri-client v0.0.0 // indirect\n\texample.org/x v0.0.0\n)\n\n\
        replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\ta.org/b => a.org/c v1.0.0\n)\n";
    const V: Version = Version { minor: 36, patch: 3 };

    #[test]
    fn staging_folders_become_published_versions() {
        let wrapped = wrap(GO_MOD, KUBERNETES, "v1.36.3", V).unwrap();
        for line in [
            "module why-dropped.test/programs",
            "\tk8s.io/api v0.36.3",
            "\tk8s.io/cri-client v0.36.3",
            "\tk8s.io/klog/v2 v2.4.0",
            "\texample.org/x v0.0.0",
            "\tk8s.io/api => k8s.io/api v0.36.3",
            "\ta.org/b => a.org/c v1.0.0",
            "require k8s.io/kubernetes v1.36.3",
        ] {
            assert!(wrapped.lines().any(|have| have == line), "no line {line:?} in\n{wrapped}");
        }
        assert!(!wrapped.contains("staging"), "{wrapped}");
    }

    #[test]
    fn a_replacement_that_is_nowhere_published_is_refused() {
        let text = "module m\nreplace x.org/y => ./third_party/y\n";
        let error = wrap(text, "m", "v1.0.0", V).unwrap_err().to_string();
        assert!(error.contains("./third_party/y"), "{error}");
        assert!(wrap("", "m", "v1.0.0", V).is_err());
    }

    #[test]
    fn the_toolchain_is_the_machines_own_where_it_will_do() {
        let go = |minor, patch| Go { minor, patch };
        let newest = Toolchain::AtLeast(go(26, 0));
        assert_eq!(choose(go(26, 8), newest), Some(("local".to_owned(), go(26, 8))));
        assert_eq!(choose(go(24, 1), newest), Some(("go1.26.0".to_owned(), go(26, 0))));
        assert_eq!(choose(go(19, 8), newest), None, "Debian's Go brings no other");
        let old = Toolchain::Exactly(go(21, 13));
        assert_eq!(choose(go(26, 8), old), Some(("go1.21.13".to_owned(), go(21, 13))));
        assert_eq!(choose(go(21, 13), old), Some(("local".to_owned(), go(21, 13))));
    }

    #[test]
    fn the_version_is_linked_in() {
        let flags = linker_flags(Graph::Kubernetes, &super::super::release::RELEASES[0]);
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.36.3"), "{flags}");
        assert_eq!(linker_flags(Graph::CoreDns, &super::super::release::RELEASES[0]), "-s -w");
    }
}
