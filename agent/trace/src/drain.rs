//! Takes the aggregated drops out of the kernel and keeps the books on what was lost on the way.
//!
//! Two maps take turns: the programs are turned to the other one, then the first is read at rest. It decides nothing
//! about how often to drain; what accumulates is bounded by the maps, and what finds them full is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use abi::{Counter, DropKey, DropValue, FAMILY_IPV4, FAMILY_IPV6, FLAG_ACK};
use aya::maps::MapError;
use model::evidence::Location;
use model::{Protocol, Timestamp, Tuple};

use crate::clock::Clock;
use crate::ledger::Side;
use crate::load::Tracer;

/// Why a drain failed. The next one takes up what this one left.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The clocks could not be read.
    #[error("read the node's clocks")]
    Clock(#[source] nix::Error),
    /// A map could not be read or written.
    #[error("{operation} the {map} of the drop programs")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// On which map.
        map: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
}

/// First packets of one flow that were thrown away for one reason at one place, since the drain before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Net cookie of the namespace the packet was in; 0 if nothing told it.
    pub netns_cookie: u64,
    /// The flow as the packet looked when it was dropped. Of a reply, the source is the server and the destination
    /// the client, whose port is that of the latest packet: drops are told apart by the server's port alone.
    pub tuple: Tuple,
    /// The latest packet's source port: the client's, or of a reply the server's.
    pub last_src_port: u16,
    /// Whether this was the answering half of the handshake (SYN+ACK).
    pub reply: bool,
    /// The kernel's reason, without its prefix.
    pub reason: String,
    /// The code that dropped it.
    pub location: Location,
    /// Index of the interface the latest packet arrived on; 0 if it was sent from here.
    pub in_ifindex: u32,
    /// Index of the interface it belonged to when dropped: the outgoing one after routing, the incoming one before;
    /// 0 if it had none yet.
    pub ifindex: u32,
    /// The latest packet's firewall mark.
    pub mark: u32,
    /// Packets.
    pub count: u64,
    /// First packet.
    pub first_at: Timestamp,
    /// Latest packet.
    pub last_at: Timestamp,
}

/// What one drain brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The drops, in no order.
    pub drops: Vec<Drop>,
    /// Packets in scope since loading that are in no drop of any drain: they found the maps full. Exact for all
    /// packets up to this drain.
    pub lost: u64,
    /// Packets in scope since loading, up to this drain: those in drops and the lost ones.
    pub total: u64,
    /// Calls since loading that the kernel skipped because the program was running on that CPU already. Any of them
    /// may or may not have been a packet in scope; 0 on kernels that do not count them (before 5.12).
    pub skipped: u64,
    /// Packets since loading whose namespace nothing told, so that they were taken to be out of scope.
    pub unattributed: u64,
    /// When it was done.
    pub at: Timestamp,
}

/// Packets of one namespace and reason since loading, whatever became of their detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Net cookie of the namespace.
    pub netns_cookie: u64,
    /// The kernel's reason.
    pub reason: String,
    /// Packets.
    pub count: u64,
}

impl Tracer {
    /// Takes out all drops since the last drain. Blocks for some milliseconds: one kernel grace period.
    pub fn drain(&mut self) -> Result<Drained, DrainError> {
        let clock = Clock::read().map_err(DrainError::Clock)?;
        let side = self.ledger.active;
        self.active.set(0, side.other().index(), 0).map_err(|source| DrainError::Map {
            operation: "turn",
            map: "active map",
            source,
        })?;
        self.ledger.active = side.other();
        wait_for_running_programs();

        let records = self.take(side)?;
        *side.of_mut(&mut self.ledger.seen) = self.counter(side.counter())?;
        self.symbols.learn(records.iter().map(|(key, _)| key.location));
        let drops = records.iter().filter_map(|(key, value)| self.describe(key, value, &clock)).collect();
        Ok(Drained {
            drops,
            lost: self.ledger.lost(),
            total: self.ledger.total(),
            skipped: self.skipped(),
            unattributed: self.counter(Counter::NoNetns)?,
            at: clock.now(),
        })
    }

    /// Packets by namespace and reason since loading, those since the last drain included.
    pub fn totals(&self) -> Result<Vec<Total>, DrainError> {
        self.totals
            .iter()
            .map(|entry| {
                let (key, counts) =
                    entry.map_err(|source| DrainError::Map { operation: "read", map: "totals", source })?;
                Ok(Total {
                    netns_cookie: key.0.netns,
                    reason: self.reasons.name(key.0.reason),
                    count: counts.iter().sum(),
                })
            })
            .collect()
    }

    /// Empties the map that is at rest.
    fn take(&mut self, side: Side) -> Result<Vec<(DropKey, DropValue)>, DrainError> {
        const MAP: &str = "drops";
        let map = side.of_mut(&mut self.drops);
        // Collected first: removing the entry an iteration stands on sends it back to the start.
        let records = map
            .iter()
            .map(|entry| entry.map(|(key, value)| (key.0, value.0)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| DrainError::Map { operation: "read", map: MAP, source })?;
        for (key, value) in &records {
            map.remove(&crate::pod::Record(*key)).map_err(|source| DrainError::Map {
                operation: "empty",
                map: MAP,
                source,
            })?;
            *side.of_mut(&mut self.ledger.drained) += value.count;
        }
        Ok(records)
    }

    fn describe(&self, key: &DropKey, value: &DropValue, clock: &Clock) -> Option<Drop> {
        let reply = key.flags & FLAG_ACK != 0;
        let (src_port, dst_port) =
            if reply { (key.server_port, value.client_port) } else { (value.client_port, key.server_port) };
        Some(Drop {
            netns_cookie: key.netns,
            tuple: Tuple {
                protocol: Protocol::from_number(key.protocol)?,
                src: address(key.family, key.src)?,
                dst: SocketAddr::new(address(key.family, key.dst)?, dst_port),
            },
            last_src_port: src_port,
            reply,
            reason: self.reasons.name(key.reason),
            location: self.symbols.name(key.location),
            in_ifindex: value.in_ifindex,
            ifindex: value.ifindex,
            mark: value.mark,
            count: value.count,
            first_at: clock.wall(value.first_ns),
            last_at: clock.wall(value.last_ns),
        })
    }

    fn counter(&self, counter: Counter) -> Result<u64, DrainError> {
        self.counters
            .get(&counter.index(), 0)
            .map(|counts| counts.iter().sum())
            .map_err(|source| DrainError::Map { operation: "read", map: "counters", source })
    }

    /// The kernel prints this for the descriptor of a program (kernel/bpf/syscall.c, bpf_prog_show_fdinfo).
    fn skipped(&self) -> u64 {
        self.program_fd()
            .and_then(|fd| std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok())
            .and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
                line.trim().parse().ok()
            })
            .unwrap_or(0)
    }
}

/// Words hold the packet's bytes in memory order.
fn address(family: u8, words: [u32; 4]) -> Option<IpAddr> {
    let [a, b, c, d] = words.map(u32::from_be);
    match family {
        FAMILY_IPV4 => Some(IpAddr::V4(Ipv4Addr::from_bits(a))),
        FAMILY_IPV6 => {
            let bits = [a, b, c, d].into_iter().fold(0, |bits, word| bits << 32 | u128::from(word));
            Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
        }
        _ => None,
    }
}

/// Returns when no CPU can still be in a program that read the old value of the active map: programs run inside an
/// RCU read section, and this command of membarrier is `synchronize_rcu` (kernel/sched/membarrier.c).
fn wait_for_running_programs() {
    // linux/membarrier.h
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes three integers and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        // Refused on kernels with nohz_full CPUs. A program takes about a microsecond; a packet that still slips
        // through stays in the map for its next turn and counts as lost until then.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
