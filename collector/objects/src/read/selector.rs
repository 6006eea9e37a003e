//! Label selectors as NetworkPolicies have them (`metav1.LabelSelector`).
//!
//! Evaluation is the model's.

use model::objects::{Operator, Requirement, Selector};

use super::fields::Fields;
use crate::names;

/// A selector under `key`; `None` if absent.
pub(super) fn read(parent: &Fields<'_>, key: &str) -> Option<Selector> {
    let fields = parent.child(key, &["matchLabels", "matchExpressions"], &[])?;
    let mut requirements: Vec<Requirement> = fields
        .labels("matchLabels")
        .into_iter()
        .map(|(key, value)| Requirement { key, operator: Operator::In, values: vec![value] })
        .collect();
    for expression in fields.objects("matchExpressions", &["key", "operator", "values"], &["key", "operator"])
    {
        requirements.extend(requirement(&expression));
    }
    Some(Selector { requirements })
}

fn requirement(fields: &Fields<'_>) -> Option<Requirement> {
    fields.check("key", names::label_key);
    let operator = fields.word(
        "operator",
        &[
            ("In", Operator::In),
            ("NotIn", Operator::NotIn),
            ("Exists", Operator::Exists),
            ("DoesNotExist", Operator::DoesNotExist),
        ],
    );
    let values = fields.texts("values");
    for (value, path) in &values {
        if let Err(reason) = names::label_value(value) {
            fields.problems().refuse(path.clone(), reason);
        }
    }
    // `ValidateLabelSelectorRequirement`: In and NotIn need values, the others forbid them.
    match operator {
        Some(Operator::In | Operator::NotIn) if fields.items("values").is_empty() => {
            fields.refuse("values", "must not be empty for the operators In and NotIn");
        }
        Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
            fields.refuse("values", "must be left out for the operators Exists and DoesNotExist");
        }
        _ => {}
    }
    let values = values.into_iter().map(|(text, _)| text.to_owned()).collect();
    Some(Requirement { key: fields.text("key")?.to_owned(), operator: operator?, values })
}
