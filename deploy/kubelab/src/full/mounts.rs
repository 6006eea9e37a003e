//! The mounts that a process sees, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// Its file system: `ext4`, `cgroup2`.
    pub kind: String,
    /// Options of the file system, between commas.
    pub options: String,
}

/// All of them, in the order in which they were made.
pub fn all() -> Result<Vec<Mount>> {
    let text = fs::read(MOUNTINFO).with_context(|| format!("read {MOUNTINFO}"))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// One line, as proc_pid_mountinfo(5) describes it. Any number of optional fields ends with `-`.
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let point = PathBuf::from(OsString::from_vec(unescape(fields.get(4)?)));
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let kind = text(fields.get(dash + 1)?);
    Some(Mount { point, kind, options: text(fields.get(dash + 3)?) })
}

/// Blanks and backslashes are written as three octal digits (mangle in fs/proc_namespace.c).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(value) = octal {
            plain.push(value);
            rest = &after[3..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_whatever_their_names_and_optional_fields() {
        let line = b"42 27 254:0 /a\\040b /run/x\\040y\\134z rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.point, PathBuf::from("/run/x y\\z"));
        assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("ext4", "rw,discard"));
        let line = b"38 31 0:35 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";
        assert_eq!(parse(line).expect("a mount").options, "rw,cpu,cpuacct");
        assert_eq!(parse(b""), None);
        assert!(all().expect("the own mounts").iter().any(|mount| mount.kind == "proc"));
    }
}
