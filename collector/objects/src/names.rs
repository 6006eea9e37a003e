//! The syntax of Kubernetes names, labels and ports, as `apimachinery/pkg/util/validation` checks it.
//!
//! It says whether a word may be used, never what it names.

/// Why a word is no DNS label (RFC 1123), as names of Services and namespaces must be.
pub(crate) fn label(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err(format!("`{}` has {} characters; at most 63 are allowed", shown(name), name.len()));
    }
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(fine) && name.bytes().last().is_some_and(fine);
    if ends && name.bytes().all(|byte| fine(byte) || byte == b'-') {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a valid name: lower-case letters, digits and `-`, first and last a letter or digit",
        shown(name)
    ))
}

/// Why a word is no DNS subdomain (RFC 1123), as most names must be.
pub(crate) fn subdomain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err(format!("a name of {} characters; at most 253 are allowed", name.len()));
    }
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        part.bytes().next().is_some_and(fine)
            && part.bytes().last().is_some_and(fine)
            && part.bytes().all(|byte| fine(byte) || byte == b'-')
    };
    if name.split('.').all(part) {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a valid name: lower-case letters, digits, `-` and `.`, first and last a letter or digit",
        shown(name)
    ))
}

/// Why a word is no name of a container port (`IsValidPortName`, an IANA service name).
pub(crate) fn port_name(name: &str) -> Result<(), String> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| fine(byte) || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-');
    if valid {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a valid port name: at most 15 lower-case letters, digits and single `-`, one letter at least",
        shown(name)
    ))
}

/// Why a word is no fully qualified domain name (`IsFullyQualifiedDomainName`).
pub(crate) fn domain(name: &str) -> Result<(), String> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if subdomain(bare).is_ok() && bare.contains('.') && bare.split('.').all(|part| label(part).is_ok()) {
        return Ok(());
    }
    Err(format!("`{}` is not a domain name of two labels or more, such as api.example.com", shown(name)))
}

/// Why a word is no search domain: a subdomain that may have underscores and a final dot, or the dot alone
/// (`validatePodDNSConfig`, relaxed since 1.32).
pub(crate) fn search_domain(name: &str) -> Result<(), String> {
    if name == "." || subdomain(&name.strip_suffix('.').unwrap_or(name).replace('_', "x")).is_ok() {
        return Ok(());
    }
    Err(format!("`{}` is not a valid search domain", shown(name)))
}

/// Why a word is no name with an optional domain before it (`IsQualifiedName`).
pub(crate) fn qualified_name(name: &str) -> Result<(), String> {
    if is_qualified(name) {
        return Ok(());
    }
    Err(format!("`{}` is not a valid name such as `name` or `example.com/name`", shown(name)))
}

/// Why a word is no label key (`IsQualifiedName`).
pub(crate) fn label_key(key: &str) -> Result<(), String> {
    if is_qualified(key) {
        return Ok(());
    }
    Err(format!("`{}` is not a valid label key", shown(key)))
}

/// Why a word is no key of an annotation, whose case does not matter (`ValidateAnnotations`).
pub(crate) fn annotation_key(key: &str) -> Result<(), String> {
    if is_qualified(&key.to_lowercase()) {
        return Ok(());
    }
    Err(format!("`{}` is not a valid annotation key", shown(key)))
}

/// Why a word is no label value (`IsValidLabelValue`).
pub(crate) fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || qualified(value) {
        return Ok(());
    }
    Err(format!("`{}` is not a valid label value", shown(value)))
}

fn is_qualified(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => subdomain(prefix).is_ok() && qualified(name),
        None => qualified(name),
    }
}

fn qualified(name: &str) -> bool {
    let ends = |byte: u8| byte.is_ascii_alphanumeric();
    name.len() <= 63
        && name.bytes().next().is_some_and(ends)
        && name.bytes().last().is_some_and(ends)
        && name.bytes().all(|byte| ends(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// A foreign word, safe and short enough to print.
pub(crate) fn shown(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_does() {
        for good in ["a", "api", "my-app", "0a"] {
            assert_eq!(label(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(label(bad).is_err(), "{bad}");
        }
        assert_eq!(subdomain("a.b-c.d"), Ok(()));
        assert!(subdomain("a..b").is_err());
        assert_eq!(port_name("http-2"), Ok(()));
        for bad in ["", "8080", "a--b", "-a", "Http", "sixteen-letters-x"] {
            assert!(port_name(bad).is_err(), "{bad}");
        }
        assert_eq!(label_key("app.kubernetes.io/name"), Ok(()));
        assert!(label_key("a/b/c").is_err());
        assert_eq!(annotation_key("Example.com/Note"), Ok(()));
        assert_eq!(domain("api.example.com."), Ok(()));
        assert!(domain("api").is_err());
        for good in [".", "svc.example.com.", "_tcp.example.com"] {
            assert_eq!(search_domain(good), Ok(()), "{good}");
        }
        assert!(search_domain("a b").is_err());
        assert_eq!(label_value(""), Ok(()));
        assert!(label_value("a b").is_err());
        assert_eq!(shown("a\u{1b}[31m"), "a\\u{1b}[31m");
    }
}
