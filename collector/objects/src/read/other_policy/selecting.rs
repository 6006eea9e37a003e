//! The selectors of Cilium and Calico, as far as they say the same as a label selector; `None` where they may say more.

use model::objects::{Operator, Requirement, Selector};
use serde_json::Value;

/// The sources that a label of a Kubernetes pod has in Cilium (`labels.NewLabel`).
const SOURCES: [&str; 2] = ["k8s:", "any:"];
/// Labels that Cilium itself gives, as that of the namespace.
const CILIUMS_OWN: [&str; 3] = ["io.kubernetes.", "io.cilium.", "reserved"];

/// `spec.endpointSelector` of a CiliumNetworkPolicy.
pub(super) fn cilium(spec: &Value) -> Option<Selector> {
    let selector = spec.get("endpointSelector")?.as_object()?;
    let key = |key: &str| {
        let bare = SOURCES.iter().find_map(|source| key.strip_prefix(source)).unwrap_or(key);
        // Another source than Kubernetes, or a label that no pod object has.
        let foreign = bare.contains(':') || CILIUMS_OWN.iter().any(|own| bare.starts_with(own));
        (!foreign).then(|| bare.to_owned())
    };
    let mut requirements = Vec::new();
    for (name, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        let values = vec![value.as_str()?.to_owned()];
        requirements.push(Requirement { key: key(name)?, operator: Operator::In, values });
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let operator = match expression["operator"].as_str()? {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        let values: Option<Vec<String>> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        requirements.push(Requirement { key: key(expression["key"].as_str()?)?, operator, values: values? });
    }
    Some(Selector { requirements })
}

/// `spec.selector` of a Calico policy: `has(app) && tier == 'web' && env in {'a', 'b'}`; without one all pods.
///
/// A pod has more labels to Calico than its own (its namespace, service account and orchestrator), so only what is
/// asked of other keys is understood.
pub(super) fn calico(spec: &Value) -> Option<Selector> {
    // These narrow it further by what is not at hand.
    for key in ["namespaceSelector", "serviceAccountSelector"] {
        if spec.get(key).is_some_and(|value| value.as_str() != Some("")) {
            return None;
        }
    }
    let Some(text) = spec.get("selector") else { return Some(Selector::default()) };
    let text = text.as_str()?.trim();
    if matches!(text, "" | "all()") {
        return Some(Selector::default());
    }
    let requirements: Option<Vec<Requirement>> =
        text.split("&&").map(|part| condition(part.trim())).collect();
    Some(Selector { requirements: requirements? })
}

/// Keys of Calico's own labels.
const CALICOS_OWN: &str = "projectcalico.org/";

fn condition(text: &str) -> Option<Requirement> {
    let requirement = |key: &str, operator, values| {
        let plain = !key.is_empty()
            && !key.starts_with(CALICOS_OWN)
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        plain.then(|| Requirement { key: key.to_owned(), operator, values })
    };
    let has = |text: &str| Some(text.strip_prefix("has(")?.strip_suffix(')')?.trim().to_owned());
    if let Some(key) = has(text) {
        return requirement(&key, Operator::Exists, Vec::new());
    }
    if let Some(key) = text.strip_prefix('!').and_then(|rest| has(rest.trim())) {
        return requirement(&key, Operator::DoesNotExist, Vec::new());
    }
    if let Some((key, value)) = text.split_once("==") {
        return requirement(key.trim(), Operator::In, vec![quoted(value)?]);
    }
    if let Some((key, value)) = text.split_once("!=") {
        return requirement(key.trim(), Operator::NotIn, vec![quoted(value)?]);
    }
    for (word, operator) in [(" not in ", Operator::NotIn), (" in ", Operator::In)] {
        if let Some((key, values)) = text.split_once(word) {
            let values = values.trim().strip_prefix('{')?.strip_suffix('}')?;
            let values: Option<Vec<String>> = values.split(',').map(quoted).collect();
            return requirement(key.trim(), operator, values?);
        }
    }
    None
}

/// A text in quotes of either kind, without any inside.
fn quoted(text: &str) -> Option<String> {
    let text = text.trim();
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(['\'', '"', '\\'])).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(selector: Option<Selector>) -> Option<String> {
        selector.map(|selector| selector.to_string())
    }

    #[test]
    fn calico_selectors_that_say_what_label_selectors_say() {
        for (text, meaning) in [
            ("all()", Some("")),
            ("app == 'web'", Some("app=web")),
            ("app == \"web\" && has(tier)", Some("app=web,tier")),
            ("!has(tier) && env in {'a', 'b'}", Some("!tier,env in (a,b)")),
            ("env not in {'a'} && app != 'x'", Some("env notin (a),app notin (x)")),
            ("app == 'web' || app == 'api'", None),
            ("(app == 'web')", None),
            ("projectcalico.org/namespace == 'shop'", None),
            ("app contains 'w'", None),
            ("app == 'a && b'", None),
            ("global()", None),
        ] {
            assert_eq!(shown(calico(&json!({ "selector": text }))).as_deref(), meaning, "{text}");
        }
        assert_eq!(shown(calico(&json!({}))).as_deref(), Some(""));
        assert_eq!(calico(&json!({ "namespaceSelector": "a == 'b'" })), None);
    }

    #[test]
    fn cilium_selectors_without_their_sources() {
        let of = |selector: Value| shown(cilium(&json!({ "endpointSelector": selector })));
        assert_eq!(of(json!({})).as_deref(), Some(""));
        assert_eq!(
            of(json!({"matchLabels": {"k8s:app": "web", "any:tier": "x"}})).as_deref(),
            Some("tier=x,app=web")
        );
        assert_eq!(
            of(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}))
                .as_deref(),
            Some("app notin (a)")
        );
        assert_eq!(of(json!({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}})), None);
        assert_eq!(of(json!({"matchLabels": {"container:app": "web"}})), None);
        assert_eq!(cilium(&json!({})), None);
    }
}
