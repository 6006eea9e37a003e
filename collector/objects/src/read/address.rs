//! IP addresses and address blocks in texts, with what is wrong with those that are none.
//!
//! Since 1.36 the API server refuses the forms that programs disagree about (`StrictIPCIDRValidation`, KEP-4858):
//! leading zeros, which are octal to some, and IPv4 addresses written as IPv6. Bits beyond the prefix of a block stay
//! allowed here: they mean the same to everybody, and older servers have stored them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::names::shown;

/// The address, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => {
                Err(format!("`{}` is an IPv4 address written as IPv6; write {mapped}", shown(text)))
            }
            None => Ok(IpAddr::V6(address)),
        },
        Ok(address) => Ok(address),
        Err(_) => Err(format!("`{}` is not an IP address", shown(text))),
    }
}

/// The address, if it is also written as the API server would write it (`IsValidIP`, RFC 5952).
pub(super) fn parse_canonical(text: &str) -> Result<IpAddr, String> {
    let address = parse(text)?;
    let canonical = address.to_string();
    if canonical == text {
        return Ok(address);
    }
    Err(format!("`{}` has to be written as {canonical}", shown(text)))
}

/// The block, bits beyond its prefix taken away, or what is wrong with it.
pub(super) fn parse_block(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("`{}` is not an address block such as 10.0.0.0/8", shown(text));
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) || prefix.len() > 1 && prefix.starts_with('0') {
        return Err(wrong());
    }
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    IpNet::new(parse(address).map_err(|_| wrong())?, prefix).map(|block| block.trunc()).map_err(|_| wrong())
}

/// Why nothing outside a host can reach the address (`ValidateEndpointIP`). Multicast beyond the link passes there.
pub(super) fn reachable(address: IpAddr) -> Result<(), String> {
    let (link_local, link_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), is_link_multicast_v4(address)),
        IpAddr::V6(address) => (address.is_unicast_link_local(), is_link_multicast_v6(address)),
    };
    let what = match address {
        address if address.is_unspecified() => "unspecified",
        address if address.is_loopback() => "a loopback address",
        _ if link_local => "a link-local address",
        _ if link_multicast => "a link-local multicast address",
        _ => return Ok(()),
    };
    Err(format!("{address} is {what}, which the API server refuses here"))
}

/// 224.0.0.0/24 (RFC 5771).
const fn is_link_multicast_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224, 0, 0, _])
}

/// Scope 2 (RFC 4291, 2.7).
const fn is_link_multicast_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xff0f == 0xff02
}

/// Whether there are at most two, and if two, one of each family.
pub(super) fn at_most_one_of_each_family(families_are_v4: &[bool]) -> bool {
    match families_are_v4 {
        [] | [_] => true,
        [first, second] => first != second,
        _ => false,
    }
}
