//! Archives of states that kube-proxy's own unit tests check. They lie beside the project or where `WHY_DROPPED_CORPUS`
//! says, and are never part of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folder of the corpus that holds an archive for each kind of rules.
const CORPUS: &str = "kube-proxy";

/// Unpacks the archive; says so and gives nothing if there is none.
pub fn unpack(kind: &str) -> Option<tempfile::TempDir> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let beside = || workspace.join("../shared/corpus");
    let corpus = std::env::var_os("WHY_DROPPED_CORPUS").map_or_else(beside, PathBuf::from);
    let archive = corpus.join(CORPUS).join(format!("{kind}.tar.xz"));
    if !archive.is_file() {
        eprintln!("skipped: no kube-proxy corpus at {} (set WHY_DROPPED_CORPUS)", archive.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success(), "tar could not unpack {}", archive.display());
    Some(folder)
}

/// The cases of one kind, by file name.
pub fn cases(folder: &Path, kind: &str) -> Vec<Value> {
    let entries = std::fs::read_dir(folder.join(kind)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let json = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}
