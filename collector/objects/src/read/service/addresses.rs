//! Cluster addresses of Services and the families they are of (`ValidateServiceClusterIPsRelatedFields` and, for the
//! policy, `initIPFamilyFields` of the allocator).
//!
//! Whether an address is in the cluster's range, and free, only the API server knows.

use std::net::IpAddr;

use model::flow::Family;
use model::objects::{Service, ServiceType};

use super::super::address;
use super::super::fields::Fields;

const NONE: &str = "None";

/// Two are all there can be, one of each family.
const MAX_ADDRESSES: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    Single,
    Dual,
}

/// Reads `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` of a Service whose type and selector are known.
pub(super) fn read(spec: &Fields<'_>, service: &mut Service) {
    let first = spec.text("clusterIP").unwrap_or_default();
    let mut texts = spec.texts("clusterIPs");
    // Problems are told of the key that was written.
    let (mut key, listed) = ("clusterIPs", texts.len());
    if listed == 0 && !first.is_empty() {
        (key, texts) = ("clusterIP", vec![(first, spec.at("clusterIP"))]);
    }
    let families = families(spec);
    let stack = spec.word(
        "ipFamilyPolicy",
        &[
            ("SingleStack", Stack::Single),
            ("PreferDualStack", Stack::Dual),
            ("RequireDualStack", Stack::Dual),
        ],
    );
    if service.kind == ServiceType::ExternalName {
        let forbidden = [
            (key, !texts.is_empty()),
            ("ipFamilies", !families.is_empty()),
            ("ipFamilyPolicy", stack.is_some()),
        ];
        for (key, _) in forbidden.into_iter().filter(|(_, given)| *given) {
            spec.refuse(key, "may not be set for a Service of type ExternalName");
        }
        return;
    }
    if listed > 0 && first.is_empty() {
        spec.refuse("clusterIPs", "needs `clusterIP`, the first of them");
    } else if listed > 0 && texts.first().is_some_and(|(text, _)| *text != first) {
        spec.refuse("clusterIPs", "does not begin with `clusterIP`");
    }
    let addresses = addresses(spec, key, &texts, service);
    let families_of = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>();
    let mixed = addresses.as_ref().is_none_or(|all| address::at_most_one_of_each_family(&families_of(all)));
    if texts.len() > MAX_ADDRESSES || !mixed {
        spec.refuse("clusterIPs", "at most one address of each family is allowed");
    }
    let Some(addresses) = addresses else { return };
    for ((address, family), (_, path)) in addresses.iter().zip(&families).zip(&texts) {
        if family.is_some_and(|family| family != Family::of(*address)) {
            spec.problems()
                .refuse(path.clone(), format!("{address} is not of the family that `ipFamilies` says"));
        }
    }
    let distinct = families.iter().all(Option::is_some) && families.first() != families.get(1);
    let two = addresses.len() == 2 || families.len() == 2 && distinct;
    let unasked = stack.is_none() && !(service.headless && service.selector.is_empty());
    if two && (stack == Some(Stack::Single) || unasked) {
        spec.refuse("ipFamilyPolicy", "has to be RequireDualStack or PreferDualStack for two families");
    }
    service.cluster_ips = addresses;
}

/// `None` if one of them is none.
fn addresses(
    spec: &Fields<'_>,
    key: &str,
    texts: &[(&str, String)],
    service: &mut Service,
) -> Option<Vec<IpAddr>> {
    service.headless = texts.first().is_some_and(|(text, _)| *text == NONE);
    let mut readable = true;
    if service.headless && texts.len() > 1 {
        spec.refuse(key, "`None` stands alone");
        readable = false;
    } else if service.headless && service.kind != ServiceType::ClusterIp {
        spec.problems().refuse(&texts[0].1, "`None` is for Services of type ClusterIP");
    }
    let mut addresses = Vec::new();
    for (text, path) in texts.iter().skip(usize::from(service.headless)) {
        match address::parse(text) {
            Ok(address) => addresses.push(address),
            Err(reason) => {
                let nor = if texts.len() == 1 { ", nor `None`" } else { "" };
                spec.problems().refuse(path.clone(), format!("{reason}{nor}"));
                readable = false;
            }
        }
    }
    readable.then_some(addresses)
}

/// One for each entry; `None` for a word that is no family.
fn families(spec: &Fields<'_>) -> Vec<Option<Family>> {
    let mut families = Vec::new();
    for (text, path) in spec.texts("ipFamilies") {
        let family = match text {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            other => {
                let reason = format!("`{}` is not one of IPv4, IPv6", crate::names::shown(other));
                spec.problems().refuse(path, reason);
                families.push(None);
                continue;
            }
        };
        if families.contains(&family) {
            spec.problems().refuse(path, format!("{text} is given twice"));
        }
        families.push(family);
    }
    families
}
