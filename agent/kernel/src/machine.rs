//! Which machine and boot this is, and what time it is here.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;

use crate::error::Error;

/// The kernel's random id of this boot.
pub fn boot_id() -> Result<String, Error> {
    read("/proc/sys/kernel/random/boot_id")
}

/// The running kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> Result<String, Error> {
    read("/proc/sys/kernel/osrelease")
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|source| Error::Read { path: PathBuf::from(path), source })
}

/// All process ids, lowest first.
pub(crate) fn pids() -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        })
        .unwrap_or_default();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_a_uuid_and_the_clock_is_past_2020() {
        assert_eq!(boot_id().expect("boot id").len(), 36);
        assert!(!kernel_release().expect("release").is_empty());
        assert!(now() > Timestamp(1_577_836_800_000));
    }
}
