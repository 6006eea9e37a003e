//! The agent's own numbers in the OpenMetrics text form. Labels are closed enums, so no input can make a new series.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Seconds; from a cached walk (microseconds) to a first read of 200,000 rules (seconds).
const SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0];

/// What a probe asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ProbeKind {
    /// What the rules do to a packet.
    Walk,
    /// What listens.
    Listeners,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ProbeEnd {
    /// Answered.
    Answered,
    /// Answered with a gap.
    Failed,
    /// Not done in its time.
    TimedOut,
    /// Refused, because as many as allowed were under way.
    Refused,
}

/// Labels of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProbeLabels {
    /// What it asked.
    pub kind: ProbeKind,
    /// How it ended.
    pub end: ProbeEnd,
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum LossPlace {
    /// In the kernel's maps.
    Kernel,
    /// In the outbox.
    Outbox,
}

/// Labels of a loss.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LossLabels {
    /// Where.
    pub place: LossPlace,
}

/// What became of the walk that goes with a new flow's first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum DropWalk {
    /// It was walked.
    Walked,
    /// It was not: too many new flows in this second.
    OverRate,
    /// It was not: the namespace's rules could not be read.
    Unreadable,
}

/// Labels of a drop walk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DropWalkLabels {
    /// What became of it.
    pub result: DropWalk,
}

/// All numbers, and the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Packets counted in drop records.
    pub dropped_packets: Counter,
    /// Drop records made.
    pub records: Counter,
    /// Packets whose detail was lost, as a running total.
    pub lost: Family<LossLabels, Gauge>,
    /// Records waiting for an acknowledgement.
    pub outbox_waiting: Gauge,
    /// Walks that go with new flows.
    pub drop_walks: Family<DropWalkLabels, Counter>,
    /// Probes.
    pub probes: Family<ProbeLabels, Counter>,
    /// How long probes took.
    pub probe_seconds: Histogram,
    /// How often rules were read from the kernel.
    pub rule_reads: Counter,
    /// How long that took.
    pub rule_read_seconds: Histogram,
    /// How long draining the kernel's maps took.
    pub drain_seconds: Histogram,
    /// Network namespaces in scope.
    pub namespaces: Gauge,
    /// 1 while connected and accepted.
    pub connected: Gauge,
    /// Connections tried.
    pub connection_attempts: Counter,
    /// Connections that were accepted.
    pub connections: Counter,
    /// Resident memory, read when asked.
    pub resident_bytes: Gauge<i64>,
    /// Start time, seconds since the epoch.
    pub start_seconds: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All numbers at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("why_dropped_agent");
        registry.register(
            "build",
            "Version of this agent",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        let seconds = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry,
            dropped_packets: Counter::default(),
            records: Counter::default(),
            lost: Family::default(),
            outbox_waiting: Gauge::default(),
            drop_walks: Family::default(),
            probes: Family::default(),
            probe_seconds: seconds(),
            rule_reads: Counter::default(),
            rule_read_seconds: seconds(),
            drain_seconds: seconds(),
            namespaces: Gauge::default(),
            connected: Gauge::default(),
            connection_attempts: Counter::default(),
            connections: Counter::default(),
            resident_bytes: Gauge::default(),
            start_seconds: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "dropped_packets",
            "Dropped first packets counted in records",
            self.dropped_packets.clone(),
        );
        r.register("records", "Drop records made", self.records.clone());
        r.register(
            "lost_packets",
            "Dropped packets counted but in no record that was kept",
            self.lost.clone(),
        );
        r.register("outbox_records", "Records waiting for an acknowledgement", self.outbox_waiting.clone());
        r.register("drop_walks", "Walks done for newly dropped flows", self.drop_walks.clone());
        r.register("probes", "Probes by kind and end", self.probes.clone());
        r.register_with_unit("probe", "Time to answer a probe", Unit::Seconds, self.probe_seconds.clone());
        r.register("rule_reads", "Reads of a namespace's rules", self.rule_reads.clone());
        r.register_with_unit(
            "rule_read",
            "Time to read rules",
            Unit::Seconds,
            self.rule_read_seconds.clone(),
        );
        r.register_with_unit(
            "drain",
            "Time to drain the BPF maps",
            Unit::Seconds,
            self.drain_seconds.clone(),
        );
        r.register("namespaces", "Network namespaces in scope", self.namespaces.clone());
        r.register("connected", "1 while connected and accepted", self.connected.clone());
        r.register("connection_attempts", "Connections tried", self.connection_attempts.clone());
        r.register("connections", "Connections accepted", self.connections.clone());
        r.register_with_unit("resident", "Resident memory", Unit::Bytes, self.resident_bytes.clone());
        r.register_with_unit(
            "start_time",
            "When the agent started",
            Unit::Seconds,
            self.start_seconds.clone(),
        );
    }

    /// Notes the running total of packets lost at one place.
    pub fn set_lost(&self, place: LossPlace, packets: u64) {
        self.lost.get_or_create(&LossLabels { place }).set(i64::try_from(packets).unwrap_or(i64::MAX));
    }

    /// Counts a walk of a newly dropped flow, or why there was none.
    pub fn count_drop_walk(&self, result: DropWalk) {
        self.drop_walks.get_or_create(&DropWalkLabels { result }).inc();
    }

    /// Everything in text form.
    pub fn render(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// This process's resident memory from /proc/self/statm (second field, in pages).
fn resident_bytes() -> Option<i64> {
    // The smallest page size there is; larger ones are read from the auxiliary vector by nobody here, and every
    // supported architecture of today's nodes uses 4 KiB.
    const PAGE: i64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<i64>().ok()?.checked_mul(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_appear_under_their_names() {
        let metrics = Metrics::new();
        metrics.records.inc_by(3);
        metrics.set_lost(LossPlace::Kernel, 7);
        metrics.count_drop_walk(DropWalk::OverRate);
        metrics.probes.get_or_create(&ProbeLabels { kind: ProbeKind::Walk, end: ProbeEnd::Answered }).inc();
        let text = metrics.render();
        for line in [
            "why_dropped_agent_records_total 3",
            "why_dropped_agent_lost_packets{place=\"Kernel\"} 7",
            "why_dropped_agent_drop_walks_total{result=\"OverRate\"} 1",
            "why_dropped_agent_probes_total{kind=\"Walk\",end=\"Answered\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is missing from\n{text}");
        }
        assert!(text.contains("why_dropped_agent_build_info{version="), "{text}");
        assert!(text.trim_end().ends_with("# EOF"), "{text}");
    }
}
