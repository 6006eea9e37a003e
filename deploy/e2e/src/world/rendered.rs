//! The lab: kube-proxy's and a policy engine's rules are rendered from the manifests, and the collector reads files.
//!
//! What is rendered is held to captures of the real programs by `netlab`'s tests.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use model::walk::Backend;
use model::{Key, ObjectSet};
use netlab::{Lab, Listen, Netns};
use tempfile::TempDir;

use super::{AllEars, World, listening};
use crate::manifests::Manifests;
use crate::program::{self, kube_proxy};

/// A network without a Kubernetes.
#[derive(Debug)]
pub struct Rendered {
    lab: Lab,
    objects: ObjectSet,
    backend: Backend,
    heard: bool,
    directory: TempDir,
}

impl Rendered {
    /// The network of these manifests, with nothing programmed yet.
    pub fn new(name: &str, manifests: &Manifests) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("why-dropped-").tempdir().context("make a directory")?;
        let files = directory.path().join("objects");
        fs::create_dir_all(&files).with_context(|| format!("make {}", files.display()))?;
        let objects = manifests.write(&files)?;
        let lab = Lab::from_objects(name, &objects)?;
        Ok(Self { lab, objects, backend: Backend::IptablesNft, heard: false, directory })
    }

    /// Services are written by the old interface.
    #[must_use]
    pub const fn legacy(mut self) -> Self {
        self.backend = Backend::IptablesLegacy;
        self
    }

    /// The directory of the manifests that the collector reads.
    pub fn object_files(&self) -> PathBuf {
        self.directory.path().join("objects")
    }
}

impl World for Rendered {
    fn name(&self) -> &str {
        self.lab.name()
    }

    fn nodes(&self) -> Vec<String> {
        self.lab.nodes().map(|node| node.spec.name.clone()).collect()
    }

    fn node(&self, name: &str) -> Result<Netns> {
        Ok(self.lab.node(name)?.netns.clone())
    }

    fn pod(&self, key: &Key) -> Result<Netns> {
        Ok(self.lab.get_pod(key)?.netns.clone())
    }

    fn follow(&mut self, manifests: &Manifests, ears: &AllEars) -> Result<ObjectSet> {
        self.objects = manifests.write(&self.object_files())?;
        program::everything(&self.lab, &self.objects, self.backend)?;
        if !self.heard {
            for pod in self.lab.pods() {
                let key = &pod.spec.key;
                for address in listening(&self.objects, ears, key) {
                    pod.listen(Listen { address, ..Listen::on(address.port(), key.to_string()) })?;
                }
            }
            self.heard = true;
        }
        Ok(self.objects.clone())
    }

    fn objects_arguments(&self) -> Vec<OsString> {
        vec!["--objects".into(), self.object_files().into()]
    }

    fn on_node(&self, node: &str, program: &Path) -> Result<Command> {
        Ok(self.node(node)?.command(program))
    }

    fn forget_service(&mut self, node: &str, service: &Key) -> Result<()> {
        Ok(kube_proxy(self.backend)?.load_without(self.lab.node(node)?, &self.objects, service)?)
    }

    fn describe(&self) -> String {
        self.lab.to_string()
    }
}
