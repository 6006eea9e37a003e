//! Whether somebody in the destination pod listens for the connection.
//!
//! It reads the socket table only; a declared container port proves nothing either way.

use std::net::SocketAddr;

use model::node_state::Listener;
use model::probe::ListenerReport;
use model::{Gap, Protocol};

/// What the socket table says about one address and port.
#[derive(Clone, Debug)]
pub enum Listening<'a> {
    /// This socket takes the connection.
    Accepts(&'a Listener),
    /// The port is bound, but on loopback only.
    LoopbackOnly(&'a Listener),
    /// The port is bound, but to other addresses or the other family.
    OtherAddress(&'a Listener),
    /// Nothing on this port; these are the ports others can reach, if any.
    Nothing {
        /// Reachable ports of the same protocol, ascending, each once.
        elsewhere: Vec<&'a Listener>,
    },
    /// It cannot be told.
    Unknown(Gap),
}

/// Reads a socket table for one destination.
pub(super) fn listening<'a>(
    report: &Result<&'a ListenerReport, Gap>,
    protocol: Protocol,
    destination: SocketAddr,
) -> Listening<'a> {
    let report = match report {
        Ok(report) => report,
        Err(gap) => return Listening::Unknown(gap.clone()),
    };
    let same: Vec<&Listener> =
        report.listeners.iter().filter(|listener| listener.protocol == protocol).collect();
    let mut undecided = None;
    for listener in &same {
        match listener.accepts(protocol, destination.ip(), destination.port()) {
            Some(true) => return Listening::Accepts(listener),
            Some(false) => {}
            None => undecided = Some(*listener),
        }
    }
    if let Some(listener) = undecided {
        return Listening::Unknown(Gap::new(
            format!("whether {} takes IPv4", listener.local),
            "its IPV6_V6ONLY option could not be read",
        ));
    }
    let bound: Vec<&Listener> =
        same.iter().copied().filter(|listener| listener.local.port() == destination.port()).collect();
    if let Some(listener) = bound.iter().find(|listener| !listener.loopback_only()) {
        return Listening::OtherAddress(listener);
    }
    if let Some(listener) = bound.first() {
        return Listening::LoopbackOnly(listener);
    }
    let mut elsewhere: Vec<&Listener> =
        same.into_iter().filter(|listener| !listener.loopback_only()).collect();
    elsewhere.sort_by_key(|listener| (listener.local.port(), listener.local.ip()));
    elsewhere.dedup_by_key(|listener| listener.local.port());
    Listening::Nothing { elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn report(sockets: &[(&str, Option<bool>)]) -> ListenerReport {
        ListenerReport {
            listeners: sockets
                .iter()
                .map(|(local, v6only)| Listener {
                    protocol: Protocol::Tcp,
                    local: local.parse().expect("an address"),
                    v6only: *v6only,
                    queued: 0,
                    backlog: 128,
                    process: None,
                    pid: None,
                })
                .collect(),
            read_at: Timestamp(0),
        }
    }

    fn at(report: &ListenerReport) -> Listening<'_> {
        listening(&Ok(report), Protocol::Tcp, "10.0.0.1:80".parse().expect("an address"))
    }

    #[test]
    fn each_kind_of_binding_is_told_apart() {
        assert!(matches!(at(&report(&[("0.0.0.0:80", None)])), Listening::Accepts(_)));
        assert!(matches!(at(&report(&[("[::]:80", Some(false))])), Listening::Accepts(_)));
        assert!(matches!(at(&report(&[("[::]:80", Some(true))])), Listening::OtherAddress(_)));
        assert!(matches!(at(&report(&[("[::]:80", None)])), Listening::Unknown(_)));
        assert!(matches!(at(&report(&[("127.0.0.1:80", None)])), Listening::LoopbackOnly(_)));
        let other = report(&[("0.0.0.0:8080", None), ("[::]:8080", None), ("127.0.0.1:9", None)]);
        assert!(matches!(at(&other), Listening::Nothing { elsewhere } if elsewhere.len() == 1));
        assert!(matches!(at(&report(&[])), Listening::Nothing { elsewhere } if elsewhere.is_empty()));
    }
}
