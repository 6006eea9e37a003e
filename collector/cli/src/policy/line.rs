//! A connection of a batch and its verdict as a line. Public contract: names and order of fields are fixed.

use ::policy::{Connection, Detailed, DetailedDirection, End, Patch, PolicyIndex, evaluate};
use model::explanation::{DirectionVerdict, PolicyAnswer, PolicyEffect, PolicyPart, PolicyVerdict};
use model::{Key, ObjectSet, Protocol};
use objects::nearest::nearest;
use serde::{Deserialize, Serialize};

/// A connection as asked about.
#[derive(Debug, Deserialize)]
pub struct Asked {
    src: String,
    dst: String,
    port: u16,
    proto: Option<String>,
}

impl Asked {
    /// What the policies say of it.
    pub fn judge(&self, set: &ObjectSet, index: &PolicyIndex<'_>) -> Result<Told, String> {
        let protocol = match &self.proto {
            None => Protocol::Tcp,
            Some(word) => word.parse::<Protocol>().map_err(|error| format!("proto: {error}"))?,
        };
        let src = end(set, &self.src).map_err(|why| format!("src: {why}"))?;
        let dst = end(set, &self.dst).map_err(|why| format!("dst: {why}"))?;
        if self.port == 0 {
            return Err("port: 0 is no port".to_owned());
        }
        Ok(Told::of(evaluate(index, &Connection::direct(src, dst, self.port, protocol))))
    }
}

fn end(set: &ObjectSet, text: &str) -> Result<End, String> {
    if let Ok(address) = text.parse() {
        return Ok(End::Address(address));
    }
    let Some((namespace, name)) = text.split_once('/') else {
        return Err(format!("`{text}` is neither NAMESPACE/POD nor an address"));
    };
    let key = Key::new(namespace, name);
    if set.pods.contains_key(&key) {
        return Ok(End::Pod(key));
    }
    let names: Vec<String> = set.pods.keys().map(ToString::to_string).collect();
    let near = nearest(text, names.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Err(format!("no pod `{text}`{near}"))
}

/// What is told of a connection.
#[derive(Debug, Serialize)]
pub struct Told {
    verdict: &'static str,
    egress: Direction,
    ingress: Direction,
}

#[derive(Debug, Serialize)]
struct Direction {
    effect: &'static str,
    isolated: bool,
    policies: Vec<Part>,
    /// Only where one connection is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<Change>,
}

/// The smallest change that would admit it.
#[derive(Debug, Serialize)]
struct Change {
    kind: &'static str,
    policy: String,
    says: String,
    /// A JSON patch (RFC 6902) as a text.
    json: String,
    command: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    kind: String,
    policy: String,
    effect: &'static str,
    rule: Option<u32>,
    near_miss: String,
}

impl Told {
    /// From the public answer.
    pub fn of(answer: PolicyAnswer) -> Self {
        let value = match (answer.egress.effect, answer.ingress.effect) {
            (PolicyVerdict::Deny, _) | (_, PolicyVerdict::Deny) => PolicyVerdict::Deny,
            (PolicyVerdict::Unknown, _) | (_, PolicyVerdict::Unknown) => PolicyVerdict::Unknown,
            (PolicyVerdict::Allow, PolicyVerdict::Allow) => PolicyVerdict::Allow,
        };
        Self {
            verdict: word(value),
            egress: Direction::of(answer.egress),
            ingress: Direction::of(answer.ingress),
        }
    }

    /// The same with the smallest change that would admit what is denied.
    pub fn with_patches(detailed: &Detailed) -> Self {
        let mut told = Self::of(detailed.answer());
        told.egress.patch = change(&detailed.egress);
        told.ingress.patch = change(&detailed.ingress);
        told
    }
}

fn change(direction: &DetailedDirection) -> Option<Change> {
    let patch @ Patch { kind, policy, says, json, .. } = direction.patch.as_ref()?;
    let (kind, policy, command) = (kind.word(), policy.to_string(), patch.command());
    Some(Change { kind, policy, says: says.clone(), json: json.clone(), command })
}

impl Direction {
    fn of(verdict: DirectionVerdict) -> Self {
        Self {
            effect: word(verdict.effect),
            isolated: verdict.isolated,
            policies: verdict.policies.into_iter().map(Part::of).collect(),
            patch: None,
        }
    }
}

impl Part {
    fn of(part: PolicyPart) -> Self {
        let effect = match part.effect {
            PolicyEffect::Allows => "ALLOWS",
            PolicyEffect::Denies => "DENIES",
            PolicyEffect::Passes => "PASSES",
            PolicyEffect::PeerMismatch => "PEER_MISMATCH",
            PolicyEffect::PortMismatch => "PORT_MISMATCH",
            PolicyEffect::NoRules => "NO_RULES",
        };
        Self { kind: part.kind, policy: part.policy, effect, rule: part.rule, near_miss: part.near_miss }
    }
}

/// The word of a verdict.
pub const fn word(verdict: PolicyVerdict) -> &'static str {
    match verdict {
        PolicyVerdict::Allow => "ALLOW",
        PolicyVerdict::Deny => "DENY",
        PolicyVerdict::Unknown => "UNKNOWN",
    }
}
