//! Which files the given paths stand for.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Limits;
use crate::error::{FileProblem, FileProblemKind};

/// A file as it was when looked at. Anything that replaces or rewrites it changes one of these, `cp -p` included,
/// which keeps the modification time but not the change time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signature {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

/// The files behind the paths, in a stable order, each once; and the paths that lead nowhere.
pub(super) fn find(paths: &[PathBuf], limits: Limits) -> (Vec<PathBuf>, Vec<FileProblem>) {
    let mut search = Search { limits, found: Vec::new(), problems: Vec::new(), seen: BTreeSet::new() };
    for path in paths {
        search.given(path);
    }
    (search.found, search.problems)
}

/// What the paths look like now; two equal results mean that nothing changed in between.
pub(super) fn signatures(paths: &[PathBuf], limits: Limits) -> (Vec<Signature>, Vec<String>) {
    let (found, problems) = find(paths, limits);
    let mut problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let mut signatures = Vec::with_capacity(found.len());
    for path in found {
        match fs::metadata(&path) {
            Ok(metadata) => signatures.push(Signature {
                path,
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    (signatures, problems)
}

struct Search {
    limits: Limits,
    found: Vec<PathBuf>,
    problems: Vec<FileProblem>,
    /// Files and directories visited, by device and inode: a link to a parent would never end otherwise, and a file
    /// named twice would be refused for its duplicates.
    seen: BTreeSet<(u64, u64)>,
}

impl Search {
    fn given(&mut self, path: &Path) {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.problem(path, FileProblemKind::Io(error)),
        };
        if metadata.is_dir() {
            let (found, problems) = (self.found.len(), self.problems.len());
            self.directory(path, &metadata, 0);
            if self.found.len() == found && self.problems.len() == problems {
                self.problem(path, FileProblemKind::EmptyDirectory);
            }
        } else {
            self.file(path, &metadata);
        }
    }

    fn directory(&mut self, path: &Path, metadata: &fs::Metadata, depth: usize) {
        if depth > self.limits.depth {
            return self.problem(path, FileProblemKind::TooDeep(self.limits.depth));
        }
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
            Err(error) => return self.problem(path, FileProblemKind::Io(error)),
        };
        entries.sort();
        for entry in entries {
            let hidden = entry.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            match fs::metadata(&entry) {
                Ok(metadata) if metadata.is_dir() => self.directory(&entry, &metadata, depth + 1),
                Ok(metadata) if is_object_file(&entry) => self.file(&entry, &metadata),
                Ok(_) => {}
                // Gone between listing and looking, or a dangling link to something that is not ours to read.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_object_file(&entry) => {}
                Err(error) => self.problem(&entry, FileProblemKind::Io(error)),
            }
        }
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata) {
        if self.found.len() >= self.limits.files {
            let told =
                self.problems.iter().any(|problem| matches!(problem.kind, FileProblemKind::TooMany(_)));
            if !told {
                self.problem(path, FileProblemKind::TooMany(self.limits.files));
            }
            return;
        }
        // Opening a pipe or a device would block or never end.
        if !metadata.is_file() {
            return self.problem(path, FileProblemKind::NotAFile);
        }
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            self.found.push(path.to_owned());
        }
    }

    fn problem(&mut self, path: &Path, kind: FileProblemKind) {
        self.problems.push(FileProblem { path: path.to_owned(), kind });
    }
}

fn is_object_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}
