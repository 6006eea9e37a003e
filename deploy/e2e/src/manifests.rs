//! Manifests of a story: read from files, changed as a user would, completed with the EndpointSlices that the
//! endpoint controller would write.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use model::objects::{EndpointSlice, ObjectSet};
use model::{Family, Timestamp};
use serde_json::{Value, json};

/// The directory of the stories' manifests.
pub fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stories")
}

/// The manifests of one story, as text by file name.
#[derive(Clone, Debug)]
pub struct Manifests {
    files: Vec<(String, String)>,
}

impl Manifests {
    /// Reads `cluster.yaml` and the named story files.
    pub fn read(names: &[&str]) -> Result<Self> {
        let files = std::iter::once(&"cluster.yaml")
            .chain(names)
            .map(|name| {
                let path = stories().join(name);
                let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                Ok(((*name).to_owned(), text))
            })
            .collect::<Result<_>>()?;
        Ok(Self { files })
    }

    /// Replaces `from`, which must occur exactly once, by `to`.
    pub fn edit(&mut self, from: &str, to: &str) -> Result<()> {
        let count: usize = self.files.iter().map(|(_, text)| text.matches(from).count()).sum();
        if count != 1 {
            bail!("`{from}` occurs {count} times in the manifests, not once");
        }
        for (_, text) in &mut self.files {
            *text = text.replace(from, to);
        }
        Ok(())
    }

    /// Adds one more document.
    pub fn add(&mut self, name: &str, text: &str) {
        self.files.push((name.to_owned(), text.to_owned()));
    }

    /// The text of each file.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(_, text)| text.as_str())
    }

    /// The objects, EndpointSlices of Services with a selector included.
    pub fn objects(&self) -> Result<ObjectSet> {
        let mut reader = objects::Reader::new(Timestamp(0));
        for (name, text) in &self.files {
            reader.add(name, Timestamp(0), text);
        }
        let mut set = match reader.finish() {
            Ok(read) => read.set,
            Err(refusals) => {
                let text: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                bail!("manifests refused:\n{}", text.join("\n"));
            }
        };
        for slice in objects::view::derive_slices(&set) {
            set.slices.insert(slice.meta.key.clone(), slice);
        }
        set.coverage.slices = true;
        Ok(set)
    }

    /// Writes everything into `directory` as the collector reads it; unchanged files are left alone.
    pub fn write(&self, directory: &Path) -> Result<ObjectSet> {
        let set = self.objects()?;
        for (name, text) in &self.files {
            write_if_changed(&directory.join(name), text)?;
        }
        let slices: Vec<Value> =
            set.slices.values().filter(|slice| slice.meta.source.is_empty()).map(manifest).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": slices });
        write_if_changed(&directory.join("endpointslices.json"), &format!("{list:#}\n"))?;
        Ok(set)
    }
}

/// Replaces a file in one step, so that no reader sees half of it.
fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).with_context(|| format!("write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}

fn manifest(slice: &EndpointSlice) -> Value {
    let endpoints: Vec<Value> = slice
        .endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "addresses": endpoint.addresses,
                "conditions": { "ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating },
                "nodeName": endpoint.node,
                "targetRef": endpoint.pod.as_ref().map(|pod| json!({ "kind": "Pod", "namespace": pod.namespace, "name": pod.name })),
            })
        })
        .collect();
    let ports: Vec<Value> = slice
        .ports
        .iter()
        .map(|port| json!({ "name": port.name, "port": port.port, "protocol": port.protocol.upper() }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "namespace": slice.meta.key.namespace, "name": slice.meta.key.name, "labels": slice.meta.labels },
        "addressType": if slice.family == Some(Family::Ipv6) { "IPv6" } else { "IPv4" },
        "endpoints": endpoints,
        "ports": ports,
    })
}
