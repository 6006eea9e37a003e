//! Policies of kinds that are not evaluated: named in answers, so that nobody takes a verdict for more than it is.

use serde::{Deserialize, Serialize};

use super::reference::Meta;
use super::selector::Selector;

/// What a policy that is not evaluated could do to a verdict of those that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Power {
    /// Nothing: it is about other networks than the pods' own, or only being tried out.
    Elsewhere,
    /// Deny what they admit. It is asked beside them or behind them, as by a service mesh.
    Restricts,
    /// Deny what they admit and admit what they deny: the plugin judges it together with them, or before.
    Overrides,
}

/// The directions a policy that is not evaluated is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Directions {
    /// What comes into pods.
    Ingress,
    /// What goes out of pods.
    Egress,
    /// Both.
    Both,
}

/// A policy of a kind that is not evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherPolicy {
    /// Metadata. One without a namespace may be about pods anywhere.
    pub meta: Meta,
    /// The API version as given.
    pub api_version: String,
    /// The kind as given.
    pub kind: String,
    /// Whether it may be about pods of every namespace.
    pub everywhere: bool,
    /// The pods it is about, where that could be told; otherwise it may be about any.
    pub pods: Option<Selector>,
    /// What it could do to a verdict.
    pub power: Power,
    /// In which directions.
    pub directions: Directions,
}

impl OtherPolicy {
    /// Whether it may be about a pod with these labels in this namespace.
    pub fn may_govern(&self, namespace: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        (self.everywhere || self.meta.key.namespace == namespace)
            && self.pods.as_ref().is_none_or(|pods| pods.matches(labels))
    }
}
