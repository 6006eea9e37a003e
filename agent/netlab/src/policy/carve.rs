//! A block without its holes, as plain prefixes: for rules that know no exceptions.

use ipnet::IpNet;

/// The largest prefixes that together are the block without the holes, in order of address.
///
/// At most one prefix for each bit of each hole, since only halves that hold a part of a hole are halved.
pub fn carve(block: IpNet, holes: &[IpNet]) -> Vec<IpNet> {
    let mut left = Vec::new();
    halve(block, holes, &mut left);
    left
}

fn halve(block: IpNet, holes: &[IpNet], left: &mut Vec<IpNet>) {
    if holes.iter().any(|hole| hole.contains(&block)) {
        return;
    }
    if !holes.iter().any(|hole| block.contains(hole)) {
        left.push(block);
        return;
    }
    // A block that holds a smaller one is shorter than a host's prefix: it has halves.
    for half in block.subnets(block.prefix_len() + 1).into_iter().flatten() {
        halve(half, holes, left);
    }
}

#[cfg(test)]
mod tests {
    use super::carve;

    fn carved(block: &str, holes: &[&str]) -> Vec<String> {
        let holes: Vec<_> = holes.iter().map(|hole| hole.parse().expect("prefix")).collect();
        carve(block.parse().expect("prefix"), &holes).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_left_is_the_block_without_the_holes() {
        assert_eq!(carved("10.0.0.0/8", &[]), ["10.0.0.0/8"]);
        assert_eq!(carved("10.0.0.0/30", &["10.0.0.1/32"]), ["10.0.0.0/32", "10.0.0.2/31"]);
        assert_eq!(carved("fd00::/126", &["fd00::3/128", "fd00::2/128"]), ["fd00::/127"]);
        assert_eq!(carved("10.0.0.0/24", &["10.0.0.0/16"]), [""; 0]);
        assert_eq!(carved("10.0.0.0/24", &["fd00::/16"]), ["10.0.0.0/24"]);
        assert_eq!(carved("0.0.0.0/0", &["128.0.0.0/1"]), ["0.0.0.0/1"]);
    }
}
