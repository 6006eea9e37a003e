//! Clauses with their source and time, for causes to argue with.
//!
//! What a clause claims is the cause's to say; here it only gets where and when it was seen.

use model::Walk;
use model::explanation::{EvidenceKind, Reason};
use model::objects::{Meta, Origin};
use model::probe::ListenerReport;

use super::Facts;

impl Facts<'_> {
    /// A clause shown by an object.
    pub fn object(&self, meta: &Meta, text: impl Into<String>) -> Reason {
        let source = if meta.source.is_empty() { self.objects_word() } else { meta.source.clone() };
        self.by_objects(source, text)
    }

    /// A clause shown by all objects together, such as that none has a label.
    pub fn objects(&self, text: impl Into<String>) -> Reason {
        self.by_objects(self.objects_word(), text)
    }

    /// A clause shown by a node's rules.
    pub fn rules(&self, node: &str, walk: &Walk, text: impl Into<String>) -> Reason {
        Reason {
            text: text.into(),
            evidence: EvidenceKind::Rules,
            source: node.to_owned(),
            observed_at: Some(walk.rules.read_at),
        }
    }

    /// A clause shown by a socket table.
    pub fn sockets(&self, node: &str, report: &ListenerReport, text: impl Into<String>) -> Reason {
        Reason {
            text: text.into(),
            evidence: EvidenceKind::Sockets,
            source: node.to_owned(),
            observed_at: Some(report.read_at),
        }
    }

    fn objects_word(&self) -> String {
        self.case.objects.source_word().to_owned()
    }

    fn by_objects(&self, source: String, text: impl Into<String>) -> Reason {
        // What a file says is as old as the file; what the API says is as old as the watch.
        let observed_at =
            (self.case.objects.origin == Origin::ApiServer).then_some(self.case.objects.current_at);
        Reason { text: text.into(), evidence: EvidenceKind::Object, source, observed_at }
    }
}
