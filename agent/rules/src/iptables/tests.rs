//! What each line of a saved rule set becomes.

use model::flow::{Family, PortRange};
use model::walk::Backend;

use super::{backend_of, parse};
use crate::hooks::Hook;
use crate::ir::*;

/// The matches and target of one rule of a table with a chain C.
fn rule_in(family: Family, words: &str) -> (RuleSet, Vec<Match>, Target) {
    let text = format!("*filter\n:INPUT ACCEPT [0:0]\n:C - [0:0]\n-A INPUT {words}\nCOMMIT\n");
    let set = parse(Backend::IptablesNft, family, text);
    assert_eq!(set.problems, [], "{words}");
    let rule = &set.tables[0].rules_of(&set.tables[0].chains[0])[0];
    let (matches, target) = (set.matches_of(rule).to_vec(), rule.target.clone());
    (set, matches, target)
}

/// Checks the only match of a rule.
#[track_caller]
fn check(words: &str, negate: bool, test: &Test) {
    let (_, matches, _) = rule_in(Family::Ipv4, words);
    assert_eq!(matches, [Match { negate, test: test.clone() }], "{words}");
}

/// Checks that a rule's only match is kept as this text.
#[track_caller]
fn check_unknown(words: &str, kept: &str) {
    let (set, matches, target) = rule_in(Family::Ipv4, words);
    let [Match { negate: false, test: Test::Unknown(span) }] = matches[..] else {
        panic!("{words}: {matches:?}")
    };
    assert_eq!((set.text(span), target), (kept, Target::Drop));
}

#[track_caller]
fn check_target(words: &str, expected: &Target) {
    assert_eq!(rule_in(Family::Ipv4, words).2, *expected, "{words}");
}

#[test]
fn basic_matches() {
    check("-s 10.0.0.0/8 -j DROP", false, &Test::Source("10.0.0.0/8".parse().unwrap()));
    check("! -d 10.1.2.3/32 -j DROP", true, &Test::Destination("10.1.2.3/32".parse().unwrap()));
    check("-d 10.0.0.0/255.255.0.0 -j DROP", false, &Test::Destination("10.0.0.0/16".parse().unwrap()));
    check("-p tcp", false, &Test::Protocol(6));
    check("! -p 17", true, &Test::Protocol(17));
    check("-p all", false, &Test::Always);
    check("-f -j DROP", false, &Test::Chance(Chance::Never));
    let (set, matches, _) = rule_in(Family::Ipv6, "-s fd00::/8 -i cali+ -o eth0 -j DROP");
    assert_eq!(matches[0].test, Test::Source("fd00::/8".parse().unwrap()));
    let [_, Match { test: Test::InInterface(input), .. }, Match { test: Test::OutInterface(output), .. }] =
        matches[..]
    else {
        panic!("{matches:?}")
    };
    assert_eq!(
        (set.text(input.name), input.prefix, set.text(output.name), output.prefix),
        ("cali", true, "eth0", false)
    );
}

#[test]
fn ports_and_flags() {
    let range = |first, last| PortRange { first, last };
    check("-m tcp --dport 80", false, &Test::DestinationPort(range(80, 80)));
    check("-m udp ! --sport 1000:2000", true, &Test::SourcePort(range(1000, 2000)));
    check("--dport 1024: -j DROP", false, &Test::DestinationPort(range(1024, u16::MAX)));
    check(
        "-m multiport --dports 80,443,8000:8080",
        false,
        &Test::Ports(Side::Destination, [range(80, 80), range(443, 443), range(8000, 8080)].into()),
    );
    check("-m multiport ! --ports 80", true, &Test::Ports(Side::Either, [range(80, 80)].into()));
    check("-m tcp --tcp-flags FIN,SYN,RST,ACK SYN", false, &Test::TcpFlags { mask: 0x17, set: 2 });
    check("-m tcp ! --syn", true, &Test::TcpFlags { mask: 0x17, set: 2 });
}

#[test]
fn extensions() {
    check(
        "-m mark ! --mark 0x4000/0x4000 -j DROP",
        true,
        &Test::Mark(Masked { value: 0x4000, mask: 0x4000 }),
    );
    check("-m connmark --mark 0x1/0xff -j DROP", false, &Test::ConnMark(Masked { value: 1, mask: 0xff }));
    check(
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        true,
        &Test::CtState(CtStates(2 | 4 | 32)),
    );
    check("-m state --state NEW -j DROP", false, &Test::CtState(CtStates(CtStates::NEW)));
    check("-m conntrack --ctdir REPLY", false, &Test::CtOriginal(false));
    check(
        "-m addrtype --dst-type LOCAL",
        false,
        &Test::DestinationType(AddressTypes { kinds: 1, limited: false }),
    );
    check(
        "-m addrtype ! --src-type LOCAL --limit-iface-in -j DROP",
        true,
        &Test::SourceType(AddressTypes { kinds: 1, limited: true }),
    );
    check(
        "-m statistic --mode random --probability 0.50000000000 -j C",
        false,
        &Test::Chance(Chance::Sometimes),
    );
    check(
        "-m statistic --mode random --probability 1.00000000000 -j C",
        false,
        &Test::Chance(Chance::Always),
    );
    check("-m statistic --mode nth --every 3 --packet 0 -j C", false, &Test::Chance(Chance::Sometimes));
    check(
        "-m recent --rcheck --seconds 10800 --reap --name X --mask 255.255.255.255 --rsource -j C",
        false,
        &Test::SeenBefore,
    );
    check("-m recent --set --name X --mask 255.255.255.255 --rsource", false, &Test::Always);
    check("-m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP", false, &Test::Always);
    check("-p icmp", false, &Test::Protocol(1));
    check("-m icmp --icmp-type 8 -j ACCEPT", false, &Test::Icmp);
    check("-m pkttype --pkt-type broadcast -j DROP", false, &Test::PacketType(PacketType::Other));
    check(
        "-m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP",
        false,
        &Test::SourceRange(Box::new(("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()))),
    );
}

#[test]
fn questions_to_sets() {
    let ask = |words: &str| {
        let (set, matches, _) = rule_in(Family::Ipv4, words);
        let found: Vec<_> = matches
            .iter()
            .map(|item| match item.test {
                Test::InSet(asked) => {
                    let sides = (asked.dimensions, asked.sources);
                    (item.negate, set.text(asked.name).to_owned(), sides, asked.excepted, asked.counted)
                }
                _ => panic!("{words}: {matches:?}"),
            })
            .collect();
        found
    };
    let set = |name: &str| name.to_owned();
    assert_eq!(
        ask("-m set ! --match-set weave-x= dst -j DROP"),
        [(true, set("weave-x="), (1, 0b0), false, false)]
    );
    // As `iptables-save` 1.8.9 prints them.
    assert_eq!(
        ask(
            "-m set ! --match-set h src,dst,src --return-nomatch -m set --match-set a src ! --update-counters \
             --packets-gt 5 -j SET --add-set a src --exist --timeout 20"
        ),
        [(true, set("h"), (3, 0b101), true, false), (false, set("a"), (1, 0b1), false, true)]
    );
}

#[test]
fn sets_that_rules_change() {
    let (set, _, target) =
        rule_in(Family::Ipv4, "-j SET --add-set a src --exist --timeout 20 --del-set b dst,dst");
    let Target::ChangeSets(names) = target else { panic!("{target:?}") };
    let names: Vec<_> = names.iter().map(|name| set.text(*name)).collect();
    assert_eq!(names, ["a", "b"]);
    let (_, _, target) = rule_in(Family::Ipv4, "-j SET --map-set b src --map-mark");
    assert!(matches!(target, Target::Unknown(_)), "the packet changes too: {target:?}");
}

#[test]
fn what_is_not_modelled_is_kept_as_printed() {
    check_unknown("-m set --match-set a src,mac -j DROP", "-m set --match-set a src,mac");
    check_unknown(
        "-m set ! --match-set a src --new-option 1 -j DROP",
        "-m set ! --match-set a src --new-option 1",
    );
    check_unknown("-m limit --limit 10/min -j DROP", "-m limit --limit 10/min");
    check_unknown("-m conntrack --ctexpire 5 -j DROP", "--ctexpire 5");
    check_unknown(
        "-m string --string \"-j ACCEPT\" --algo bm -j DROP",
        "-m string --string \"-j ACCEPT\" --algo bm",
    );
    check_unknown("-p nonsense -j DROP", "-p nonsense");
    let (set, matches, target) =
        rule_in(Family::Ipv4, "-m set --match-set a src -p tcp -m tcp --dport 80 -j TPROXY --on-port 1");
    assert_eq!(matches.len(), 3, "basic options end an unknown extension");
    let Target::Unknown(span) = target else { panic!("{target:?}") };
    assert_eq!(set.text(span), "TPROXY --on-port 1");
}

#[test]
fn targets() {
    check_target("-j ACCEPT", &Target::Accept);
    check_target("-m comment --comment \"no target\"", &Target::None);
    check_target("-j C", &Target::Jump(1));
    check_target("-g C", &Target::Goto(1));
    check_target(
        "-j DNAT --to-destination 10.0.0.1:80 --persistent",
        &Target::Dnat { address: Some("10.0.0.1".parse().unwrap()), port: Some(80) },
    );
    check_target(
        "-j DNAT --to-destination [fd00::1]:80",
        &Target::Dnat { address: Some("fd00::1".parse().unwrap()), port: Some(80) },
    );
    check_target("-j DNAT --to-destination :8080", &Target::Dnat { address: None, port: Some(8080) });
    check_target("-j MASQUERADE --random-fully", &Target::Masquerade);
    check_target("-j SNAT --to-source 10.0.0.1", &Target::Snat);
    check_target("-j REDIRECT --to-ports 15001", &Target::Redirect(Some(15001)));
    check_target("-j NFLOG --nflog-group 100", &Target::Continue);
    check_target("-j CT --notrack", &Target::NoTrack);
    check_target("-j CT --zone 1", &Target::Continue);
    let (set, _, target) = rule_in(Family::Ipv4, "-j REJECT --reject-with tcp-reset");
    let Target::Reject(with) = target else { panic!("{target:?}") };
    assert_eq!(set.text(with), "tcp-reset");
    for unknown in [
        "-j DNAT --to-destination 10.0.0.1-10.0.0.9",
        "-j NFQUEUE --queue-num 0",
        "-g NOWHERE",
        "-j MARK --odd 1",
    ] {
        assert!(matches!(rule_in(Family::Ipv4, unknown).2, Target::Unknown(_)), "{unknown}");
    }
}

/// Every way to set a mark comes to `mark = (mark & !mask) ^ value`, as `iptables -S` itself prints it.
#[test]
fn all_ways_to_set_a_mark() {
    for (words, value, mask) in [
        ("--set-xmark 0x4/0xf0", 0x4, 0xf0),
        ("--set-xmark 0x4", 0x4, u32::MAX),
        ("--set-mark 0x4/0xf0", 0x4, 0xf4),
        ("--set-mark 0x4", 0x4, u32::MAX),
        ("--set-mark 4", 0x4, u32::MAX),
        ("--and-mark 0x4", 0x0, 0xffff_fffb),
        ("--or-mark 0x4", 0x4, 0x4),
        ("--xor-mark 0x4", 0x4, 0x0),
    ] {
        let set = Masked { value, mask };
        check_target(&format!("-j MARK {words}"), &Target::SetMark(set));
        check_target(&format!("-j CONNMARK {words}"), &Target::SetConnMark(set));
    }
    for (words, target) in [
        ("--save-mark", Target::SaveMark(u32::MAX)),
        ("--save-mark --mask 0xff", Target::SaveMark(0xff)),
        ("--save-mark --nfmask 0xf0 --ctmask 0xf0", Target::SaveMark(0xf0)),
        ("--restore-mark", Target::RestoreMark(u32::MAX)),
        ("--restore-mark --mask 0xff", Target::RestoreMark(0xff)),
        ("--restore-mark --nfmask 0xf0 --ctmask 0xf0", Target::RestoreMark(0xf0)),
    ] {
        check_target(&format!("-j CONNMARK {words}"), &target);
    }
    for unknown in [
        "--set-xmark 0x4/0xf0 --left-shift-mark 4",
        "--save-mark --nfmask 0xf --ctmask 0xff",
        "--restore-mark --nfmask 0xf --ctmask 0xf --right-shift-mark 4",
        "--set-mark x",
    ] {
        let target = rule_in(Family::Ipv4, &format!("-j CONNMARK {unknown}")).2;
        assert!(matches!(target, Target::Unknown(_)), "{unknown}: {target:?}");
    }
}

#[test]
fn tables_chains_and_counters() {
    let text = "# Generated by iptables-save v1.8.9 (nf_tables) on Mon\n*nat\n:PREROUTING ACCEPT [12:34]\n:X - [0:0]\n[5:300] -A X -p tcp -j RETURN\nCOMMIT\n*filter\n:FORWARD DROP [7:8]\n-A FORWARD -j ACCEPT\nCOMMIT\n# Completed on Mon\n";
    let set = parse(Backend::IptablesNft, Family::Ipv4, text);
    assert_eq!(set.problems, []);
    let base = set.tables[0].chains[0].base.unwrap();
    assert_eq!(
        (base.hook, base.priority, set.tables[0].chains[0].packets),
        (Hook::Prerouting, -100, Some(12))
    );
    let rule = &set.tables[0].rules_of(set.chain_of(&set.tables[0], "X").unwrap().1)[0];
    assert_eq!((set.text(rule.text), set.packets(rule)), ("-A X -p tcp -j RETURN", Some(5)));
    let forward = set.chain_of(set.table("filter").unwrap(), "FORWARD").unwrap().1;
    assert_eq!((forward.policy, forward.packets), (Policy::Drop, Some(7)));
    assert_eq!(backend_of(text), Some(Backend::IptablesNft));
    assert_eq!(backend_of("# Generated by iptables-save v1.8.9 on Mon\n"), Some(Backend::IptablesLegacy));
    assert_eq!(backend_of("*nat\n"), None);
}

#[test]
fn bad_lines_are_problems_and_the_rest_is_read() {
    let text = "*filter\n:FORWARD ACCEPT [0:0]\n:NEW ACCEPT [0:0]\nhello\u{7}\n-A NOPE -j DROP\n-A FORWARD -s\n[x] -A FORWARD -j DROP\n-A FORWARD -j DROP\n";
    let set = parse(Backend::IptablesNft, Family::Ipv4, text);
    let problems: Vec<_> = set.problems.iter().map(|problem| (problem.line, problem.what.as_str())).collect();
    assert_eq!(
        problems,
        [
            (3, "a built-in chain the kernel does not have"),
            (4, "not a line of iptables-save"),
            (5, "a rule of a chain that was not declared"),
            (6, "an option without its value"),
            (7, "counters that are no numbers"),
        ]
    );
    assert_eq!(set.problems[1].excerpt, "hello\\u{7}");
    assert_eq!(set.tables[0].rules.len(), 1);
}

#[test]
fn problems_are_bounded() {
    let set = parse(Backend::IptablesNft, Family::Ipv4, "x\n".repeat(5000));
    assert_eq!(set.problems.len(), 101);
    assert_eq!(set.problems[100].what, "4900 more lines could not be read");
}

#[test]
fn the_tools_own_warnings_are_kept() {
    let text = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n# Table `nat' is incompatible, use 'nft' tool.\n";
    assert_eq!(parse(Backend::IptablesNft, Family::Ipv4, text).warnings.len(), 2);
}
