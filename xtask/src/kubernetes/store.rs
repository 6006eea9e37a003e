//! Built programs, kept: one entry for each graph, Go and set of dependencies.
//!
//! ```text
//! <cache>/why-dropped/kubernetes/
//!   v1.36.3-go1.26.8-1f2e3d4c/bin/kube-apiserver …   what was built
//!   v1.36.3-go1.26.8-1f2e3d4c/manifest.json          what is complete: sizes, seconds it took
//!   v1.36.3-go1.26.8-1f2e3d4c.building/              sources' module and half-made programs; swept by the next build
//!   together/<hash>/kube-apiserver -> …              one directory for a cluster, of programs from several places
//!   lock                                             held while building
//! ```
//!
//! A program counts when the manifest names it and its file has the size noted there. Programs are renamed into place
//! before the manifest is, so whatever interrupts a build leaves nothing that counts and is not whole.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::program::Program;

/// How much of a hash names an entry.
const HASH_DIGITS: usize = 8;

/// The folder of all entries.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Programs that belong together.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    programs: BTreeMap<String, Made>,
}

/// What the manifest knows of one program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Made {
    pub bytes: u64,
    pub seconds: f64,
}

impl Store {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Waits for other builds to end, saying so, and keeps others from starting until the result is dropped.
    pub fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.root).with_context(|| format!("create {}", self.root.display()))?;
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!(
                    "kubernetes: another build is running (it holds {}); waiting for it",
                    path.display()
                );
                file.lock().with_context(|| format!("lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        Ok(file)
    }

    /// The entry of this name, with what in it is whole.
    pub fn entry(&self, name: &str) -> Entry {
        Entry::read(self.root.join(name))
    }

    /// Entries whose names begin so, the one with most programs first.
    pub fn entries(&self, prefix: &str) -> Vec<Entry> {
        let names = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut entries: Vec<Entry> = names
            .filter_map(|file| file.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix) && !name.ends_with(".building"))
            .map(|name| self.entry(&name))
            .filter(|entry| !entry.programs.is_empty())
            .collect();
        entries.sort_by(|a, b| (b.programs.len(), &a.path).cmp(&(a.programs.len(), &b.path)));
        entries
    }

    /// One directory with all these programs under their plain names. The same programs give the same directory, so it
    /// is never changed under a running cluster.
    pub fn together(&self, programs: &[(Program, PathBuf)]) -> Result<PathBuf> {
        let listing: Vec<String> =
            programs.iter().map(|(program, path)| format!("{} {}", program.name(), path.display())).collect();
        let directory = self.root.join("together").join(hash(listing.join("\n").as_bytes()));
        let is_whole = |directory: &Path| {
            programs.iter().all(|(program, path)| {
                fs::read_link(directory.join(program.name())).is_ok_and(|to| to == *path)
            })
        };
        if is_whole(&directory) {
            return Ok(directory);
        }
        let fresh = directory.with_extension(std::process::id().to_string());
        let made = || -> Result<()> {
            fs::create_dir_all(&fresh)?;
            for (program, path) in programs {
                std::os::unix::fs::symlink(path, fresh.join(program.name()))?;
            }
            if fs::rename(&fresh, &directory).is_err() && !is_whole(&directory) {
                // A damaged one is in the way.
                fs::remove_dir_all(&directory)?;
                fs::rename(&fresh, &directory)?;
            }
            Ok(())
        };
        let result =
            made().with_context(|| format!("collect links to the programs in {}", directory.display()));
        if fresh.exists() {
            fs::remove_dir_all(&fresh).ok();
        }
        result.map(|()| directory)
    }
}

impl Entry {
    fn read(path: PathBuf) -> Self {
        let manifest = fs::read(path.join("manifest.json")).unwrap_or_default();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
        let programs = manifest.as_object().into_iter().flatten().filter_map(|(name, made)| {
            let made = Made { bytes: made["bytes"].as_u64()?, seconds: made["seconds"].as_f64()? };
            let file = fs::metadata(path.join("bin").join(name)).ok()?;
            let is_whole =
                file.is_file() && file.len() == made.bytes && file.permissions().mode() & 0o111 != 0;
            is_whole.then(|| (name.clone(), made))
        });
        let programs = programs.collect();
        Self { path, programs }
    }

    /// Where the program is, if it is here and whole.
    pub fn program(&self, program: Program) -> Option<PathBuf> {
        self.programs.contains_key(program.name()).then(|| self.path.join("bin").join(program.name()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is here, by name.
    pub fn programs(&self) -> &BTreeMap<String, Made> {
        &self.programs
    }

    /// An empty directory to build in, next to this entry; what an interrupted build left there is removed. Only under
    /// the lock.
    pub fn workshop(&self) -> Result<Workshop> {
        let path = self.path.with_file_name(format!(
            "{}.building",
            self.path.file_name().unwrap_or_default().to_string_lossy()
        ));
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Workshop { path })
    }

    /// Takes in a program that was built in the workshop. Only under the lock.
    pub fn take_in(&mut self, program: Program, built: &Path, seconds: f64) -> Result<()> {
        let take = || -> Result<u64> {
            fs::create_dir_all(self.path.join("bin"))?;
            let bytes = fs::metadata(built)?.len();
            // On the disk before the manifest says so: a power cut must not leave a whole size with empty content.
            File::open(built)?.sync_all()?;
            fs::rename(built, self.path.join("bin").join(program.name()))?;
            Ok(bytes)
        };
        let bytes = take().with_context(|| format!("keep {} in {}", program.name(), self.path.display()))?;
        self.programs.insert(program.name().to_owned(), Made { bytes, seconds });
        let manifest: serde_json::Map<String, Value> = self
            .programs
            .iter()
            .map(|(name, made)| (name.clone(), json!({ "bytes": made.bytes, "seconds": made.seconds })))
            .collect();
        let fresh = self.path.join("manifest.json.new");
        let text = serde_json::to_string_pretty(&manifest)?;
        fs::write(&fresh, text + "\n")
            .and_then(|()| fs::rename(&fresh, self.path.join("manifest.json")))
            .with_context(|| format!("write the manifest of {}", self.path.display()))
    }
}

/// A directory to build in, removed when done with.
#[derive(Debug)]
pub struct Workshop {
    path: PathBuf,
}

impl Workshop {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// A short name for content: SHA-256, cut.
pub fn hash(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut text = format!("{:x}", Sha256::digest(content));
    text.truncate(HASH_DIGITS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with an API server and an etcd of a few bytes.
    fn entry(store: &Store, name: &str) -> Entry {
        let mut entry = store.entry(name);
        let workshop = entry.workshop().unwrap();
        for program in [Program::ApiServer, Program::Etcd] {
            let built = workshop.path().join(program.name());
            fs::write(&built, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&built, fs::Permissions::from_mode(0o755)).unwrap();
            entry.take_in(program, &built, 1.5).unwrap();
        }
        entry
    }

    #[test]
    fn what_was_taken_in_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("kubernetes"));
        entry(&store, "v1.36.3-go1.26.8-aa");
        let again = &store.entries("v1.36.3-go1.26.8-")[0];
        let path = again.program(Program::ApiServer).unwrap();
        assert!(path.ends_with("v1.36.3-go1.26.8-aa/bin/kube-apiserver"), "{}", path.display());
        assert_eq!(again.programs()["etcd"], Made { bytes: 10, seconds: 1.5 });
        assert_eq!(again.program(Program::Kubelet), None);
        assert!(store.entries("v1.36.3-go1.26.9-").is_empty());
        let left: Vec<_> = fs::read_dir(folder.path().join("kubernetes")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "the workshop is gone: {left:?}");
    }

    #[test]
    fn a_broken_program_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let path = entry(&store, "e").program(Program::ApiServer).unwrap();
        fs::write(&path, "#!").unwrap();
        assert_eq!(store.entry("e").program(Program::ApiServer), None, "cut short");
        assert!(store.entry("e").program(Program::Etcd).is_some());
        fs::write(folder.path().join("e/manifest.json"), "{\"etcd\":").unwrap();
        assert_eq!(store.entry("e").program(Program::Etcd), None, "no manifest that can be read");
        assert!(store.entries("").is_empty());
    }

    #[test]
    fn leftovers_of_an_interrupted_build_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        fs::create_dir_all(folder.path().join("e.building/bin")).unwrap();
        assert!(store.entries("").is_empty());
        let workshop = store.entry("e").workshop().unwrap();
        assert_eq!(fs::read_dir(workshop.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_builders_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let held = store.lock().unwrap();
        let other = File::open(folder.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }

    #[test]
    fn programs_from_several_places_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_path_buf());
        let chosen = [
            (Program::Etcd, PathBuf::from("/usr/bin/etcd")),
            (Program::Proxy, PathBuf::from("/a/kube-proxy")),
        ];
        let directory = store.together(&chosen).unwrap();
        assert_eq!(fs::read_link(directory.join("kube-proxy")).unwrap(), Path::new("/a/kube-proxy"));
        assert_eq!(store.together(&chosen).unwrap(), directory);
        fs::remove_file(directory.join("etcd")).unwrap();
        assert_eq!(store.together(&chosen).unwrap(), directory, "mended");
        assert_eq!(fs::read_link(directory.join("etcd")).unwrap(), Path::new("/usr/bin/etcd"));
        assert_ne!(store.together(&chosen[..1]).unwrap(), directory);
        assert_eq!(fs::read_dir(folder.path().join("together")).unwrap().count(), 2);
    }
}
