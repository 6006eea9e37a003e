//! Images of containers, made of programs that the machine has: nothing is fetched from a registry.
//!
//! Each is an archive as `docker save` writes it (image-spec of Docker, version 1.2) with one layer, imported by `ctr`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::programs::Programs;

/// What holds the namespaces of a pod.
pub const PAUSE: &str = "kubelab.local/pause:1";
/// The test program of Kubernetes, with a shell and a few tools: servers, clients, DNS look-ups.
pub const AGNHOST: &str = "kubelab.local/agnhost:1";
/// The cluster's name service.
pub const COREDNS: &str = "kubelab.local/coredns:1";

/// What of busybox there is in the image with a shell.
const TOOLS: [&str; 20] = [
    "sh",
    "cat",
    "date",
    "echo",
    "env",
    "grep",
    "head",
    "hostname",
    "id",
    "ip",
    "ls",
    "mount",
    "nc",
    "netstat",
    "nslookup",
    "ping",
    "ps",
    "sed",
    "sleep",
    "traceroute",
];
/// So long that nobody sees its end: the largest number that every build of busybox takes.
const FOREVER: &str = "2147483647";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Directories of every image.
const DIRECTORIES: [(&str, u32); 4] = [("etc", 0o755), ("run", 0o755), ("tmp", 0o1777), ("var", 0o755)];

/// An image to be made.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its name with a registry and a tag, `kubelab.local/agent:1`. With the tag `latest` kubelet would try to fetch it.
    pub name: String,
    /// Files of the machine, and where they are in the image. All can be run and belong to root.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Links in the image, and what they point to.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// What is run in it.
    pub entrypoint: Vec<String>,
}

impl Image {
    /// Writes the archive.
    pub fn write(&self, path: &Path) -> Result<()> {
        let written = self.layer().and_then(|layer| {
            let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
            self.archive(&layer, file)
        });
        written.with_context(|| format!("make image {}", self.name))
    }

    /// The file system.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (directory, mode) in DIRECTORIES {
            append_directory(&mut layer, Path::new(directory), mode)?;
        }
        let mut made = BTreeSet::from(DIRECTORIES.map(|(directory, _)| PathBuf::from(directory)));
        let targets =
            self.files.iter().map(|(_, target)| target).chain(self.links.iter().map(|(link, _)| link));
        for target in targets {
            let mut above: Vec<&Path> =
                relative(target).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
            above.reverse();
            for directory in above {
                if made.insert(directory.to_owned()) {
                    append_directory(&mut layer, directory, 0o755)?;
                }
            }
        }
        for (source, target) in &self.files {
            let content = fs::read(source).with_context(|| format!("read {}", source.display()))?;
            if let Some(interpreter) = interpreter(&content) {
                ensure!(
                    self.files.iter().any(|(_, file)| relative(file) == relative(&interpreter)),
                    "{} needs shared libraries, which are not in the image, nor is what loads them ({}): build it statically \
                     or name those files too",
                    source.display(),
                    interpreter.display()
                );
            }
            let mut header = header(EntryType::Regular, 0o755, content.len());
            layer.append_data(&mut header, relative(target), content.as_slice())?;
        }
        for (link, pointed) in &self.links {
            layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), relative(link), pointed)?;
        }
        Ok(layer.into_inner()?)
    }

    fn archive(&self, layer: &[u8], out: impl Write) -> Result<()> {
        let digest = hex(layer);
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "Env": [PATH], "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
            "history": [{ "created_by": "kubelab" }],
        });
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let layer_name = format!("{digest}.tar");
        let manifest = json!([{ "Config": config_name, "RepoTags": [self.name], "Layers": [layer_name] }]);
        let mut archive = Builder::new(out);
        for (name, content) in [
            (layer_name.as_str(), layer),
            (&config_name, &config),
            ("manifest.json", manifest.to_string().as_bytes()),
        ] {
            archive.append_data(&mut header(EntryType::Regular, 0o644, content.len()), name, content)?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

/// The images that every full cluster has.
fn all(programs: &Programs) -> Result<Vec<Image>> {
    let program = |name: &str| Ok::<_, anyhow::Error>((programs.find(name)?, Path::new("bin").join(name)));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Ok(vec![
        // Process 1 of pods whose containers share processes does not wait for orphans, unlike the real one.
        Image {
            name: PAUSE.to_owned(),
            files: vec![program("busybox")?],
            entrypoint: words(&["/bin/busybox", "sleep", FOREVER]),
            ..Image::default()
        },
        Image {
            name: AGNHOST.to_owned(),
            files: vec![program("agnhost")?, program("busybox")?],
            links: TOOLS.iter().map(|tool| (Path::new("bin").join(tool), "busybox".into())).collect(),
            entrypoint: words(&["/bin/agnhost"]),
        },
        Image {
            name: COREDNS.to_owned(),
            files: vec![program("coredns")?],
            entrypoint: words(&["/bin/coredns"]),
            ..Image::default()
        },
    ])
}

/// Writes all archives into a directory; their paths.
pub fn write_all(programs: &Programs, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let write = |image: &Image| {
        let name = image.name.rsplit('/').next().unwrap_or_default().replace(':', "-");
        let path = directory.join(format!("{name}.tar"));
        image.write(&path).map(|()| path)
    };
    all(programs)?.iter().map(write).collect()
}

/// As archives name files.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn append_directory(layer: &mut Builder<Vec<u8>>, path: &Path, mode: u32) -> Result<()> {
    Ok(layer.append_data(&mut header(EntryType::Directory, mode, 0), path, std::io::empty())?)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// What loads the shared libraries of a 64-bit ELF file: the content of the program header `PT_INTERP` (elf(5)). None for
/// a static program and for what is no such file.
fn interpreter(content: &[u8]) -> Option<PathBuf> {
    const INTERPRETER: usize = 3;
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = content.get(at..at.checked_add(bytes)?)?;
        usize::try_from(field.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).ok()
    };
    if !content.starts_with(b"\x7fELF") {
        return None;
    }
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let at = (0..count)
        .filter_map(|index| size.checked_mul(index)?.checked_add(start))
        .find(|at| number(*at, 4) == Some(INTERPRETER))?;
    let (offset, length) = (number(at.checked_add(8)?, 8)?, number(at.checked_add(32)?, 8)?);
    let name = content.get(offset..offset.checked_add(length)?)?;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn entries(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in tar::Archive::new(archive).entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a content");
            found.push((name, content));
        }
        found
    }

    #[test]
    fn an_archive_says_what_its_layer_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "#!/bin/sh\n").expect("a program");
        let image = Image {
            name: "kubelab.local/test:1".to_owned(),
            files: vec![(file.path().to_owned(), "/opt/tools/run".into())],
            links: vec![("bin/run".into(), "/opt/tools/run".into())],
            entrypoint: vec!["/bin/run".to_owned()],
        };
        let layer = image.layer().expect("a layer");
        let mut out = Vec::new();
        image.archive(&layer, &mut out).expect("an archive");
        let found = entries(&out);
        let manifest: serde_json::Value = serde_json::from_slice(&found[2].1).expect("a manifest");
        assert_eq!(manifest[0]["RepoTags"][0], "kubelab.local/test:1");
        assert_eq!(manifest[0]["Layers"][0], found[0].0.as_str());
        assert_eq!(manifest[0]["Config"], found[1].0.as_str());
        let config: serde_json::Value = serde_json::from_slice(&found[1].1).expect("a configuration");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&found[0].1)));
        let names: Vec<String> = entries(&layer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["etc", "run", "tmp", "var", "opt", "opt/tools", "bin", "opt/tools/run", "bin/run"]
        );
    }

    #[test]
    fn a_program_without_its_libraries_is_refused() {
        // Test programs of this workspace are linked against the C library.
        let own = std::env::current_exe().expect("the own program");
        let content = fs::read(&own).expect("the own program");
        let loader = interpreter(&content).expect("a loader");
        assert!(loader.exists(), "{}", loader.display());
        let mut image = Image { files: vec![(own, "bin/own".into())], ..Image::default() };
        let refused = image.layer().expect_err("refused").to_string();
        assert!(refused.contains("needs shared libraries"), "{refused}");
        image.files.push((loader.clone(), loader));
        image.layer().expect("with its loader it is taken");
    }

    #[test]
    fn what_is_cut_off_or_no_program_has_no_interpreter() {
        let content = fs::read("/proc/self/exe").expect("the own program");
        assert_eq!(interpreter(b"#!/bin/sh\n"), None);
        for length in [0, 4, 33, 57, 64, 120] {
            assert_eq!(interpreter(&content[..length]), None, "{length}");
        }
    }
}
