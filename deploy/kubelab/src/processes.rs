//! A cluster's processes as the machine sees them.

use std::collections::BTreeMap;
use std::fs;

use crate::place::Record;

/// The numbers that the machine gives the cluster's processes, by those that they have in the cluster. Processes of a full
/// cluster's nodes are in process namespaces below the cluster's, and have a number in each.
///
/// Empty once the first process is gone, and all others with it.
pub fn numbers(record: &Record) -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: BTreeMap<u32, Process> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // Whatever ended since it was listed is left out.
            Some((number, read(&fs::read_to_string(entry.path().join("status")).ok()?)?))
        })
        .collect();
    of(&all, u32::try_from(record.pid).unwrap_or_default())
}

/// Orphans are adopted by the first process of their namespace, so all of the cluster's processes descend from its own.
fn of(all: &BTreeMap<u32, Process>, first: u32) -> BTreeMap<u32, u32> {
    let Some(level) = all.get(&first).and_then(|process| process.numbers.len().checked_sub(1)) else {
        return BTreeMap::new();
    };
    let descends = |number: &u32| {
        std::iter::successors(Some(*number), |number| all.get(number).map(|process| process.parent))
            .take(all.len())
            .any(|ancestor| ancestor == first)
    };
    let own = all.iter().filter(|(number, _)| descends(number));
    own.filter_map(|(number, process)| Some((*process.numbers.get(level)?, *number))).collect()
}

/// proc_pid_status(5): the parent, and the numbers in all process namespaces it is in, the innermost last.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    numbers: Vec<u32>,
}

fn read(status: &str) -> Option<Process> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let numbers = field("NSpid:")?.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Process { parent: field("PPid:")?.trim().parse().ok()?, numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(parent: u32, numbers: &[u32]) -> Process {
        Process { parent, numbers: numbers.to_vec() }
    }

    #[test]
    fn parent_and_numbers_are_read() {
        let status = "Name:\tetcd\nPPid:\t30\nNSpid:\t23899\t7\nVmPeak:\t1 kB\n";
        assert_eq!(read(status), Some(process(30, &[23_899, 7])));
        assert_eq!(read("Name:\tetcd\n"), None);
    }

    #[test]
    fn processes_below_the_first_have_their_numbers_in_its_namespace() {
        let all = BTreeMap::from([
            (1, process(0, &[1])),
            (20, process(1, &[20])),
            (30, process(20, &[30, 1])),
            (31, process(30, &[31, 2])),
            // On a node, and in a container there.
            (32, process(31, &[32, 3, 1])),
            (33, process(32, &[33, 4, 2, 1])),
            (40, process(20, &[40, 2])),
        ]);
        assert_eq!(of(&all, 30), BTreeMap::from([(1, 30), (2, 31), (3, 32), (4, 33)]));
        assert_eq!(of(&all, 50), BTreeMap::new());
    }
}
