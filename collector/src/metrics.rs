//! What the collector counts. Labels are closed sets: kinds, verdicts, catalogue ids.

use std::time::Duration;

use model::Explanation;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// From a cached answer to the longest time-out.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EvidenceLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabels {
    cause: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NodeLabels {
    node: String,
}

/// What became of evidence that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Received {
    /// Kept.
    New,
    /// Known already.
    Duplicate,
    /// Not understood, or of another node.
    Refused,
    /// The store failed; the agent sends it again.
    Failed,
}

/// All metrics, and how they are written.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    evidence: Family<EvidenceLabels, Counter>,
    explain: Family<VerdictLabels, Histogram>,
    findings: Family<CauseLabels, Counter>,
    pub(crate) connected: Gauge,
    pub(crate) known: Gauge,
    lost: Family<NodeLabels, Gauge>,
    objects: Family<KindLabels, Gauge>,
    resyncs: Family<KindLabels, Gauge>,
    pub(crate) object_problems: Gauge,
    objects_generation: Gauge,
    pub(crate) store_records: Gauge,
    pub(crate) store_bytes: Gauge,
    pub(crate) store_evicted: Gauge,
    pub(crate) watchers: Gauge,
    missed: Counter,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("why_dropped_collector");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the collector", build);
        let metrics = Self {
            evidence: Family::default(),
            explain: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            findings: Family::default(),
            connected: Gauge::default(),
            known: Gauge::default(),
            lost: Family::default(),
            objects: Family::default(),
            resyncs: Family::default(),
            object_problems: Gauge::default(),
            objects_generation: Gauge::default(),
            store_records: Gauge::default(),
            store_bytes: Gauge::default(),
            store_evicted: Gauge::default(),
            watchers: Gauge::default(),
            missed: Counter::default(),
            registry: Registry::default(),
        };
        registry.register(
            "evidence",
            "Evidence received, by kind and what became of it",
            metrics.evidence.clone(),
        );
        registry.register(
            "explain_seconds",
            "Time to answer a question, by verdict",
            metrics.explain.clone(),
        );
        registry.register(
            "findings",
            "Findings that explained a verdict, by catalogue id",
            metrics.findings.clone(),
        );
        registry.register("agents_connected", "Agents whose stream is up", metrics.connected.clone());
        registry.register("agents_known", "Agents that connected in the last day", metrics.known.clone());
        registry.register(
            "agent_lost_packets",
            "Packets whose detail an agent lost since it started",
            metrics.lost.clone(),
        );
        registry.register("objects", "Kubernetes objects held, by kind", metrics.objects.clone());
        registry.register("watch_resyncs", "Times a kind had to be listed anew", metrics.resyncs.clone());
        registry.register(
            "object_problems",
            "Kinds or files that cannot be kept current",
            metrics.object_problems.clone(),
        );
        registry.register(
            "objects_generation",
            "Grows whenever the objects or what is known of them change",
            metrics.objects_generation.clone(),
        );
        registry.register("store_records", "Drop records kept", metrics.store_records.clone());
        registry.register("store_bytes", "Bytes of the records kept", metrics.store_bytes.clone());
        registry.register(
            "store_evicted",
            "Records given up for space since the start",
            metrics.store_evicted.clone(),
        );
        registry.register("drop_watchers", "Callers of WatchDrops", metrics.watchers.clone());
        registry.register(
            "watch_missed",
            "Drops that a caller of WatchDrops was too slow for",
            metrics.missed.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts evidence of one kind.
    pub(crate) fn evidence(&self, kind: &'static str, outcome: Received, count: u64) {
        if count > 0 {
            let outcome = match outcome {
                Received::New => "new",
                Received::Duplicate => "duplicate",
                Received::Refused => "refused",
                Received::Failed => "failed",
            };
            self.evidence.get_or_create(&EvidenceLabels { kind, outcome }).inc_by(count);
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, explanation: &Explanation, took: Duration) {
        let verdict = explanation.verdict.word();
        self.explain.get_or_create(&VerdictLabels { verdict }).observe(took.as_secs_f64());
        if let Some(first) = explanation.findings.first() {
            self.findings.get_or_create(&CauseLabels { cause: first.id.clone() }).inc();
        }
    }

    /// Counts drops that a watcher did not get.
    pub(crate) fn missed(&self, count: u64) {
        self.missed.inc_by(count);
    }

    /// Sets the figures of the objects.
    pub(crate) fn objects(&self, status: &cluster::Status, generation: u64) {
        self.objects_generation.set(gauge(generation));
        for kind in &status.kinds {
            let labels = KindLabels { kind: kind.kind.name() };
            self.objects.get_or_create(&labels).set(gauge(kind.objects as u64));
            self.resyncs.get_or_create(&labels).set(gauge(kind.resyncs));
        }
        self.object_problems.set(gauge(status.problems().count() as u64));
    }

    /// Sets the figures of the agents.
    pub(crate) fn agents<'a>(&self, reports: impl IntoIterator<Item = &'a model::NodeReport>) {
        let (mut known, mut connected) = (0, 0);
        self.lost.clear();
        for report in reports {
            known += 1;
            connected += u64::from(report.connected);
            self.lost.get_or_create(&NodeLabels { node: report.name.clone() }).set(gauge(report.lost));
        }
        self.known.set(gauge(known));
        self.connected.set(gauge(connected));
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

pub(crate) fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
