//! Obtains the programs of a Kubernetes cluster: those that are there, those that were built before, the rest from Go
//! modules.
//!
//! Starts none of them; `kubelab` does. Looks for each program in `KUBEBUILDER_ASSETS`, on PATH and in the cache, in
//! that order, and builds what is nowhere. Everything ends up in one directory under plain names.

mod build;
mod go;
mod lookup;
mod program;
mod release;
mod store;

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use lookup::{Found, Places};
use program::Program;
pub use program::Set;
pub use release::Asked;
use release::{RELEASES, Release, newest};
use store::Store;

/// The variable that tells tests and `kubelab` where the programs are.
pub const VARIABLE: &str = "WHY_DROPPED_KUBERNETES";

/// The same for the programs of the oldest release, which some tests run on as well.
pub const OLDEST_VARIABLE: &str = "WHY_DROPPED_KUBERNETES_OLDEST";

/// What came of it.
#[derive(Debug)]
pub enum Obtained {
    /// One directory with all programs of the set under their plain names.
    Ready(PathBuf),
    /// This machine cannot build them; the text says what to install.
    Unavailable(String),
}

/// Gets the programs of the set and says on standard error what came from where: standard output may be for a directory.
pub fn obtain(set: Set, asked: Option<Asked>) -> Result<Obtained> {
    obtain_from(&store(), &Places::of_environment(), set, asked)
}

fn store() -> Store {
    Store::new(process::cache().join("kubernetes"))
}

fn obtain_from(store: &Store, places: &Places, set: Set, asked: Option<Asked>) -> Result<Obtained> {
    let found = places.survey(set.programs(), asked, newest().version);
    let mut chosen: Vec<(Program, PathBuf)> = Vec::new();
    for (program, Found { path, place, told, .. }) in &found {
        eprintln!("kubernetes: {} from {place}: {} ({told})", program.name(), path.display());
        chosen.push((*program, path.clone()));
    }
    let rest: Vec<Program> = set
        .programs()
        .iter()
        .copied()
        .filter(|program| chosen.iter().all(|(have, _)| have != program))
        .collect();
    if !rest.is_empty() {
        let release = release_of_rest(asked, &found)?;
        let mut missing = Vec::new();
        for program in rest {
            match build::kept(store, program, release) {
                Some(path) => {
                    eprintln!("kubernetes: {} from the cache: {}", program.name(), path.display());
                    chosen.push((program, path));
                }
                None => missing.push(program),
            }
        }
        match build::build(store, &missing, release)? {
            Ok(built) => chosen.extend(built),
            Err(why) => {
                let names: Vec<_> = missing.iter().map(|program| program.name()).collect();
                return Ok(Obtained::Unavailable(format!("no {}: {why}", names.join(", "))));
            }
        }
    }
    chosen.sort();
    Ok(Obtained::Ready(store.together(&chosen)?))
}

/// The release of what is not found: the one asked for, else that of the API server found, else the newest.
fn release_of_rest(asked: Option<Asked>, found: &[(Program, Found)]) -> Result<&'static Release> {
    if let Some(asked) = asked {
        return asked.release();
    }
    let server = found.iter().find(|(program, _)| *program == Program::ApiServer);
    match server.and_then(|(_, found)| found.version) {
        Some(version) => Asked::Minor(version.minor).release(),
        None => Ok(newest()),
    }
}

/// Prints the releases that can be built and what of them is kept.
pub fn list() {
    let store = store();
    for release in RELEASES {
        let entries = store.entries(&format!("{}-", release.version));
        println!("{}{}", release.version, if entries.is_empty() { "  nothing built yet" } else { "" });
        for entry in entries {
            println!("  {}", entry.path().display());
            for (name, made) in entry.programs() {
                println!("    {name:24} {:>4} MB, built in {:.0} s", made.bytes / 1_000_000, made.seconds);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_there_is_linked_into_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("assets");
        fs::create_dir(&bin).unwrap();
        for program in Set::Light.programs() {
            let path = bin.join(program.name());
            fs::write(&path, "#!/bin/sh\necho Kubernetes v1.31.2\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let store = Store::new(folder.path().join("cache"));
        let places = Places(vec![(bin.clone(), "KUBEBUILDER_ASSETS")]);
        let Obtained::Ready(directory) = obtain_from(&store, &places, Set::Light, None).unwrap() else {
            panic!("nothing was missing");
        };
        assert_eq!(fs::read_link(directory.join("kube-proxy")).unwrap(), bin.join("kube-proxy"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 6);
    }

    #[test]
    fn a_release_that_cannot_be_built_is_refused_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let error = obtain_from(&store, &Places::default(), Set::Light, Some(Asked::Minor(5))).unwrap_err();
        assert!(error.to_string().contains("v1.5 is not among the releases"), "{error}");
    }
}
