//! What the causes about sockets bound to the wrong address share: the port is bound in the pod, and no socket takes what
//! comes to this address.
//!
//! Which sockets are whose, their files say.

use model::node_state::Listener;
use model::{ObjectRef, Place, Stage, Verdict};

use crate::facts::{Facts, Listening, Way};
use crate::ruling::{Finding, Meta, Ruling, Sure};
use crate::words;

/// How many pods one argument tells apart.
const TOLD: usize = 5;

/// One such cause.
pub(crate) struct Bound {
    /// What never changes about it.
    pub(crate) meta: &'static Meta,
    /// The socket it is about, if this is such a case.
    pub(crate) socket: for<'a> fn(&Listening<'a>) -> Option<&'a Listener>,
    /// How the socket is bound, after "has 8080 bound to ".
    pub(crate) binding: fn(&Way<'_>, &Listener, &str) -> String,
    /// What the pods do, after "listens ".
    pub(crate) title: fn(&Way<'_>) -> String,
    /// How the advice ends, after "Let … listen on …".
    pub(crate) advice: &'static str,
    /// What is said where no socket is such.
    pub(crate) ruled_out: &'static str,
}

/// Rules on one such cause.
pub(crate) fn rule(facts: &Facts<'_>, cause: &Bound) -> Ruling {
    if facts.live_ways().next().is_none() {
        return Ruling::NotApplicable;
    }
    let mut unknown = None;
    let mut ways = Vec::new();
    for (index, way) in facts.live_ways() {
        let listening = way.listening();
        if (cause.socket)(&listening).is_some() {
            ways.push(index);
        } else if let Listening::Unknown(gap) = listening {
            unknown = unknown.or(Some(gap));
        }
    }
    let Some(first) = ways.first().map(|way| &facts.ways[*way]) else {
        return match unknown {
            Some(gap) => Ruling::CannotTell(gap),
            None => Ruling::RuledOut(cause.ruled_out.into()),
        };
    };
    let port = first.destination.port();
    let names = facts.names(&ways);
    let proof = facts.prove_no_socket(&ways);
    let at = first.pod.map_or(Place::intent(Stage::Destination), |pod| {
        Place::pod(pod.node.clone(), pod.key().clone(), Stage::Destination)
    });
    let mut reasons = ways.iter().filter_map(|index| {
        let way = &facts.ways[*index];
        let listener = (cause.socket)(&way.listening())?;
        let (Ok(report), Some(node)) = (&way.listeners, way.node) else { return None };
        let by = listener.process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
        let text = format!("{} has {port} bound to {}", way.name(), (cause.binding)(way, listener, &by));
        Some(facts.sockets(node, report, text))
    });
    let Some(reason) = reasons.next() else { return Ruling::NotApplicable };
    let mut finding = Finding::new(
        cause.meta,
        Sure::by(proof),
        Verdict::Rejected,
        at,
        facts.some_backends(&names, &format!("on {port}{}", (cause.title)(first)), "listens", "listen"),
        reason,
    )
    .because_all(reasons.take(TOLD - 1))
    .on_ways(ways.iter().copied());
    for pod in ways.iter().filter_map(|way| facts.ways[*way].pod) {
        finding = finding.blame(ObjectRef::pod(pod.key(), "spec.containers"));
    }
    let every = if first.destination.is_ipv6() { "[::]" } else { "0.0.0.0" };
    let fix = format!("Let {} listen on {every}:{port}{}", words::list(&names, 3), cause.advice);
    Ruling::Found(Box::new(finding.fix(fix, "")))
}
