//! A cluster's processes as the machine sees them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::place::Record;

/// The numbers that the machine gives the cluster's processes, by those that they have in the cluster.
///
/// Empty once the first process is gone, and all others with it.
pub fn numbers(record: &Record) -> BTreeMap<u32, u32> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let Some(own) = namespace(&Path::new("/proc").join(record.pid.to_string())) else {
        return BTreeMap::new();
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| {
        let outside: u32 = entry.file_name().to_str()?.parse().ok()?;
        // Whatever ended since it was listed is left out.
        if namespace(&entry.path())? != own {
            return None;
        }
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        Some((inside(&status)?, outside))
    });
    numbers.collect()
}

/// proc_pid_status(5): the numbers of all process namespaces it is in, the innermost last.
fn inside(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_is_read() {
        assert_eq!(inside("Name:\tetcd\nNSpid:\t23899\t7\nVmPeak:\t1 kB\n"), Some(7));
        assert_eq!(inside("Name:\tetcd\nNSpid:\t23899\n"), Some(23_899));
        assert_eq!(inside("Name:\tetcd\n"), None);
    }
}
