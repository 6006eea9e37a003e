//! IPVS' virtual servers of the calling thread's namespace, as /proc/net/ip_vs shows them.
//!
//! The file and not generic netlink: it is the same on every kernel, needs no capability and no family to be looked up.
//! It does not show the flags of schedulers, which matter where a destination has weight 0. Understanding it is the
//! business of `rules`.

use std::fs::File;
use std::io::{self, Read};

use model::Gap;

/// Where it is; `thread-self`, because the thread may be in another namespace than the process.
const PATH: &str = "/proc/thread-self/net/ip_vs";
/// Ten times what 10,000 Services of five endpoints with two addresses each show.
const LIMIT: u64 = 64 << 20;

/// All virtual servers; empty where the kernel has no IPVS, or has not loaded it.
pub fn read() -> Result<String, Gap> {
    let gap = |why: String| Gap::new("IPVS", why);
    let file = match File::open(PATH) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(gap(format!("open {PATH}: {error}"))),
    };
    let mut text = String::new();
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(|error| gap(format!("read {PATH}: {error}")))?;
    if text.len() as u64 > LIMIT {
        return Err(gap(format!("{PATH} is larger than {} MiB", LIMIT >> 20)));
    }
    Ok(text)
}

/// A number that stays the same while virtual servers, destinations and weights do: connections do not count.
pub fn digest(text: &str) -> u64 {
    let mut server = "";
    crate::digest::of_lines(text.lines().map(|line| {
        // `-> ADDRESS:PORT FORWARD WEIGHT ACTIVE INACTIVE`, below the virtual server it belongs to.
        let destination = line.trim_start().starts_with("->");
        if !destination {
            server = line;
        }
        (server, line.split_ascii_whitespace().take(if destination { 4 } else { usize::MAX }))
    }))
}

/// Whether a line is of a virtual server.
pub fn is_server(line: &str) -> bool {
    ["TCP ", "UDP ", "SCTP", "FWM "].iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_do_not_count_and_weights_do() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
                    Prot LocalAddress:Port Scheduler Flags\n\
                    \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                    TCP  0A600001:0050 rr  \n\
                    \x20 -> 0A000002:1F90      Masq    1      0          0         \n";
        let line = "Masq    1      0          0  ";
        assert_eq!(digest(text), digest(&text.replace(line, "Masq    1      7          12 ")));
        assert_ne!(digest(text), digest(&text.replace(line, "Masq    0      0          0  ")));
        assert_ne!(digest(text), digest(&text.replace("TCP", "UDP")));
        let server = |address, to| {
            format!(
                "TCP  0A60000{address}:0050 rr  \n  -> 0A00000{to}:1F90      Masq    1      0          0\n"
            )
        };
        let pair = |to, other| [server(1, to), server(2, other)].concat();
        assert_ne!(digest(&pair(3, 4)), digest(&pair(4, 3)), "whose destination it is counts");
    }

    #[test]
    fn a_kernel_without_it_has_no_virtual_servers() {
        // Whatever this kernel has: the file can be read, or is not there.
        let text = read().expect("/proc/net/ip_vs");
        assert!(text.is_empty() || text.starts_with("IP Virtual Server"), "{text}");
    }
}
