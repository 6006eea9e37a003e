//! Kernel settings, as `sysctl -a` prints them.
//!
//! All of them are kept; which ones matter is for the reader.

use std::collections::BTreeMap;

/// Reads lines of `name = value`. A dot inside an interface name is printed as `/` and stays so; lines of any other
/// form (complaints of the tool, values of several lines) are passed over.
pub fn sysctls(text: &str) -> BTreeMap<String, String> {
    let setting = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = name.trim();
        let plain = !name.is_empty() && !name.contains(char::is_whitespace);
        plain.then(|| (name.to_owned(), value.trim().replace('\t', " ")))
    };
    text.lines().filter_map(setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_complaints() {
        let text = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.eth0/100.rp_filter=2\nnet.ipv4.tcp_rmem = 4096\t131072\t6291456\n\
            sysctl: reading key \"kernel.spl\"\nsysctl: permission denied on key = x\nempty =\n";
        let found = sysctls(text);
        assert_eq!(found.len(), 4);
        assert_eq!(found["net.ipv4.conf.eth0/100.rp_filter"], "2");
        assert_eq!(found["net.ipv4.tcp_rmem"], "4096 131072 6291456");
        assert_eq!(found["empty"], "");
    }
}
