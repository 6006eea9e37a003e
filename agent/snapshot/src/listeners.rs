//! Listening TCP sockets, as /proc/net/tcp and /proc/net/tcp6 print them.
//!
//! These files name no process and no `IPV6_V6ONLY`, and for a listener no backlog: what is not there stays unknown or 0.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::flow::Protocol;
use model::node_state::Listener;

use crate::error::{SnapshotError, Source};

/// TCP_LISTEN in `include/net/tcp_states.h`.
const LISTEN: &str = "0A";

/// Reads /proc/net/tcp or tcp6; one text may hold both, headings included.
///
/// Addresses are printed in the byte order of the machine the text is from, taken to be little-endian, as every
/// platform this runs on is.
pub fn listeners(text: &str) -> Result<Vec<Listener>, SnapshotError> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(5).collect();
        let [_, local, _, state, queues] = fields[..] else {
            if line.trim().is_empty() {
                continue;
            }
            return Err(SnapshotError::entry(
                Source::Listeners,
                index,
                "a line with fewer than five fields",
                line,
            ));
        };
        if state != LISTEN {
            continue;
        }
        let wrong = |what| SnapshotError::entry(Source::Listeners, index, what, line);
        let local = address(local).ok_or_else(|| wrong("a local address that is none"))?;
        // For a listener the receive queue counts connections waiting to be accepted (`get_tcp4_sock`).
        let queued = queues.split_once(':').and_then(|(_, waiting)| u32::from_str_radix(waiting, 16).ok());
        let queued = queued.ok_or_else(|| wrong("queues that are no numbers"))?;
        found.push(Listener {
            protocol: Protocol::Tcp,
            local,
            v6only: None,
            queued,
            backlog: 0,
            process: None,
            pid: None,
        });
    }
    Ok(found)
}

/// `ADDRESS:PORT` in hexadecimal, the address in words of 32 bits.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_le_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_both_families() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 22 1 0 100 0 0 10 0\n\
            \x20  1: 0202000A:0050 0302000A:C001 01 00000000:00000000 00:00000000 00000000     0        0 23 1\n\
            \x20  2: 000000FD000000000000000002000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0\n";
        let view: Vec<_> = listeners(text)
            .unwrap()
            .into_iter()
            .map(|socket| (socket.local.to_string(), socket.queued))
            .collect();
        assert_eq!(view, [("127.0.0.1:8080".to_owned(), 3), ("[fd00::2]:80".to_owned(), 0)]);
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        let error = listeners("head line of five fields\n 0: ZZ:50 0:0 0A 0:0\n").unwrap_err();
        assert!(matches!(error, SnapshotError::Entry { entry: 2, .. }), "{error}");
    }
}
