//! Which cause a denial belongs to, by the rule that comes nearest to admitting, and what the causes share that blame it.
//!
//! What each of them says and advises is in its own file.

use model::explanation::PolicyVerdict;
use model::{Key, Protocol};
use policy::{DetailedDirection, LabelMiss, NearMiss, RuleMiss};

use super::{Denial, admit, finding, look, nearest};
use crate::facts::{Direction, Facts};
use crate::ruling::{Finding, Meta, Ruling};
use crate::words;

/// Set by the API server on every namespace, and not to be changed.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What keeps the nearest rule from admitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No rule is near, or it is near in a way that has no cause of its own.
    Far,
    /// The pod's labels, alone or beside its namespace.
    PodLabels,
    /// The namespace alone.
    Namespace,
    /// It lists the port of a Service instead of that of its pods.
    ServicePort,
    /// It has the port for another protocol.
    Protocol,
    /// It names a port that the pod does not declare so.
    NamedPort,
    /// A hole in its address block.
    Except,
}

/// The kind of a denial.
pub(crate) fn kind(found: &DetailedDirection) -> Kind {
    let Some((_, miss)) = nearest(found) else { return Kind::Far };
    let any = |is: fn(&NearMiss) -> bool| miss.misses.iter().any(is);
    if miss.admits_port && !miss.misses.is_empty() {
        let selects = |miss: &NearMiss| {
            matches!(
                miss,
                NearMiss::PodLabels { .. }
                    | NearMiss::NamespaceLabels { .. }
                    | NearMiss::OtherNamespace { .. }
            )
        };
        if miss.misses.iter().all(selects) {
            let labels = any(|miss| matches!(miss, NearMiss::PodLabels { .. }));
            return if labels { Kind::PodLabels } else { Kind::Namespace };
        }
        if any(|miss| matches!(miss, NearMiss::InsideExcept { .. })) {
            return Kind::Except;
        }
    }
    if !miss.admits_peer {
        return Kind::Far;
    }
    match () {
        () if any(|miss| matches!(miss, NearMiss::ServicePort { .. })) => Kind::ServicePort,
        () if any(|miss| matches!(miss, NearMiss::Protocol { .. })) => Kind::Protocol,
        () if any(|miss| {
            matches!(miss, NearMiss::NamedPortMissing { .. } | NearMiss::NamedPortElsewhere { .. })
        }) =>
        {
            Kind::NamedPort
        }
        () => Kind::Far,
    }
}

/// The rule to blame in a direction.
pub(crate) struct Blamed<'a> {
    /// Its policy.
    pub(crate) policy: &'a Key,
    /// How it misses.
    pub(crate) miss: &'a RuleMiss,
    /// The direction.
    pub(crate) direction: Direction,
    /// The first way it denies, by index.
    pub(crate) way: usize,
    /// The ends of all it denies: `shop/api-0 and shop/api-1`.
    pub(crate) to: String,
}

/// A denial of one kind, out of the source or into the destination, whichever a packet meets first. `tell` gives the
/// title and adds what there is to do.
pub(crate) fn near_miss(
    facts: &Facts<'_>,
    meta: &Meta,
    wanted: Kind,
    tell: impl Fn(&Blamed<'_>) -> Option<(String, Vec<(String, String)>)>,
) -> Ruling {
    // Where all is admitted there is no miss to look for; that much N1 and N2 say.
    let admitted = |direction: Direction| {
        facts.live_ways().all(|(way, _)| {
            facts.direction(way, direction).is_some_and(|found| found.effect == PolicyVerdict::Allow)
        })
    };
    let directions = [Direction::Egress, Direction::Ingress].into_iter().filter(|way| !admitted(*way));
    let mut otherwise = Ruling::NotApplicable;
    for direction in directions {
        match look(facts, direction, |found| kind(found) == wanted) {
            Ok(denial) => {
                if let Some(found) = blame(facts, meta, direction, &denial, &tell) {
                    return Ruling::Found(Box::new(found));
                }
            }
            Err(Ruling::CannotTell(gap)) => otherwise = Ruling::CannotTell(gap),
            // Not knowing one direction is more than having ruled out the other.
            Err(Ruling::RuledOut(_)) if !matches!(otherwise, Ruling::CannotTell(_)) => {
                otherwise = Ruling::RuledOut("no rule of a policy misses it in this way".into());
            }
            Err(_) => {}
        }
    }
    otherwise
}

fn blame(
    facts: &Facts<'_>,
    meta: &Meta,
    direction: Direction,
    denial: &Denial<'_>,
    tell: &impl Fn(&Blamed<'_>) -> Option<(String, Vec<(String, String)>)>,
) -> Option<Finding> {
    let way = *denial.ways.first()?;
    let (policy, miss) = facts.direction(way, direction).and_then(nearest)?;
    let to = words::list(&facts.names(&denial.ways), 2);
    let (title, fixes) = tell(&Blamed { policy, miss, direction, way, to })?;
    let mut found = finding(facts, meta, direction, denial, title);
    for (text, command) in fixes {
        found = found.fix(text, command);
    }
    Some(match admit(facts, way, direction) {
        Some(command) => found.fix("Or admit it as it is, by a policy of its own", command),
        None => found,
    })
}

/// How to add a port to the blamed rule.
pub(crate) fn add_port(blamed: &Blamed<'_>, port: u16, protocol: Protocol) -> (String, String) {
    let Blamed { policy, miss, direction, .. } = blamed;
    let patch = format!(
        "[{{\"op\":\"add\",\"path\":\"/spec/{}/{}/ports/-\",\"value\":{{\"protocol\":\"{}\",\"port\":{port}}}}}]",
        direction.word(),
        miss.rule.saturating_sub(1),
        protocol.upper()
    );
    let command = format!(
        "kubectl -n {} patch networkpolicy {} --type=json -p {}",
        words::shell(&policy.namespace),
        words::shell(&policy.name),
        words::shell(&patch)
    );
    (format!("Add {port}/{protocol} to rule {}", miss.rule), command)
}

/// How to give a namespace the labels it lacks, where that can be done.
pub(crate) fn label_namespace(namespace: &str, unmet: &[LabelMiss]) -> Option<(String, String)> {
    let labels = equalities(unmet).filter(|_| unmet.iter().all(|miss| miss.key != NAME_LABEL))?;
    let command =
        format!("kubectl label namespace {} {} --overwrite", words::shell(namespace), labels.join(" "));
    Some((format!("Give namespace {namespace} the label"), command))
}

/// `key=value` for labels that each have to have one value; `None` for other requirements, or none.
pub(crate) fn equalities(unmet: &[LabelMiss]) -> Option<Vec<String>> {
    let equality = |miss: &LabelMiss| {
        let value = miss.wanted.strip_prefix(&miss.key)?.strip_prefix('=')?;
        Some(words::shell(&format!("{}={value}", miss.key)))
    };
    let labels: Option<Vec<String>> = unmet.iter().map(equality).collect();
    labels.filter(|labels| !labels.is_empty())
}
