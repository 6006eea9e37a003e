//! Programs that are already there: in `KUBEBUILDER_ASSETS`, on PATH.

use std::path::PathBuf;

use super::program::Program;
use super::release::{Asked, Version};

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Where that is, in words.
    pub place: &'static str,
    /// The line in which it tells its version.
    pub told: String,
    /// Its release, where its releases are those of Kubernetes.
    pub version: Option<Version>,
}

/// Directories to look in, the first that has a program wins.
#[derive(Clone, Debug, Default)]
pub struct Places(pub Vec<(PathBuf, &'static str)>);

impl Places {
    /// Those of this process.
    pub fn of_environment() -> Self {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
        let path = crate::process::path_with_tools();
        let assets = assets.map(|directory| (PathBuf::from(directory), "KUBEBUILDER_ASSETS"));
        Self(
            assets
                .into_iter()
                .chain(std::env::split_paths(&path).map(|directory| (directory, "PATH")))
                .collect(),
        )
    }

    /// The first program of that name that runs and is `acceptable`.
    pub fn find(&self, program: Program, acceptable: impl Fn(Option<Version>) -> bool) -> Option<Found> {
        self.0.iter().find_map(|(directory, place)| {
            let path = directory.join(program.name());
            if !path.is_file() {
                return None;
            }
            let told = program.version_line(&path)?;
            let version = Version::in_text(&told).filter(|_| program.is_released_with_kubernetes());
            acceptable(version).then_some(Found { path, place, told, version })
        })
    }

    /// What of these programs is there and will do: of the version asked for, or, where none was, such that it fits
    /// the API server.
    pub fn survey(
        &self,
        programs: &[Program],
        asked: Option<Asked>,
        newest: Version,
    ) -> Vec<(Program, Found)> {
        let server = match asked {
            Some(_) => None,
            None => {
                self.find(Program::ApiServer, |version| version.is_some()).and_then(|found| found.version)
            }
        };
        let fits = |program: Program, version: Option<Version>| match (
            program.is_released_with_kubernetes(),
            version,
        ) {
            (false, _) => true,
            (true, None) => false,
            (true, Some(version)) => match asked {
                Some(asked) => asked.is_met_by(version),
                None => program.fits(version, server.unwrap_or(newest)),
            },
        };
        programs
            .iter()
            .filter_map(|&program| Some((program, self.find(program, |version| fits(program, version))?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NEWEST: Version = Version { minor: 36, patch: 3 };

    /// A directory with programs that only tell a version.
    fn directory(programs: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, says) in programs {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }

    fn names(found: &[(Program, Found)]) -> Vec<&'static str> {
        found.iter().map(|(program, _)| program.name()).collect()
    }

    const PROGRAMS: &[Program] = &[Program::Etcd, Program::ApiServer, Program::Proxy, Program::Kubectl];

    #[test]
    fn only_the_version_asked_for_is_used() {
        let folder = directory(&[
            ("etcd", "etcd Version: 3.4.23"),
            ("kube-apiserver", "Kubernetes v1.36.3"),
            ("kube-proxy", "Kubernetes v1.35.0"),
            ("kubectl", "no version here"),
        ]);
        let places = Places(vec![(folder.path().to_path_buf(), "PATH")]);
        let found = places.survey(PROGRAMS, Some(Asked::Minor(36)), NEWEST);
        assert_eq!(names(&found), ["etcd", "kube-apiserver"]);
        assert_eq!(found[1].1.told, "Kubernetes v1.36.3");
        assert_eq!(names(&places.survey(PROGRAMS, Some(Asked::Minor(35)), NEWEST)), ["etcd", "kube-proxy"]);
    }

    #[test]
    fn without_a_version_what_fits_the_api_server_is_used() {
        let folder = directory(&[
            ("kube-apiserver", "Kubernetes v1.31.2"),
            ("kube-proxy", "Kubernetes v1.36.3"),
            ("kubectl", "Client Version: v1.32.0"),
        ]);
        let places = Places(vec![(folder.path().to_path_buf(), "PATH")]);
        assert_eq!(names(&places.survey(PROGRAMS, None, NEWEST)), ["kube-apiserver", "kubectl"]);
    }

    #[test]
    fn the_first_place_wins_unless_its_program_does_not_run() {
        let first = directory(&[("etcd", "etcd Version: 3.6.8")]);
        let second = directory(&[("etcd", "etcd Version: 3.4.23"), ("kube-proxy", "Kubernetes v1.36.3")]);
        let broken = first.path().join("kube-proxy");
        fs::write(&broken, "not a program").unwrap();
        let places = Places(vec![
            (first.path().to_path_buf(), "KUBEBUILDER_ASSETS"),
            (second.path().to_path_buf(), "PATH"),
        ]);
        let found = places.survey(PROGRAMS, None, NEWEST);
        assert_eq!(names(&found), ["etcd", "kube-proxy"]);
        assert_eq!((found[0].1.place, found[1].1.place), ("KUBEBUILDER_ASSETS", "PATH"));
    }
}
