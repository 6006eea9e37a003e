//! Images of containers, made of programs that the machine has: nothing is fetched from a registry.
//!
//! Each is an archive as `docker save` writes it (image-spec of Docker, version 1.2) with one layer, imported by `ctr`.

use std::fs::{self, File};
use std::io::Write;
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
/// An image to be made.
struct Image {
    name: &'static str,
    /// Programs, each goes into /bin.
    programs: &'static [&'static str],
    /// Further names of busybox.
    tools: &'static [&'static str],
    entrypoint: &'static [&'static str],
}

const IMAGES: [Image; 3] = [
    // Process 1 of pods whose containers share processes then does not wait for orphans, unlike the real one.
    Image {
        name: PAUSE,
        programs: &["busybox"],
        tools: &[],
        entrypoint: &["/bin/busybox", "sleep", FOREVER],
    },
    Image { name: AGNHOST, programs: &["agnhost", "busybox"], tools: &TOOLS, entrypoint: &["/bin/agnhost"] },
    Image { name: COREDNS, programs: &["coredns"], tools: &[], entrypoint: &["/bin/coredns"] },
];

/// Writes all archives into a directory; their paths.
pub fn write_all(programs: &Programs, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    IMAGES.iter().map(|image| write(image, programs, directory)).collect()
}

fn write(image: &Image, programs: &Programs, directory: &Path) -> Result<PathBuf> {
    let name = image.name.rsplit('/').next().unwrap_or_default().replace(':', "-");
    let path = directory.join(format!("{name}.tar"));
    let written = layer(image, programs).and_then(|layer| {
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        archive(image, &layer, file)
    });
    written.with_context(|| format!("make image {}", image.name))?;
    Ok(path)
}

/// The file system of an image.
fn layer(image: &Image, programs: &Programs) -> Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for directory in ["bin/", "etc/", "run/", "tmp/", "var/"] {
        let mode = if directory == "tmp/" { 0o1777 } else { 0o755 };
        layer.append_data(&mut header(EntryType::Directory, mode, 0), directory, std::io::empty())?;
    }
    for name in image.programs {
        let path = programs.find(name)?;
        let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(
            !needs_interpreter(&content),
            "{} needs shared libraries, which an image of it alone does not have: a static one is needed",
            path.display()
        );
        let mut header = header(EntryType::Regular, 0o755, content.len());
        layer.append_data(&mut header, format!("bin/{name}"), content.as_slice())?;
    }
    for tool in image.tools {
        layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), format!("bin/{tool}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn archive(image: &Image, layer: &[u8], out: impl Write) -> Result<()> {
    let digest = hex(layer);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint, "Env": [PATH], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created_by": "kubelab" }],
    });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", hex(&config));
    let layer_name = format!("{digest}.tar");
    let manifest = json!([{ "Config": config_name, "RepoTags": [image.name], "Layers": [layer_name] }]);
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

/// Whether a 64-bit ELF file names a dynamic loader: a program header of type `PT_INTERP` (elf(5)).
fn needs_interpreter(content: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = content.get(at..at.checked_add(bytes)?)?;
        usize::try_from(field.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).ok()
    };
    let headers =
        || -> Option<(usize, usize, usize)> { Some((number(32, 8)?, number(54, 2)?, number(56, 2)?)) };
    let Some((start, size, count)) = headers().filter(|_| content.starts_with(b"\x7fELF")) else {
        return false;
    };
    (0..count).any(|index| {
        let at = size.checked_mul(index).and_then(|offset| offset.checked_add(start));
        at.and_then(|at| number(at, 4)) == Some(INTERPRETER as usize)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_archive_says_what_its_layer_is() {
        let image =
            Image { name: "kubelab.local/test:1", programs: &[], tools: &["sh"], entrypoint: &["/bin/sh"] };
        let layer = layer(&image, &Programs::new(None)).expect("a layer");
        let mut out = Vec::new();
        archive(&image, &layer, &mut out).expect("an archive");
        let mut archive = tar::Archive::new(out.as_slice());
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a content");
            found.push((name, content));
        }
        let manifest: serde_json::Value = serde_json::from_slice(&found[2].1).expect("a manifest");
        assert_eq!(manifest[0]["RepoTags"][0], "kubelab.local/test:1");
        assert_eq!(manifest[0]["Layers"][0], found[0].0.as_str());
        assert_eq!(manifest[0]["Config"], found[1].0.as_str());
        let config: serde_json::Value = serde_json::from_slice(&found[1].1).expect("a configuration");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&found[0].1)));
        let mut links = tar::Archive::new(found[0].1.as_slice());
        let link =
            links.entries().expect("entries").map(|entry| entry.expect("an entry")).last().expect("a link");
        assert_eq!(link.link_name().expect("a target").as_deref(), Some(Path::new("busybox")));
    }

    #[test]
    fn a_program_with_a_loader_is_told_from_a_static_one() {
        // Test programs of this workspace are linked against the C library.
        let own = fs::read("/proc/self/exe").expect("the own program");
        assert!(needs_interpreter(&own));
        assert!(!needs_interpreter(b"#!/bin/sh\n"));
        let mut without = own.clone();
        without[56] = 0;
        without[57] = 0;
        assert!(!needs_interpreter(&without));
        assert!(!needs_interpreter(&own[..60]));
    }
}
