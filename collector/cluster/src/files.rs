//! Objects from files: finding them, reading them within bounds, and following their changes.
//!
//! What the text means is the business of `objects`; here a file is a name, a time and a string.

mod find;
mod follow;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use model::Timestamp;
use objects::{ReadObjects, Reader};

use crate::error::{FileProblem, FileProblemKind, FilesError};

pub(crate) use follow::start;

/// How much is read. Each is far above real use and keeps a mistyped path from filling the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file: a whole cluster's `kubectl get pods -A -o json` at about 10 kB a pod, 25,000 pods.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Files.
    pub files: usize,
    /// Nested directories below a given one.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, total_bytes: 1 << 30, files: 10_000, depth: 16 }
    }
}

/// Reads files and directories of `.yaml`, `.yml` and `.json` once.
///
/// A file that is named is read whatever its name; of a directory, everything below it that has one of the three
/// endings, hidden names left out (a ConfigMap volume keeps its old contents in one). Blocks.
pub fn read_files(paths: &[PathBuf], now: Timestamp) -> Result<ReadObjects, FilesError> {
    read_within(paths, now, Limits::default())
}

fn read_within(paths: &[PathBuf], now: Timestamp, limits: Limits) -> Result<ReadObjects, FilesError> {
    let (found, mut problems) = find::find(paths, limits);
    let mut reader = Reader::new(now);
    let mut total = 0;
    for path in &found {
        match read_file(path, limits, &mut total) {
            // A time in the future (another clock) would make all evidence old for ever.
            Ok((text, changed_at)) => reader.add(&path.to_string_lossy(), changed_at.min(now), &text),
            Err(kind) => problems.push(FileProblem { path: path.clone(), kind }),
        }
    }
    if !problems.is_empty() {
        return Err(FilesError::Unreadable(problems));
    }
    reader.finish().map_err(FilesError::Refused)
}

fn read_file(path: &Path, limits: Limits, total: &mut u64) -> Result<(String, Timestamp), FileProblemKind> {
    let file = File::open(path).map_err(FileProblemKind::Io)?;
    let metadata = file.metadata().map_err(FileProblemKind::Io)?;
    if !metadata.is_file() {
        return Err(FileProblemKind::NotAFile);
    }
    let mut bytes = Vec::new();
    // The size may have changed since it was looked at, so the reading itself is bounded.
    file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(FileProblemKind::Io)?;
    let read = bytes.len() as u64;
    if read > limits.file_bytes {
        return Err(FileProblemKind::TooLarge(limits.file_bytes));
    }
    *total += read;
    if *total > limits.total_bytes {
        return Err(FileProblemKind::TooLargeTogether(limits.total_bytes));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| FileProblemKind::NotUtf8(error.utf8_error().valid_up_to()))?;
    let modified = metadata.modified().map_err(FileProblemKind::Io)?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Ok((text, Timestamp(u64::try_from(modified).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

    fn small() -> Limits {
        Limits { file_bytes: 200, total_bytes: 300, files: 3, depth: 2 }
    }

    fn problem(result: Result<ReadObjects, FilesError>) -> String {
        match result {
            Err(FilesError::Unreadable(problems)) => {
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
            other => panic!("expected a problem with a path, got {other:?}"),
        }
    }

    #[test]
    fn a_directory_is_read_through_and_hidden_names_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("deep")).unwrap();
        std::fs::create_dir_all(dir.path().join("..2026_01_01")).unwrap();
        std::fs::write(dir.path().join("a.yaml"), NAMESPACE).unwrap();
        std::fs::write(dir.path().join("deep/b.yml"), NAMESPACE.replace("shop", "web")).unwrap();
        std::fs::write(dir.path().join("..2026_01_01/a.yaml"), "not: [read").unwrap();
        std::fs::write(dir.path().join("README.md"), "not: [read").unwrap();
        let read = read_files(&[dir.path().to_owned()], crate::now()).unwrap();
        assert_eq!(read.set.namespaces.keys().collect::<Vec<_>>(), ["shop", "web"]);
    }

    #[test]
    fn objects_carry_the_time_of_their_file_but_never_a_future_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, NAMESPACE).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let expected = u64::try_from(old.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let read = read_files(std::slice::from_ref(&path), crate::now()).unwrap();
        assert_eq!(read.set.namespaces["shop"].meta.changed_at, Timestamp(expected));
        let read = read_files(&[path], Timestamp(5)).unwrap();
        assert_eq!(read.set.namespaces["shop"].meta.changed_at, Timestamp(5));
    }

    #[test]
    fn everything_wrong_with_the_paths_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        std::fs::write(dir.path().join("binary.yaml"), [b'a', 0xff]).unwrap();
        std::fs::write(dir.path().join("large.yaml"), "#".repeat(201)).unwrap();
        let paths = ["empty", "binary.yaml", "large.yaml", "absent.yaml"].map(|name| dir.path().join(name));
        let text = problem(read_within(&paths, crate::now(), small()));
        for part in [
            "empty: no .yaml",
            "binary.yaml: not UTF-8 text (byte 1)",
            "large.yaml: larger than",
            "absent.yaml: ",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn bounds_hold_over_all_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml"] {
            std::fs::write(dir.path().join(name), "#".repeat(180)).unwrap();
        }
        let text = problem(read_within(&[dir.path().to_owned()], crate::now(), small()));
        assert!(text.contains("b.yaml: with it the files are larger"), "{text}");
        for name in ["a.yaml", "b.yaml", "c.yaml", "d.yaml"] {
            std::fs::write(dir.path().join(name), "#").unwrap();
        }
        let text = problem(read_within(&[dir.path().to_owned()], crate::now(), small()));
        assert!(text.contains("more than 3 files"), "{text}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("1/2/3")).unwrap();
        std::fs::write(dir.path().join("a.yaml"), NAMESPACE).unwrap();
        let text = problem(read_within(&[dir.path().to_owned()], crate::now(), small()));
        assert!(text.contains("nested deeper than 2"), "{text}");
    }

    #[test]
    fn a_directory_that_contains_itself_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), NAMESPACE).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        let read = read_files(&[dir.path().to_owned()], crate::now()).unwrap();
        assert_eq!(read.set.namespaces.len(), 1);
    }
}
