//! `kubelab load`: objects from files and directories into a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Cluster;

/// What objects are read from in directories, as kubectl does (`cli-runtime/pkg/resource/builder.go`, FileExtensions).
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Applies them in order and names each on standard output.
pub fn load(name: &str, paths: &[PathBuf]) -> Result<()> {
    let files = files(paths)?;
    let cluster = Cluster::attach(name)?;
    for path in files {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let applied = match cluster.load(&text) {
            Ok(applied) => applied,
            Err(error) => bail!("load {}: {}", path.display(), told(&error)),
        };
        for object in applied {
            println!("{object} applied");
        }
    }
    Ok(())
}

/// In the API server's own words where it was the one to refuse.
fn told(error: &anyhow::Error) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => format!("{error}: {}", status.message),
        _ => format!("{error:#}"),
    }
}

/// Imports archives of images.
pub fn load_images(name: &str, archives: &[PathBuf]) -> Result<()> {
    let cluster = Cluster::attach(name)?;
    for archive in archives {
        cluster.load_image(archive)?;
        println!("{} imported", archive.display());
    }
    Ok(())
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
            let mut found: Vec<PathBuf> =
                entries.flatten().map(|entry| entry.path()).filter(|path| is_manifest(path)).collect();
            found.sort();
            ensure!(!found.is_empty(), "no .yaml, .yml or .json file in {}", path.display());
            all.extend(found);
        } else if path.exists() {
            all.push(path.clone());
        } else {
            bail!("{} does not exist", path.display());
        }
    }
    Ok(all)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|end| EXTENSIONS.iter().any(|extension| end == *extension))
}
