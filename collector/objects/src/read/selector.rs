//! Label selectors as NetworkPolicies have them (`metav1.LabelSelector`).
//!
//! Evaluation is the model's.

use model::objects::{Operator, Requirement, Selector};

use super::fields::Fields;
use crate::names;

/// A selector under `key`; `None` if absent.
pub(super) fn read(parent: &Fields<'_>, key: &str) -> Option<Selector> {
    let fields = parent.child(key, &["matchLabels", "matchExpressions"], &[])?;
    let mut requirements = Vec::new();
    for (label, value) in fields.text_map("matchLabels") {
        for reason in
            [names::label_key(&label), names::label_value(&value)].into_iter().filter_map(Result::err)
        {
            fields.refuse("matchLabels", reason);
        }
        requirements.push(Requirement { key: label, operator: Operator::In, values: vec![value] });
    }
    for expression in fields.objects("matchExpressions", &["key", "operator", "values"], &["key", "operator"])
    {
        requirements.extend(requirement(&expression));
    }
    Some(Selector { requirements })
}

fn requirement(fields: &Fields<'_>) -> Option<Requirement> {
    let key = fields.text("key");
    let operator = fields.word(
        "operator",
        &[
            ("In", Operator::In),
            ("NotIn", Operator::NotIn),
            ("Exists", Operator::Exists),
            ("DoesNotExist", Operator::DoesNotExist),
        ],
    );
    let values: Vec<String> = fields.texts("values").into_iter().map(|(text, _)| text.to_owned()).collect();
    let (key, operator) = (key?, operator?);
    if let Err(reason) = names::label_key(key) {
        fields.refuse("key", reason);
    }
    // `ValidateLabelSelectorRequirement`: In and NotIn need values, the others forbid them.
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            fields.refuse("values", "must not be empty for the operators In and NotIn");
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            fields.refuse("values", "must be left out for the operators Exists and DoesNotExist");
        }
        _ => {}
    }
    for reason in values.iter().filter_map(|value| names::label_value(value).err()) {
        fields.refuse("values", reason);
    }
    Some(Requirement { key: key.to_owned(), operator, values })
}
