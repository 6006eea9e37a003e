//! The connection that a fault breaks: tried for real, before and after.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netlab::{ConnectOutcome, Netns};
use nix::libc::{EHOSTUNREACH, ENETUNREACH};
use tokio::net::TcpSocket;

use super::stage::Scene;
use crate::api::Target;
use crate::cluster::Cluster;

/// How long an attempt takes at most that works. One before there are rules is remembered by the connection tracking and
/// never does, so it is better given up soon.
pub const WORKS: Duration = Duration::from_millis(500);
/// A SYN that was lost by chance is sent again after a second (RFC 6298, section 2), so silence for longer is no chance.
const SILENCE: Duration = Duration::from_millis(1500);
/// A neighbour that does not answer is given up after three seconds (`ucast_solicit`, `mcast_solicit` and `retrans_time`
/// in net/ipv4/arp.c).
const NEIGHBOUR: Duration = Duration::from_millis(4500);
/// More than a peer's first window, so that it is not all sent at once.
const BULK: usize = 64 * 1024;
/// How often it is tried where only some attempts fail. That all of these go one way by chance is one in eight millions.
const ATTEMPTS: usize = 24;

/// Who connects to what, and how.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Who.
    pub from: Source,
    /// To what.
    pub to: Destination,
    /// How.
    pub how: How,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A pod of the fault's namespace.
    Pod(&'static str),
    /// A pod of its second namespace.
    OtherPod(&'static str),
    /// A machine beside the nodes, which no object tells of.
    Machine,
}

/// Where it goes.
#[derive(Clone, Copy, Debug)]
pub enum Destination {
    /// A Service of the fault's namespace, and its port, by ClusterIP.
    Service(&'static str, u16),
    /// The same, for a Service without a ClusterIP: the pod behind it.
    Headless(&'static str, u16),
    /// The same as the client's name service would find it: a bare name.
    Name(&'static str, u16),
    /// A port of the first node.
    NodePort(u16),
    /// A load balancer's address that a Service has or had, and its port.
    Balancer(&'static str, Ipv4Addr, u16),
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A TCP connection.
    Tcp,
    /// One from this port, always.
    TcpFrom(u16),
    /// One that carries more than a packet to the server.
    Bulk,
    /// Many, one after the other.
    Often,
    /// A datagram and its answer.
    Udp,
}

/// What a client sees of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// An error at once: a RST or an ICMP port unreachable.
    Refused,
    /// Nothing comes back.
    Silent,
    /// Nothing comes back, or after some seconds that the host is unreachable: which of them depends on what neighbours
    /// still remember.
    Lost,
    /// Host unreachable.
    HostUnreachable,
    /// Network unreachable, at once.
    NetUnreachable,
    /// What a Service's address does that no rule translates: nothing comes back; in nftables mode it is refused
    /// (chain `cluster-ips-check`), as long as the Service is known.
    Untranslated,
    /// Refused or nothing comes back, as the policy engine has it: kube-router rejects, and what it rejects looks like
    /// silence when it rejects more than one a second; the others drop.
    Denied,
    /// Connections are made, but what is sent does not arrive.
    Stalled,
    /// Some attempts are refused.
    Sometimes,
    /// The name is not found. A light cluster has no name service: that there is no such Service is what is seen.
    NoName,
    /// There is no address to connect to.
    NoAddress,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An attempt ended so.
    Ended(ConnectOutcome, Duration),
    /// Connected, but not all was acknowledged in time: so much was not.
    Stalled(u64),
    /// Of so many attempts so many were refused.
    Some(usize, usize),
    /// The name is not found.
    NoName,
    /// There is no address.
    NoAddress,
}

impl Probe {
    /// Who asks, as the command line has it.
    pub fn source(&self, scene: &Scene) -> String {
        match self.from {
            Source::Pod(name) => format!("{}/{name}", scene.namespace),
            Source::OtherPod(name) => format!("{}/{name}", scene.other()),
            Source::Machine => scene.machine.to_string(),
        }
    }

    /// What is asked about.
    pub fn destination(&self, scene: &Scene) -> String {
        let udp = if self.how == How::Udp { "/udp" } else { "" };
        match self.to {
            Destination::Service(name, port) | Destination::Headless(name, port) => {
                format!("{}/{name}:{port}{udp}", scene.namespace)
            }
            Destination::Name(name, port) => format!("{name}:{port}{udp}"),
            Destination::NodePort(port) => format!("{}:{port}{udp}", scene.first_address),
            Destination::Balancer(_, address, port) => format!("{address}:{port}{udp}"),
        }
    }

    /// Tries it once.
    pub fn attempt(&self, cluster: &Cluster, scene: &Scene, patience: Duration) -> Result<Seen> {
        let netns = self.netns(cluster, scene)?;
        let address = match self.address(cluster, scene)? {
            Ok(address) => address,
            Err(seen) => return Ok(seen),
        };
        let ended = |result: netlab::ConnectResult| Seen::Ended(result.outcome, result.took);
        Ok(match self.how {
            How::Tcp => ended(netns.connect(address, patience)?),
            How::Udp => ended(netns.exchange_udp(address, patience)?),
            How::TcpFrom(port) => connect_from(&netns, port, address, patience)?,
            How::Bulk => bulk(&netns, address, patience)?,
            How::Often => often(&netns, address, patience)?,
        })
    }

    fn netns(&self, cluster: &Cluster, scene: &Scene) -> Result<Netns> {
        Ok(match self.from {
            Source::Pod(name) => cluster.pod(&scene.key(name))?.netns,
            Source::OtherPod(name) => cluster.pod(&model::Key::new(scene.other(), name))?.netns,
            Source::Machine => cluster.outside(),
        })
    }

    /// Where it goes, or what is seen instead.
    fn address(&self, cluster: &Cluster, scene: &Scene) -> Result<Result<SocketAddr, Seen>> {
        let service =
            |namespace: &str, name: &str| cluster.get(&Target::new("v1", "Service", Some(namespace), name));
        let (address, port) = match self.to {
            Destination::Service(name, port) => match service(&scene.namespace, name)? {
                Some(object) => (object["spec"]["clusterIP"].as_str().map(str::to_owned), port),
                None => return Ok(Err(Seen::NoName)),
            },
            Destination::Name(name, port) => {
                let namespace = match self.from {
                    Source::OtherPod(_) => scene.other(),
                    Source::Pod(_) | Source::Machine => scene.namespace.clone(),
                };
                match service(&namespace, name)? {
                    Some(object) => (object["spec"]["clusterIP"].as_str().map(str::to_owned), port),
                    None => return Ok(Err(Seen::NoName)),
                }
            }
            Destination::Headless(name, port) => match service(&scene.namespace, name)? {
                // Its name means its pods' addresses, and no port is translated.
                Some(object) if object["spec"]["clusterIP"] == "None" => {
                    (cluster.pod(&scene.key(name))?.addresses.first().map(ToString::to_string), port)
                }
                Some(object) => (object["spec"]["clusterIP"].as_str().map(str::to_owned), port),
                None => return Ok(Err(Seen::NoName)),
            },
            Destination::NodePort(port) => (Some(scene.first_address.to_string()), port),
            Destination::Balancer(name, address, port) => {
                let object = service(&scene.namespace, name)?.unwrap_or_default();
                if object["status"]["loadBalancer"]["ingress"].as_array().is_none_or(Vec::is_empty) {
                    return Ok(Err(Seen::NoAddress));
                }
                (Some(address.to_string()), port)
            }
        };
        match address.map(|address| address.parse::<IpAddr>()) {
            Some(Ok(address)) => Ok(Ok(SocketAddr::new(address, port))),
            Some(Err(_)) | None => Ok(Err(Seen::NoAddress)),
        }
    }
}

impl Symptom {
    /// Whether this is it.
    pub fn is(self, seen: Seen, nftables: bool) -> bool {
        let outcome = match seen {
            Seen::Ended(outcome, _) => Some(outcome),
            Seen::Stalled(_) | Seen::Some(..) | Seen::NoName | Seen::NoAddress => None,
        };
        let host = ConnectOutcome::Unreachable(EHOSTUNREACH);
        match self {
            Self::Refused => outcome == Some(ConnectOutcome::Refused),
            Self::Lost => outcome == Some(ConnectOutcome::TimedOut) || outcome == Some(host),
            Self::HostUnreachable => outcome == Some(host),
            Self::NetUnreachable => outcome == Some(ConnectOutcome::Unreachable(ENETUNREACH)),
            Self::Untranslated if nftables => outcome == Some(ConnectOutcome::Refused),
            Self::Silent | Self::Untranslated => outcome == Some(ConnectOutcome::TimedOut),
            Self::Denied => {
                matches!(outcome, Some(ConnectOutcome::Refused | ConnectOutcome::TimedOut))
            }
            Self::Stalled => matches!(seen, Seen::Stalled(_)),
            Self::Sometimes => matches!(seen, Seen::Some(refused, of) if 0 < refused && refused < of),
            Self::NoName => seen == Seen::NoName,
            Self::NoAddress => seen == Seen::NoAddress,
        }
    }

    /// In a word or two.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silence",
            Self::Lost => "silence or host unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::NetUnreachable => "network unreachable",
            Self::Untranslated => "silence; refused in nftables mode",
            Self::Denied => "refused or silence",
            Self::Stalled => "connects, then hangs",
            Self::Sometimes => "refused now and then",
            Self::NoName => "name not found",
            Self::NoAddress => "no address",
        }
    }

    /// How long a client must wait to see it.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Lost | Self::HostUnreachable => NEIGHBOUR,
            _ => SILENCE,
        }
    }
}

impl Seen {
    /// Whether nothing is wrong.
    pub const fn works(self) -> bool {
        matches!(self, Self::Ended(ConnectOutcome::Connected, _) | Self::Some(0, _))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(outcome, took) => {
                let milliseconds = took.as_secs_f64() * 1000.0;
                match outcome {
                    ConnectOutcome::Connected => write!(f, "connected in {milliseconds:.1} ms"),
                    ConnectOutcome::Refused => write!(f, "refused after {milliseconds:.1} ms"),
                    ConnectOutcome::TimedOut => write!(f, "nothing came back in {milliseconds:.0} ms"),
                    ConnectOutcome::Unreachable(errno) => {
                        write!(f, "{} after {milliseconds:.1} ms", nix::errno::Errno::from_raw(*errno))
                    }
                }
            }
            Self::Stalled(bytes) => write!(f, "connected, but {bytes} bytes were not acknowledged"),
            Self::Some(0, of) => write!(f, "connected {of} times of {of}"),
            Self::Some(refused, of) => write!(f, "refused {refused} times of {of}"),
            Self::NoName => f.write_str("the name is not found"),
            Self::NoAddress => f.write_str("there is no address"),
        }
    }
}

/// A connection whose source port is chosen, as a client has it that tries again with the same socket.
fn connect_from(netns: &Netns, port: u16, to: SocketAddr, patience: Duration) -> Result<Seen> {
    netns.enter(|| -> Result<Seen> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
            let start = Instant::now();
            let tried = tokio::time::timeout(patience, socket.connect(to)).await;
            let took = start.elapsed();
            let outcome = match tried {
                Err(_) => ConnectOutcome::TimedOut,
                Ok(Ok(_)) => ConnectOutcome::Connected,
                Ok(Err(error)) => match error.raw_os_error() {
                    Some(nix::libc::ECONNREFUSED) => ConnectOutcome::Refused,
                    Some(errno) => ConnectOutcome::Unreachable(errno),
                    None => return Err(error).context("connect"),
                },
            };
            Ok(Seen::Ended(outcome, took))
        })
    })?
}

/// Sends more than fits into a packet and waits until all of it is acknowledged.
fn bulk(netns: &Netns, to: SocketAddr, patience: Duration) -> Result<Seen> {
    netns.enter(|| -> Result<Seen> {
        let start = Instant::now();
        let mut stream = match TcpStream::connect_timeout(&to, patience) {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Ok(Seen::Ended(ConnectOutcome::Refused, start.elapsed()));
            }
            Err(_) => return Ok(Seen::Ended(ConnectOutcome::TimedOut, start.elapsed())),
        };
        stream.set_write_timeout(Some(patience))?;
        // What does not fit into the buffer because nothing leaves it is part of the symptom.
        let _ = stream.write_all(&vec![b'.'; BULK]);
        let own = stream.local_addr()?.port();
        loop {
            let waiting = unacknowledged(own)?;
            if waiting == 0 {
                return Ok(Seen::Ended(ConnectOutcome::Connected, start.elapsed()));
            }
            if start.elapsed() > patience {
                return Ok(Seen::Stalled(waiting));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    })?
}

/// How much of what the socket with this port was given is not acknowledged: `tx_queue` of proc_net_tcp(5), which is
/// `write_seq - snd_una` (`get_tcp4_sock` in net/ipv4/tcp_ipv4.c).
fn unacknowledged(port: u16) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").context("read the socket table")?;
    let mine = format!(":{port:04X}");
    let queue = table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next()?;
        let (sent, _) = fields.nth(2)?.split_once(':')?;
        local.ends_with(&mine).then(|| u64::from_str_radix(sent, 16))
    });
    // A connection that is closed on both sides has left the table, and nothing of it waits.
    Ok(queue.transpose().context("read the socket table")?.unwrap_or_default())
}

fn often(netns: &Netns, to: SocketAddr, patience: Duration) -> Result<Seen> {
    let mut refused = 0;
    for _ in 0..ATTEMPTS {
        let result = netns.connect(to, patience)?;
        match result.outcome {
            ConnectOutcome::Connected => {}
            ConnectOutcome::Refused => refused += 1,
            outcome => return Ok(Seen::Ended(outcome, result.took)),
        }
    }
    Ok(if refused == ATTEMPTS {
        Seen::Ended(ConnectOutcome::Refused, Duration::ZERO)
    } else {
        Seen::Some(refused, ATTEMPTS)
    })
}
