//! What a cause says about a case, and the only way to say "found".
//!
//! Causes build findings here; ranking them and choosing the verdict is the engine's business.

use std::collections::BTreeSet;

use model::explanation::{EvidenceKind, Fix, Reason};
use model::{Certainty, Effect, Gap, ObjectRef, Place, Stage, Timestamp, Verdict};

use crate::facts::{Proof, Stop};

/// What never changes about a cause.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// Catalogue id: `S3`. Never reused; see `retired.txt`.
    pub id: &'static str,
    /// The words of the id, as in the file's name with hyphens: `selector-matches-nothing`.
    pub slug: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// Where on the path it acts.
    pub stage: Stage,
    /// Which kinds of evidence it argues with.
    pub needs: &'static [EvidenceKind],
    /// Ids of causes that are only its symptoms: their findings fall away when this one is found.
    pub supersedes: &'static [&'static str],
}

/// What a cause says about a case. Never a truth value: not knowing is an answer.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// It is there, with proof.
    Found(Box<Finding>),
    /// It was looked for and is not there, because of this.
    RuledOut(String),
    /// What would be needed is missing.
    CannotTell(Gap),
    /// The question has no place for it: a DNS cause where an address was asked for.
    NotApplicable,
}

/// How sure a cause is. `Proven` cannot be said without a drop that was really seen.
#[derive(Clone, Debug)]
pub enum Sure {
    /// Kernel evidence of this flow, checked to be fresh.
    Proven(Proof),
    /// Everything at hand agrees.
    Likely,
    /// Nothing speaks against it.
    Possible,
}

impl Sure {
    /// Whether it is proven.
    pub const fn proven(&self) -> bool {
        matches!(self, Self::Proven(_))
    }

    /// Proven where there is a proof, likely where there is none.
    pub fn by(proof: Option<Proof>) -> Self {
        proof.map_or(Self::Likely, Self::Proven)
    }
}

/// Which part of the question a finding speaks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touches {
    /// Every way the connection can go.
    Everything,
    /// Some attempts (address families), by index into [`crate::facts::Facts::attempts`].
    Attempts(BTreeSet<usize>),
    /// Some ways, by index into [`crate::facts::Facts::ways`].
    Ways(BTreeSet<usize>),
}

/// A found cause. Made by [`Finding::new`] only, which demands a reason.
#[derive(Clone, Debug)]
pub struct Finding {
    pub(crate) inner: model::Finding,
    pub(crate) touches: Touches,
    /// For a proven one, since when drops prove it: the latest change of what it argues about.
    pub(crate) since: Option<Timestamp>,
}

impl Finding {
    /// A finding with its first reason. `title` is a sentence without a full stop, with this case's names.
    pub fn new(
        meta: &Meta,
        sure: Sure,
        verdict: Verdict,
        at: Place,
        title: impl Into<String>,
        first: Reason,
    ) -> Self {
        let since = match &sure {
            Sure::Proven(proof) => Some(proof.changed()),
            Sure::Likely | Sure::Possible => None,
        };
        let (certainty, mut proof) = match sure {
            Sure::Proven(proof) => (Certainty::Proven, proof.into_reasons()),
            Sure::Likely => (Certainty::Likely, Vec::new()),
            Sure::Possible => (Certainty::Possible, Vec::new()),
        };
        let mut because = vec![first];
        because.append(&mut proof);
        Self {
            inner: model::Finding {
                id: meta.id.into(),
                cause: meta.slug.into(),
                title: title.into(),
                certainty,
                effect: Effect::Stops,
                verdict,
                at,
                objects: Vec::new(),
                because,
                fixes: Vec::new(),
                affects: None,
            },
            touches: Touches::Everything,
            since,
        }
    }

    /// One more reason. What the kernel did stays last, so that the argument reads towards it.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        let drops =
            self.inner.because.iter().rev().take_while(|seen| seen.evidence == EvidenceKind::Drop).count();
        let at = if reason.evidence == EvidenceKind::Drop {
            self.inner.because.len()
        } else {
            self.inner.because.len().saturating_sub(drops)
        };
        self.inner.because.insert(at, reason);
        self
    }

    /// More reasons.
    #[must_use]
    pub fn because_all(self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        reasons.into_iter().fold(self, Self::because)
    }

    /// An object at fault.
    #[must_use]
    pub fn blame(mut self, object: ObjectRef) -> Self {
        if !self.inner.objects.contains(&object) {
            self.inner.objects.push(object);
        }
        self
    }

    /// Something to do, with a command to paste or an empty one.
    #[must_use]
    pub fn fix(mut self, text: impl Into<String>, command: impl Into<String>) -> Self {
        self.inner.fixes.push(Fix { text: text.into(), command: command.into() });
        self
    }

    /// Limits the finding to some ways.
    #[must_use]
    pub fn on_ways(mut self, ways: impl IntoIterator<Item = usize>) -> Self {
        self.touches = Touches::Ways(ways.into_iter().collect());
        self
    }

    /// Limits the finding to some attempts.
    #[must_use]
    pub fn on_attempts(mut self, attempts: impl IntoIterator<Item = usize>) -> Self {
        self.touches = Touches::Attempts(attempts.into_iter().collect());
        self
    }

    /// Limits the finding to what these stops end.
    #[must_use]
    pub fn on_stops(self, stops: &[Stop<'_>]) -> Self {
        if stops.iter().all(|stop| stop.way.is_some()) {
            return self.on_ways(stops.iter().filter_map(|stop| stop.way));
        }
        self.on_attempts(stops.iter().map(|stop| stop.attempt))
    }

    /// Makes it a remark: true and worth knowing, but not what stops the connection.
    #[must_use]
    pub fn note(mut self) -> Self {
        self.inner.effect = Effect::Note;
        self
    }

    /// The finding as answers carry it.
    pub fn model(&self) -> &model::Finding {
        &self.inner
    }
}
