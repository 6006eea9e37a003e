//! What the agent says of itself: which sources work, what was lost, who serves Services here. Put together every few
//! seconds; sent when it changed by the link.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use kernel::Known;
use model::{NodeReport, Origin as Entry, Packet, Protocol, ServiceProxy, SourceHealth, SourceState};
use tokio::sync::watch;

use crate::metrics::{LossPlace, Metrics};
use crate::node::SharedSeen;
use crate::outbox::Outbox;
use crate::preflight;
use crate::publish::Unwalked;
use crate::walks::{KernelSource, Patience, RuleCache, Rules};

/// How often it is put together: cheap, and a loss is to be seen soon.
const EVERY: Duration = Duration::from_secs(2);
/// How often the sources are probed again: a tool may be installed, a namespace may become unreadable. It starts
/// processes and visits namespaces, so not more often.
const PREFLIGHT_EVERY: Duration = Duration::from_mins(1);
/// How old the rules may be from which the Service proxy is told, when no question has had them read since.
const PROXY_AT_LEAST: Duration = Duration::from_mins(1);

/// Everything the status is made from.
pub struct Reporter {
    /// The node's own namespace.
    pub own: Known,
    /// Parsed rules.
    pub cache: Arc<RuleCache<KernelSource>>,
    /// Records waiting and cut.
    pub outbox: Outbox,
    /// What the node side saw.
    pub seen: SharedSeen,
    /// What was not walked.
    pub unwalked: Arc<Unwalked>,
    /// Why the BPF programs could not be loaded, if so.
    pub load_error: Option<String>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

struct State {
    sources: Vec<SourceState>,
    probed: Instant,
    proxy: Option<ServiceProxy>,
    proxy_read: Option<Instant>,
}

impl Reporter {
    /// Keeps the report current until nobody takes it. `sources` are those probed at start.
    pub async fn run(self, sources: Vec<SourceState>, report: watch::Sender<NodeReport>) {
        let mut state = State { sources, probed: Instant::now(), proxy: None, proxy_read: None };
        let mut reporter = self;
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = report.closed() => return,
                _ = tick.tick() => {}
            }
            // Probing and reading rules block.
            let turn = tokio::task::spawn_blocking(move || {
                reporter.turn(&mut state);
                (reporter, state)
            });
            let Ok(returned) = turn.await else {
                tracing::error!("putting the status together failed; the last one stands");
                return;
            };
            (reporter, state) = returned;
            reporter.publish(&state, &report);
        }
    }

    /// The report before anything but the sources is known.
    pub fn first(node: &str, kernel: &str, sources: &[SourceState]) -> NodeReport {
        NodeReport {
            name: node.to_owned(),
            connected: true,
            last_seen: None,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: kernel.to_owned(),
            service_proxy: None,
            sources: sources.to_vec(),
            lost: 0,
        }
    }

    fn turn(&self, state: &mut State) {
        if state.probed.elapsed() >= PREFLIGHT_EVERY {
            state.sources = preflight::check();
            state.probed = Instant::now();
        }
        let due = state.proxy_read.is_none_or(|read| read.elapsed() >= PROXY_AT_LEAST);
        let rules = if due {
            state.proxy_read = Some(Instant::now());
            Some(self.cache.rules(&self.own, Patience::Frugal))
        } else {
            self.cache.at_hand(self.own.netns.cookie)
        };
        if let Some(rules) = rules {
            state.proxy = service_proxy(&rules);
        }
    }

    fn publish(&self, state: &State, report: &watch::Sender<NodeReport>) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let depth = self.outbox.depth();
        self.metrics.set_lost(LossPlace::Outbox, depth.cut_packets);
        self.metrics.outbox_waiting.set(i64::try_from(depth.waiting).unwrap_or(i64::MAX));
        let over_rate = self.unwalked.over_rate.load(Ordering::Relaxed);
        let drops = Drops { load_error: self.load_error.as_deref(), troubles: &seen.troubles, over_rate };
        let sources = state.sources.iter().map(|source| drops.applied_to(source)).collect();
        let lost = seen.lost.saturating_add(depth.cut_packets);
        report.send_if_modified(|report| {
            let now = NodeReport { sources, lost, service_proxy: state.proxy, ..report.clone() };
            let changed = now != *report;
            *report = now;
            changed
        });
    }
}

/// What running has shown of the source `drops`, beyond what probing told.
struct Drops<'a> {
    load_error: Option<&'a str>,
    troubles: &'a [String],
    over_rate: u64,
}

impl Drops<'_> {
    fn applied_to(&self, source: &SourceState) -> SourceState {
        let mut source = source.clone();
        if source.name != "drops" {
            return source;
        }
        if let Some(error) = self.load_error {
            // Probing may already tell the same in better words.
            if source.health != SourceHealth::Unavailable {
                source.detail = format!(
                    "{error}; connections that this node drops are not seen, rules and sockets still are"
                );
            }
            source.health = SourceHealth::Unavailable;
            return source;
        }
        let mut troubles = self.troubles.to_vec();
        if self.over_rate > 0 {
            troubles.push(format!(
                "{} dropped flows were recorded without the rules' doing, because too many were new at once",
                self.over_rate
            ));
        }
        if !troubles.is_empty() {
            source.health = source.health.max(SourceHealth::Degraded);
            source.detail = format!("{}; {}", source.detail, troubles.join("; "));
        }
        source
    }
}

/// Who serves Services here, as far as these rules tell. `None` where rules could not be read: an unread rule may be
/// the proxy's.
fn service_proxy(rules: &Rules) -> Option<ServiceProxy> {
    // Any packet will do: who serves Services is a fact of the rules. TEST-NET-1 (RFC 5737) meets no real rule.
    let packet = Packet {
        origin: Entry::External,
        in_interface: None,
        protocol: Protocol::Tcp,
        src: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        src_port: None,
        dst: SocketAddr::from(([192, 0, 2, 2], 9)),
    };
    if rules.unreadable.is_some() {
        return None;
    }
    let walk = rules.walk(&packet);
    let unread = || walk.gaps.iter().any(|gap| gap.what.contains("iptables") || gap.what.contains("rules"));
    (walk.proxy.mode != ServiceProxy::None || !unread()).then_some(walk.proxy.mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, health: SourceHealth) -> SourceState {
        SourceState { name: name.to_owned(), health, detail: "as probed".to_owned() }
    }

    #[test]
    fn what_running_shows_is_added_to_drops_only() {
        let troubles = ["300 namespaces and only 256 fit".to_owned()];
        let drops = Drops { load_error: None, troubles: &troubles, over_rate: 3 };
        let applied = drops.applied_to(&source("drops", SourceHealth::Ok));
        assert_eq!(applied.health, SourceHealth::Degraded);
        assert!(
            applied.detail.contains("as probed; 300 namespaces")
                && applied.detail.contains("3 dropped flows")
        );
        assert_eq!(drops.applied_to(&source("routes", SourceHealth::Ok)), source("routes", SourceHealth::Ok));
    }

    #[test]
    fn a_failed_load_tells_its_cost_once() {
        let drops =
            Drops { load_error: Some("load kfree_skb into the kernel: denied"), troubles: &[], over_rate: 0 };
        let applied = drops.applied_to(&source("drops", SourceHealth::Ok));
        assert_eq!(applied.health, SourceHealth::Unavailable);
        assert!(
            applied.detail.contains("denied") && applied.detail.contains("are not seen"),
            "{}",
            applied.detail
        );
        let applied = drops.applied_to(&source("drops", SourceHealth::Unavailable));
        assert_eq!(applied.detail, "as probed");
    }
}
