//! Which releases of Kubernetes are built, and with which Go.
//!
//! Two: the newest, and the oldest that builds.
//!
//! What was tried for the oldest, each with the staging modules pinned as for the newest, and go1.21.13:
//! - v1.20.15: kube-proxy builds and runs, kube-apiserver does not: `cmd/kube-apiserver/app/server.go:477: undefined:
//!   generatedopenapi.GetOpenAPIDefinitions`. That code is generated, and was not in the source tree at the time.
//! - v1.21.14, v1.22.17, v1.23.17: the same file, `pkg/generated/openapi/zz_generated.openapi.go`, is not in the modules.
//! - v1.24.17: the first that has it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// A release, `v1.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub minor: u16,
    pub patch: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v1.{}.{}", self.minor, self.patch)
    }
}

impl Version {
    /// The first `v1.N.P` in what a program prints; a suffix such as `-gke.100` or `+k3s1` does not count.
    pub fn in_text(text: &str) -> Option<Self> {
        text.split("v1.").skip(1).find_map(|rest| {
            let (minor, rest) = rest.split_once('.')?;
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            Some(Self { minor: minor.parse().ok()?, patch: rest[..digits].parse().ok()? })
        })
    }

    /// The version of the modules that are published along: `v0.36.3` of `k8s.io/api` belongs to `v1.36.3`.
    pub fn of_staging(self) -> String {
        format!("v0.{}.{}", self.minor, self.patch)
    }
}

/// Which Go a release is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The machine's own if it is at least this, else exactly this one.
    AtLeast(Go),
    /// This one, whatever the machine has: newer ones do not build the release, or change how it behaves.
    Exactly(Go),
}

/// A version of Go, `1.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Go {
    pub minor: u16,
    pub patch: u16,
}

/// The first Go that brings other toolchains through the module proxy (go.dev/doc/toolchain).
pub const FIRST_THAT_SWITCHES: Go = Go { minor: 21, patch: 0 };

impl fmt::Display for Go {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "go1.{}.{}", self.minor, self.patch)
    }
}

impl Go {
    /// Reads what `go env GOVERSION` prints: `go1.26.8`, `go1.27rc1`, `go1.26.8 X:boringcrypto`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("go1.")?;
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
        let minor = numbers.next()?.parse().ok()?;
        let is_final =
            rest[rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())..].starts_with('.');
        let patch = if is_final { numbers.next()?.parse().ok()? } else { 0 };
        Some(Self { minor, patch })
    }
}

/// A release that can be built.
#[derive(Debug)]
pub struct Release {
    pub version: Version,
    pub toolchain: Toolchain,
    /// The main package of etcd in this release's module graph.
    pub etcd: &'static str,
}

/// What can be built, newest first.
pub const RELEASES: &[Release] = &[
    Release {
        version: Version { minor: 36, patch: 3 },
        toolchain: Toolchain::AtLeast(Go { minor: 26, patch: 0 }),
        etcd: "go.etcd.io/etcd/server/v3",
    },
    Release {
        version: Version { minor: 24, patch: 17 },
        toolchain: Toolchain::Exactly(Go { minor: 21, patch: 13 }),
        etcd: "go.etcd.io/etcd/server/v3",
    },
];

/// What `--version` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Newest,
    Oldest,
    Minor(u16),
    Exactly(Version),
}

impl FromStr for Asked {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || match text {
            "newest" => Some(Self::Newest),
            "oldest" => Some(Self::Oldest),
            _ => {
                let rest = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.")?;
                match rest.split_once('.') {
                    None => Some(Self::Minor(number(rest)?)),
                    Some((minor, patch)) => {
                        Some(Self::Exactly(Version { minor: number(minor)?, patch: number(patch)? }))
                    }
                }
            }
        };
        read().with_context(|| {
            format!("`{text}` is no version of Kubernetes; write `newest`, `oldest`, `1.36` or `v1.36.3`")
        })
    }
}

/// A number without sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => write!(formatter, "{}", newest().version),
            Self::Oldest => write!(formatter, "{}", oldest().version),
            Self::Minor(minor) => write!(formatter, "v1.{minor}"),
            Self::Exactly(version) => write!(formatter, "{version}"),
        }
    }
}

impl Asked {
    /// Whether a program of this version is what was asked for.
    pub fn is_met_by(self, version: Version) -> bool {
        match self {
            Self::Newest => version == newest().version,
            Self::Oldest => version == oldest().version,
            Self::Minor(minor) => version.minor == minor,
            Self::Exactly(asked) => version == asked,
        }
    }

    /// The release to build for it.
    pub fn release(self) -> Result<&'static Release> {
        match RELEASES.iter().find(|release| self.is_met_by(release.version)) {
            Some(release) => Ok(release),
            None => bail!(
                "{self} is not among the releases that can be built: {}; put its programs into a directory and name it in KUBEBUILDER_ASSETS",
                RELEASES.iter().map(|release| release.version.to_string()).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

pub fn newest() -> &'static Release {
    &RELEASES[0]
}

pub fn oldest() -> &'static Release {
    &RELEASES[RELEASES.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_asked_for_in_each_spelling() {
        let asked = |text: &str| text.parse::<Asked>();
        assert_eq!(asked("newest").unwrap(), Asked::Newest);
        assert_eq!(asked("oldest").unwrap(), Asked::Oldest);
        assert_eq!(asked("v1.36").unwrap(), Asked::Minor(36));
        assert_eq!(asked("1.36.3").unwrap(), Asked::Exactly(Version { minor: 36, patch: 3 }));
        for bad in ["", "v", "2.1", "1.", "1.36.", "1.+3", "1.36.3.1", "1.99999", "latest"] {
            let error = asked(bad).unwrap_err().to_string();
            assert!(error.contains("write `newest`"), "{bad}: {error}");
        }
    }

    #[test]
    fn only_listed_releases_are_built() {
        assert_eq!(Asked::Minor(36).release().unwrap().version.to_string(), "v1.36.3");
        let error = Asked::Minor(2).release().unwrap_err().to_string();
        assert!(error.contains("v1.36.3") && error.contains("KUBEBUILDER_ASSETS"), "{error}");
    }

    #[test]
    fn releases_are_listed_newest_first() {
        assert!(RELEASES.windows(2).all(|pair| pair[0].version > pair[1].version));
    }

    #[test]
    fn programs_print_versions_with_words_around_them() {
        let version = |text| Version::in_text(text).map(|version| version.to_string());
        assert_eq!(version("Kubernetes v1.36.3").as_deref(), Some("v1.36.3"));
        assert_eq!(version("Client Version: v1.20.15-gke.100").as_deref(), Some("v1.20.15"));
        assert_eq!(
            version("Client Version: version.Info{Major:\"1\", GitVersion:\"v1.20.15\", x}").as_deref(),
            Some("v1.20.15")
        );
        assert_eq!(version("CoreDNS-1.14.7"), None);
        assert_eq!(version("v1.36"), None);
        assert_eq!(version("v1."), None);
    }

    #[test]
    fn versions_of_go_are_read() {
        assert_eq!(Go::parse("go1.26.8\n"), Some(Go { minor: 26, patch: 8 }));
        assert_eq!(Go::parse("go1.26.8 X:boringcrypto"), Some(Go { minor: 26, patch: 8 }));
        assert_eq!(Go::parse("go1.27rc1"), Some(Go { minor: 27, patch: 0 }));
        assert_eq!(Go::parse("go1.20"), Some(Go { minor: 20, patch: 0 }));
        assert_eq!(Go::parse("devel +abc"), None);
    }
}
