//! What doubt may cost, and that a real rule set with a few doubtful rules is far from it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;
use crate::dispatch::Dispatch;
use crate::eval::{End, MAX_ENDS, MAX_FORKS, Walker, World, base_chains};
use crate::ipset::Sets;
use crate::network::Network;
use crate::packet::Passing;

/// What no walk of these tests comes near, so that a slow machine fails none of them.
const LONG: Duration = Duration::from_secs(20);

/// The ends of a forwarded packet before they are made the branches of a walk.
fn ends(state: &NodeState) -> Vec<End> {
    let sets = Host::new(state).rule_sets().to_vec();
    let (network, dispatch) = (Network::new(state), Dispatch::new(&sets));
    let asked = packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80");
    let input = network.arrives_by(asked.src);
    let ipsets = Sets::default();
    let world = World { network: &network, ipsets: &ipsets };
    let chains = base_chains(&sets, Family::Ipv4, false);
    Walker::new(&sets, world, &chains, &dispatch).walk(Passing::entering(&asked, input))
}

#[test]
fn many_doubts_end_in_bounded_work() {
    let rule = |n: u32| format!("-A FORWARD -m geoip --x {n} -j MARK --set-xmark {n}/0xffffffff");
    let rules = (0..2000).map(rule).collect::<Vec<_>>().join("\n");
    assert_eq!(forward(&rules).outcome, Outcome::Unknown);
}

/// A chain entered in doubt, of rules in doubt, each of which calls a chain that may end or come back: what may come
/// of it doubles with every rule. Without a bound 40 of them would make 2^40 ends.
#[test]
fn ends_that_double_with_every_doubt_are_cut() {
    const CALLS: usize = 40;
    const { assert!(CALLS < MAX_FORKS as usize, "or the bound on forks would do it") };
    let mut rules = String::new();
    for n in 0..CALLS {
        writeln!(rules, ":C{n} - [0:0]").unwrap();
    }
    writeln!(rules, "-A FORWARD -m geoip --outer 1 -j A").unwrap();
    for (n, ending) in (0..CALLS).zip(["DROP", "REJECT", "ACCEPT"].into_iter().cycle()) {
        writeln!(rules, "-A A -m geoip --call {n} -j C{n}\n-A C{n} -m geoip --end {n} -j {ending}").unwrap();
    }
    let state = node(&filter(&rules));

    let began = Instant::now();
    let found = ends(&state);
    let walk = forward(&rules);
    let took = began.elapsed();

    assert!(!found.is_empty() && found.len() <= MAX_ENDS, "{} ends", found.len());
    assert!(took < LONG, "{took:?}");
    assert_eq!(walk.outcome, Outcome::Unknown);
    assert_eq!(walk.branches.len(), 1, "{:?}", destinations(&walk));
    let cut = Gap::new("the way through the rules", "more ways than can be told apart");
    assert!(walk.gaps.contains(&cut), "{:?}", walk.gaps);
}

/// Rules nobody can evaluate do not blur an answer that they have no part in, however many Services there are.
#[test]
fn five_doubtful_rules_leave_the_answer_of_a_large_rule_set_exact() {
    let doubtful = [
        "-A PREROUTING -m set --match-set seen src -j NOTED",
        "-A KUBE-SERVICES -m set --match-set watched dst -j NOTED",
        "-A KUBE-POSTROUTING -m set --match-set peers dst -j NOTED",
    ];
    let in_filter = [
        "-A FORWARD -m set --match-set friends src -j ALLOWED",
        "-A ALLOWED -m limit --limit 10/min -j ACCEPT",
    ];
    let plain = large(&[], &[]);
    let blurred = large(&doubtful, &in_filter);
    for (src, dst) in [
        ("10.244.1.9", "10.96.0.10:80"),
        ("10.244.1.9", "10.96.3.200:80"),
        ("198.51.100.7", "10.96.7.250:80"),
        ("10.244.1.9", "10.244.2.7:80"),
    ] {
        let asked = packet(if src.starts_with("10.") { Origin::Pod } else { Origin::External }, src, dst);
        let began = Instant::now();
        let (expected, found) = (walk(&plain, &asked), walk(&blurred, &asked));
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        assert_eq!(expected.outcome, Outcome::Forwarded);
        assert_eq!(expected.gaps, []);
        assert_eq!(answer(&found), answer(&expected), "{src} to {dst}");
        assert_eq!(found.gaps, [], "{src} to {dst}");
    }
    let lost = large(&[], &["-A FORWARD -m set --match-set banned src -j DROP"]);
    let lost = walk(&lost, &packet(Origin::Pod, "10.244.1.9", "10.96.0.10:80"));
    assert_eq!((lost.outcome, lost.branches.len()), (Outcome::Unknown, 3));
}

/// What a person reads: where it goes, whether and as whom; the way there aside.
fn answer(walk: &Walk) -> (Outcome, Vec<model::walk::Branch>) {
    let branches = walk.branches.iter().map(|branch| model::walk::Branch { steps: vec![], ..branch.clone() });
    (walk.outcome, branches.collect())
}

/// A node of 2,000 Services with three endpoints each, and these rules before all others of their chains.
fn large(first: &[&str], first_of_filter: &[&str]) -> NodeState {
    let (mut chains, mut services, mut of_services, mut of_endpoints) =
        (String::new(), String::new(), String::new(), String::new());
    for service in 0..2000 {
        let vip = format!("10.96.{}.{}", service / 250, service % 250 + 1);
        writeln!(chains, ":KUBE-SVC-{service} - [0:0]").unwrap();
        let to = format!("-d {vip}/32 -p tcp -m tcp --dport 80");
        writeln!(services, "-A KUBE-SERVICES {to} -j KUBE-SVC-{service}").unwrap();
        writeln!(of_services, "-A KUBE-SVC-{service} ! -s 10.244.0.0/16 {to} -j KUBE-MARK-MASQ").unwrap();
        for (number, chance) in [(1, "0.33333333349"), (2, "0.50000000000"), (3, "")] {
            let endpoint = format!("10.244.{number}.{}", service % 250 + 1);
            let chance = match chance {
                "" => String::new(),
                chance => format!("-m statistic --mode random --probability {chance} "),
            };
            writeln!(chains, ":KUBE-SEP-{service}-{number} - [0:0]").unwrap();
            writeln!(of_services, "-A KUBE-SVC-{service} {chance}-j KUBE-SEP-{service}-{number}").unwrap();
            writeln!(
                of_endpoints,
                "-A KUBE-SEP-{service}-{number} -s {endpoint}/32 -j KUBE-MARK-MASQ\n\
                 -A KUBE-SEP-{service}-{number} -p tcp -m tcp -j DNAT --to-destination {endpoint}:8080"
            )
            .unwrap();
        }
    }
    let (first, first_of_filter) = (first.join("\n"), first_of_filter.join("\n"));
    node(&format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n\
         :KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:NOTED - [0:0]\n{chains}{first}\n\
         -A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n\
         -A NOTED -m comment --comment \"only counts\"\n-A NOTED -j LOG\n\
         -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE-POSTROUTING -j MASQUERADE\n\
         {services}{of_services}{of_endpoints}COMMIT\n\
         *filter\n:FORWARD ACCEPT [0:0]\n:ALLOWED - [0:0]\n{first_of_filter}\nCOMMIT\n"
    ))
}
