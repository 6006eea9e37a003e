//! Bounded reading of single wire fields: what every conversion to the model is made of.

use std::net::IpAddr;

use model::{Gap, Timestamp};

use super::ConvertError;
use crate::v1;

/// Names: nodes, pods and namespaces are at most 253 bytes (DNS subdomain), chains 29 (iptables) or 128 (nftables),
/// kernel symbols 512 (`KSYM_NAME_LEN`).
pub const NAME_MAX: usize = 512;

/// Texts: a rule as its tool prints it, a gap's words. iptables-save prints at most a few kB for one rule; an nft rule
/// with an anonymous set of some thousand elements is the longest seen in practice.
pub const TEXT_MAX: usize = 64 * 1024;

/// Addresses of one network namespace. Nodes with secondary addresses for every external IP have hundreds.
pub const ADDRESSES_MAX: usize = 4096;

/// Branches of one walk. Endpoints of one Service; Kubernetes is tested to 5000 of them, slices carry 1000 each.
pub const BRANCHES_MAX: usize = 16 * 1024;

/// Steps of one branch. The kernel itself allows a jump stack of 16 (nftables, `NFT_JUMP_STACK_SIZE`) or the number of
/// chains (iptables); a branch that passes more matching rules than this is not explained by listing them.
pub const STEPS_MAX: usize = 1024;

/// Gaps, sources and evidence lines of one message: each is a line for people to read.
pub const LINES_MAX: usize = 1024;

/// Listening sockets of one namespace: every port of both protocols, twice over.
pub const LISTENERS_MAX: usize = 128 * 1024;

/// Drop records of one batch. Agents send at most 512 at a time; the rest is room for a later version to send more.
pub const RECORDS_MAX: usize = 4096;

pub(super) type Read<T> = Result<T, ConvertError>;

/// Puts the field's name before the path of an error from inside it.
pub(super) trait Within<T> {
    fn within(self, field: &str) -> Read<T>;
    fn at(self, index: usize) -> Read<T>;
}

impl<T> Within<T> for Read<T> {
    fn within(self, field: &str) -> Self {
        self.map_err(|error| error.within(field))
    }

    fn at(self, index: usize) -> Self {
        self.map_err(|error| error.within(&format!("[{index}]")))
    }
}

pub(super) fn present<T>(value: Option<T>, field: &str) -> Read<T> {
    value.ok_or_else(|| ConvertError::Missing { path: field.to_owned() })
}

pub(super) fn name(value: String, field: &str) -> Read<String> {
    bounded(value, NAME_MAX, field)
}

pub(super) fn text(value: String, field: &str) -> Read<String> {
    bounded(value, TEXT_MAX, field)
}

fn bounded(value: String, max: usize, field: &str) -> Read<String> {
    if value.len() > max {
        return Err(ConvertError::TextTooLong { path: field.to_owned(), len: value.len(), max });
    }
    Ok(value)
}

/// A bounded list, each item converted.
pub(super) fn list<W, M>(
    items: Vec<W>,
    max: usize,
    field: &str,
    convert: impl Fn(W) -> Read<M>,
) -> Read<Vec<M>> {
    if items.len() > max {
        return Err(ConvertError::ListTooLong { path: field.to_owned(), len: items.len(), max });
    }
    items.into_iter().enumerate().map(|(index, item)| convert(item).at(index).within(field)).collect()
}

/// A known enum value. `known` maps the generated enum; UNSPECIFIED maps to nothing.
pub(super) fn value<E: TryFrom<i32>, M>(sent: i32, field: &str, known: impl Fn(E) -> Option<M>) -> Read<M> {
    E::try_from(sent)
        .ok()
        .and_then(known)
        .ok_or_else(|| ConvertError::UnknownValue { path: field.to_owned(), value: sent })
}

pub(super) fn port(sent: u32, field: &str) -> Read<u16> {
    u16::try_from(sent).map_err(|_| ConvertError::NotAPort { path: field.to_owned(), value: sent })
}

pub(super) fn address(sent: &[u8], field: &str) -> Read<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(sent) {
        Ok(IpAddr::from(bytes))
    } else if let Ok(bytes) = <[u8; 16]>::try_from(sent) {
        Ok(IpAddr::from(bytes))
    } else {
        Err(ConvertError::NotAnAddress { path: field.to_owned(), len: sent.len() })
    }
}

pub(super) fn gap(sent: v1::Gap) -> Read<Gap> {
    Ok(Gap {
        what: text(sent.what, "what")?,
        why: text(sent.why, "why")?,
        remedy: text(sent.remedy, "remedy")?,
    })
}

pub(super) const fn time(ms: u64) -> Timestamp {
    Timestamp(ms)
}
