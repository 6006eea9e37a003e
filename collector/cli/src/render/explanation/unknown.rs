//! What is known, what is not, and what to do next, where that is the answer.

use proto::v1;

use super::super::layout::escape;
use super::super::{gaps, rule};
use super::Page;

/// What a hop says before the reason it is not known; that reason stands among the gaps.
const NOT_KNOWN: &str = "not known: ";

impl Page<'_> {
    pub(super) fn unknown(&mut self) {
        self.known();
        let answer = self.answer;
        let unseen = gaps::unseen(&answer.not_checked);
        // The sentence may be one of the gaps word for word.
        let summary = escape(answer.summary.trim_end_matches('.'));
        let mut texts = self.unknown_hops();
        texts.extend(unseen.iter().map(|unseen| unseen.text.clone()).filter(|text| *text != summary));
        if !texts.is_empty() {
            self.labelled("not known", &texts);
        }
        let mut label = "next";
        for remedy in unseen.iter().map(|unseen| escape(&unseen.remedy)).filter(|remedy| !remedy.is_empty()) {
            // A command is pasted, so it stays on its line.
            let remedy = if gaps::is_command(&remedy) { remedy.replace(' ', "\u{a0}") } else { remedy };
            self.labelled(label, &[remedy]);
            label = "";
        }
    }

    /// Hops that are known, each once, and what the policies say.
    fn known(&mut self) {
        use v1::hop_state::Value::{Pass, Stop};
        let answer = self.answer;
        let mut told: Vec<String> = Vec::new();
        let mut label = "known";
        for path in &answer.paths {
            for hop in path.hops.iter().filter(|hop| matches!(hop.state(), Pass | Stop)) {
                let text = self.told(hop, path);
                if told.contains(&text) {
                    continue;
                }
                self.labelled(label, std::slice::from_ref(&text));
                label = "";
                told.push(text);
                if let Some(rule) = &hop.rule {
                    rule::rule(&mut self.out, self.look, 11, rule, &hop.detail);
                }
            }
        }
        // From objects alone the path says it itself.
        let said = told.iter().any(|text| text.contains("policies"));
        if let Some(policy) = answer.policy.as_ref().filter(|_| !said) {
            let allows = |direction: &Option<v1::DirectionVerdict>| {
                direction
                    .as_ref()
                    .is_some_and(|direction| direction.effect() == v1::policy_verdict::Value::Allow)
            };
            if allows(&policy.egress) && allows(&policy.ingress) {
                self.labelled(label, &["the policies let it pass".to_owned()]);
            }
        }
    }

    /// Hops that are not known for a reason that no gap gives.
    fn unknown_hops(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for path in &self.answer.paths {
            for hop in path.hops.iter().filter(|hop| hop.state() == v1::hop_state::Value::Unknown) {
                let why = hop.detail.strip_prefix(NOT_KNOWN).unwrap_or(&hop.detail);
                let said = |gap: &v1::NotChecked| why.contains(gap.why.as_str());
                let text = self.told(&v1::Hop { detail: why.to_owned(), ..hop.clone() }, path);
                if !self.answer.not_checked.iter().any(said) && !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        texts
    }

    /// What a hop says behind whose it is; what a name stands for needs no more.
    fn told(&self, hop: &v1::Hop, path: &v1::Path) -> String {
        if hop.stage() == v1::stage::Value::Name {
            escape(&hop.detail)
        } else {
            format!("{}: {}", self.label(hop, path), escape(&hop.detail))
        }
    }
}
