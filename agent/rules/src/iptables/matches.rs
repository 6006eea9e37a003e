//! Reads the conditions of a rule, up to and including its target.
//!
//! Options belong to the match extension loaded last (`-m`); the basic ones may stand anywhere. An extension or option
//! that is not modelled becomes [`Test::Unknown`] with its text, never an error: only a rule whose shape cannot be
//! followed is refused.

use ipnet::IpNet;
use model::flow::Family;

use super::values::{
    address_types, masked, network, port_list, ports, protocol, range, states, status, tcp_flags,
};
use super::words::Words;
use super::{Names, sets, target};
use crate::ir::{AddressTypes, Chance, Interface, Match, PacketType, Served, Side, Span, Target, Test};

pub(super) type Refusal = &'static str;

/// Reads all of a rule after `-A CHAIN`; appends its matches to `matches`.
pub(super) fn read(
    words: &mut Words<'_>,
    family: Family,
    chains: &Names<'_>,
    matches: &mut Vec<Match>,
) -> Result<Target, Refusal> {
    let mut negate = false;
    loop {
        let start = words.upcoming();
        let Some(word) = words.next() else { return Ok(Target::None) };
        let test = match words.text(word) {
            "!" => {
                negate = true;
                continue;
            }
            "-j" | "--jump" => return target::read(words, chains, false),
            "-g" | "--goto" => return target::read(words, chains, true),
            "-m" | "--match" => {
                let name = value(words)?;
                extension(words, words.text(name), start, family, matches)?;
                continue;
            }
            "-s" | "--source" => address(words, start, family, Test::Source)?,
            "-d" | "--destination" => address(words, start, family, Test::Destination)?,
            "-i" | "--in-interface" => Test::InInterface(interface(words)?),
            "-o" | "--out-interface" => Test::OutInterface(interface(words)?),
            "-p" | "--protocol" => {
                let name = value(words)?;
                match protocol(words.text(name)) {
                    Some(0) => Test::Always,
                    Some(number) => Test::Protocol(number),
                    None => unknown(words, start),
                }
            }
            // The first packet of a connection is not a later fragment of anything.
            "-f" | "--fragment" => Test::Chance(Chance::Never),
            option if option.starts_with("--") => match transport_option(words, option, start)? {
                Some(test) => test,
                None => unknown_option(words, start),
            },
            _ => unknown_option(words, start),
        };
        matches.push(Match { negate: std::mem::take(&mut negate), test });
    }
}

/// Reads the options of one extension.
fn extension(
    words: &mut Words<'_>,
    name: &str,
    start: usize,
    family: Family,
    matches: &mut Vec<Match>,
) -> Result<(), Refusal> {
    match name {
        "comment" => return remark(words),
        "tcp" | "udp" | "sctp" | "udplite" | "dccp" | "mark" | "connmark" | "conntrack" | "state"
        | "addrtype" | "multiport" | "iprange" | "pkttype" | "ipvs" => {}
        "statistic" => return statistic(words, start, matches),
        "recent" => return recent(words, matches),
        "physdev" => return bridge_port(words, start, matches),
        "set" => return sets::in_set(words, start, matches),
        "owner" => {
            let negate = all_negated(words);
            matches.push(Match { negate, test: Test::SocketOwner(span(start, words.offset())) });
            return Ok(());
        }
        "icmp" | "icmp6" | "ipv6-icmp" => {
            skip_options(words);
            matches.push(Match { negate: false, test: Test::Icmp });
            return Ok(());
        }
        "nfacct" => {
            skip_options(words);
            matches.push(Match { negate: false, test: Test::Always });
            return Ok(());
        }
        _ => {
            skip_options(words);
            matches.push(Match { negate: false, test: unknown(words, start) });
            return Ok(());
        }
    }
    let mut negate = false;
    while let Some(next) = ahead(words) {
        let start = words.upcoming();
        if next == "!" {
            words.next();
            negate = true;
            continue;
        }
        words.next();
        let test = option(words, name, next, start, family, &mut negate)?;
        matches.push(Match { negate: std::mem::take(&mut negate), test });
    }
    Ok(())
}

/// One option of a modelled extension.
fn option(
    words: &mut Words<'_>,
    extension: &str,
    option: &str,
    start: usize,
    family: Family,
    negate: &mut bool,
) -> Result<Test, Refusal> {
    let test = match (extension, option) {
        ("tcp" | "udp" | "sctp" | "udplite" | "dccp", _) => transport_option(words, option, start)?,
        ("mark", "--mark") => masked(take(words)?).map(Test::Mark),
        ("connmark", "--mark") => masked(take(words)?).map(Test::ConnMark),
        ("conntrack", "--ctstate") | ("state", "--state") => states(take(words)?).map(Test::CtState),
        ("conntrack", "--ctstatus") => status(take(words)?),
        ("conntrack", "--ctdir") => Some(Test::CtOriginal(take(words)? == "ORIGINAL")),
        ("conntrack", "--ctproto") => protocol(take(words)?).map(Test::CtProtocol),
        ("conntrack", "--ctorigdst") => network(take(words)?, family).map(Test::CtOriginalDestination),
        ("conntrack", "--ctorigdstport") => ports(take(words)?).map(Test::CtOriginalPort),
        ("addrtype", "--src-type" | "--dst-type") => {
            let kinds = address_types(take(words)?);
            let limited = limited(&mut words.clone());
            if ahead(words).is_some_and(limits) {
                words.next();
            }
            kinds.map(|kinds| {
                let types = AddressTypes { kinds, limited };
                if option == "--src-type" { Test::SourceType(types) } else { Test::DestinationType(types) }
            })
        }
        ("multiport", "--sports" | "--source-ports") => port_list(take(words)?, Side::Source),
        ("multiport", "--dports" | "--destination-ports") => port_list(take(words)?, Side::Destination),
        ("multiport", "--ports") => port_list(take(words)?, Side::Either),
        ("iprange", "--src-range") => range(take(words)?).map(Test::SourceRange),
        ("iprange", "--dst-range") => range(take(words)?).map(Test::DestinationRange),
        ("ipvs", "--ipvs") => Some(Test::Served(Served::Any)),
        ("ipvs", "--vaddr") => network(take(words)?, family).map(|net| Test::Served(Served::Address(net))),
        ("ipvs", "--vport") => take(words)?.parse().ok().map(|port| Test::Served(Served::Port(port))),
        ("ipvs", "--vproto") => protocol(take(words)?).map(|number| Test::Served(Served::Protocol(number))),
        ("pkttype", "--pkt-type") => Some(Test::PacketType(match take(words)? {
            "unicast" => PacketType::Unicast,
            _ => PacketType::Other,
        })),
        _ => None,
    };
    Ok(test.unwrap_or_else(|| {
        // Its own negation is part of the text it is kept as; outside, unknown stays unknown either way.
        *negate = false;
        skip_values(words);
        unknown(words, start)
    }))
}

/// Whether an address type is looked up on one interface only: said once, last, for both types.
fn limited(words: &mut Words<'_>) -> bool {
    while let Some(next) = ahead(words) {
        if limits(next) {
            return true;
        }
        words.next();
    }
    false
}

fn limits(option: &str) -> bool {
    option.starts_with("--limit-iface")
}

/// Ports and flags, which may also follow `-p tcp` without `-m`.
fn transport_option(words: &mut Words<'_>, option: &str, start: usize) -> Result<Option<Test>, Refusal> {
    Ok(Some(match option {
        "--sport" | "--source-port" => match ports(take(words)?) {
            Some(range) => Test::SourcePort(range),
            None => unknown(words, start),
        },
        "--dport" | "--destination-port" => match ports(take(words)?) {
            Some(range) => Test::DestinationPort(range),
            None => unknown(words, start),
        },
        "--syn" => Test::TcpFlags { mask: 0x17, set: 0x02 },
        "--tcp-flags" => match (tcp_flags(take(words)?), tcp_flags(take(words)?)) {
            (Some(mask), Some(set)) => Test::TcpFlags { mask, set },
            _ => unknown(words, start),
        },
        "--icmp-type" | "--icmpv6-type" => {
            value(words)?;
            Test::Icmp
        }
        "--comment" => {
            value(words)?;
            Test::Always
        }
        _ => return Ok(None),
    }))
}

/// `--comment TEXT`: always true, and read anew where it is asked for (`RuleSet::comments`).
fn remark(words: &mut Words<'_>) -> Result<(), Refusal> {
    while ahead(words) == Some("--comment") {
        words.next();
        value(words)?;
    }
    Ok(())
}

/// `--mode random --probability P` or `--mode nth --every N --packet P`.
fn statistic(words: &mut Words<'_>, start: usize, matches: &mut Vec<Match>) -> Result<(), Refusal> {
    let mut negate = false;
    let mut chance = Chance::Sometimes;
    while let Some(next) = ahead(words) {
        words.next();
        match next {
            "!" => negate = true,
            "--mode" | "--packet" => {
                take(words)?;
            }
            "--probability" => match take(words)?.parse::<f64>() {
                Ok(probability) if probability >= 1.0 => chance = Chance::Always,
                Ok(probability) if probability <= 0.0 => chance = Chance::Never,
                _ => {}
            },
            "--every" if take(words)? == "1" => chance = Chance::Always,
            "--every" => {}
            _ => {
                skip_options(words);
                matches.push(Match { negate: false, test: unknown(words, start) });
                return Ok(());
            }
        }
    }
    matches.push(Match { negate, test: Test::Chance(chance) });
    Ok(())
}

/// `-m recent`: whether the sender was seen before no rule tells; remembering it always succeeds.
fn recent(words: &mut Words<'_>, matches: &mut Vec<Match>) -> Result<(), Refusal> {
    let mut negate = false;
    let mut test = Test::Always;
    while let Some(next) = ahead(words) {
        words.next();
        match next {
            "!" => negate = true,
            "--rcheck" | "--update" | "--remove" => test = Test::SeenBefore,
            "--name" | "--mask" | "--seconds" | "--hitcount" => {
                take(words)?;
            }
            _ => {}
        }
    }
    matches.push(Match { negate, test });
    Ok(())
}

/// `-m physdev`: several conditions that all need a bridge port.
fn bridge_port(words: &mut Words<'_>, start: usize, matches: &mut Vec<Match>) -> Result<(), Refusal> {
    let mut negate = false;
    while let Some(next) = ahead(words) {
        words.next();
        match next {
            "!" => {
                negate = true;
                continue;
            }
            "--physdev-in" | "--physdev-out" => {
                take(words)?;
            }
            _ => {}
        }
        matches.push(Match {
            negate: std::mem::take(&mut negate),
            test: Test::BridgePort(span(start, words.offset())),
        });
    }
    Ok(())
}

/// The next word if it belongs to the extension being read.
pub(super) fn ahead<'t>(words: &mut Words<'t>) -> Option<&'t str> {
    let next = words.peek()?;
    let decisive = if next == "!" { words.clone().nth(1).map(|word| words.text(word))? } else { next };
    let basic = match decisive.as_bytes() {
        [b'-', b'm' | b'j' | b'g' | b's' | b'd' | b'i' | b'o' | b'p' | b'f'] => true,
        [b'-', b'-', ..] => matches!(decisive, "--jump" | "--goto" | "--match"),
        _ => false,
    };
    if basic { None } else { Some(next) }
}

/// Passes over everything that belongs to the extension.
pub(super) fn skip_options(words: &mut Words<'_>) {
    while ahead(words).is_some() {
        words.next();
    }
}

/// The same; tells whether a `!` stood before every option.
fn all_negated(words: &mut Words<'_>) -> bool {
    let (mut all, mut negate) = (true, false);
    while let Some(next) = ahead(words) {
        match next {
            "!" => negate = true,
            option if option.starts_with("--") => all &= std::mem::take(&mut negate),
            _ => {}
        }
        words.next();
    }
    all
}

/// Passes over the values of an option.
fn skip_values(words: &mut Words<'_>) {
    while ahead(words).is_some_and(|next| !next.starts_with("--") && next != "!") {
        words.next();
    }
}

fn unknown_option(words: &mut Words<'_>, start: usize) -> Test {
    skip_values(words);
    unknown(words, start)
}

pub(super) fn unknown(words: &Words<'_>, start: usize) -> Test {
    Test::Unknown(span(start, words.offset()))
}

fn span(start: usize, end: usize) -> Span {
    // Texts above 4 GiB are refused before any rule is read.
    Span { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
}

pub(super) fn value(words: &mut Words<'_>) -> Result<Span, Refusal> {
    words.next().ok_or("an option without its value")
}

pub(super) fn take<'t>(words: &mut Words<'t>) -> Result<&'t str, Refusal> {
    words.word().ok_or("an option without its value")
}

fn interface(words: &mut Words<'_>) -> Result<Interface, Refusal> {
    let mut name = value(words)?;
    let prefix = words.text(name).ends_with('+');
    if prefix {
        name.end -= 1;
    }
    Ok(Interface { name, prefix })
}

fn address(
    words: &mut Words<'_>,
    start: usize,
    family: Family,
    test: fn(IpNet) -> Test,
) -> Result<Test, Refusal> {
    Ok(match network(take(words)?, family) {
        Some(network) => test(network),
        None => unknown(words, start),
    })
}
