//! Walks through rules that ask sets of the kernel's ipset.

use super::*;

const SETS: &str = "create friends hash:ip family inet\nadd friends 10.244.1.5\ncreate web hash:ip,port family inet\n\
                    add web 10.244.2.7,tcp:80\ncreate strangers hash:net family inet\nadd strangers 198.51.100.0/24\n";

/// From 10.244.1.5 to 10.244.2.7:80 through FORWARD, with these sets.
fn with_sets(sets: Option<&str>, rules: &str) -> Walk {
    let state = NodeState { ipsets: sets.map(str::to_owned), ..node(&filter(rules)) };
    walk(&state, &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"))
}

fn said(walk: &Walk) -> Vec<&str> {
    let steps = walk.branches.iter().flat_map(|branch| &branch.steps);
    steps
        .filter_map(|step| match &step.action {
            Action::Membership(said) => Some(said.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn members_decide_and_the_walk_says_so() {
    let found = with_sets(
        Some(SETS),
        "-A FORWARD -m set --match-set friends src -m set --match-set web dst,dst -j DROP",
    );
    assert_eq!(found.outcome, Outcome::Dropped);
    assert_eq!(said(&found), ["set friends has 10.244.1.5", "set web has 10.244.2.7,tcp:80"]);
    assert_eq!(found.gaps, []);

    let found = with_sets(Some(SETS), "-A FORWARD -m set ! --match-set friends src -j DROP");
    assert_eq!(found.outcome, Outcome::Forwarded);
    assert_eq!(said(&found), Vec::<&str>::new(), "what did not match is no matter where the packet passes");
}

#[test]
fn where_the_packet_gets_lost_it_is_told_which_set_would_have_let_it_pass() {
    let found = with_sets(
        Some(SETS),
        "-A FORWARD -m set --match-set strangers src -j ACCEPT\n\
         -A FORWARD -p udp -m set --match-set strangers src -j ACCEPT\n\
         -A FORWARD -m set ! --match-set friends src -j ACCEPT\n-A FORWARD -j REJECT",
    );
    assert_eq!(found.outcome, Outcome::Rejected);
    assert_eq!(said(&found), ["set strangers has no 10.244.1.5", "set friends has 10.244.1.5"]);
}

#[test]
fn a_set_that_was_not_read_leaves_the_rule_open_and_says_why() {
    let rules = "-A FORWARD -m set --match-set friends src -j DROP";
    let mut state = node(&filter(rules));
    state.miss([Part::Sets], Gap::new("ipset", "ipset is not installed"));
    let found = walk(&state, &packet(Origin::Pod, "10.244.1.5", "10.244.2.7:80"));
    assert_eq!(found.outcome, Outcome::Unknown);
    let quoted = format!(
        "cannot be evaluated (whether set friends has 10.244.1.5 cannot be told: not read: ipset is not installed): {rules}"
    );
    assert!(found.gaps.contains(&Gap::new("a rule of filter FORWARD", quoted)), "{:?}", found.gaps);

    let found = with_sets(Some(SETS), "-A FORWARD -m set --match-set others src -j DROP");
    assert_eq!(found.outcome, Outcome::Unknown);
    let both_ways = "-A FORWARD -m set --match-set others src -j ACCEPT\n-A FORWARD -j ACCEPT";
    assert_eq!(with_sets(None, both_ways).outcome, Outcome::Forwarded, "both ways come to the same");
}

#[test]
fn what_rules_add_to_is_not_what_it_was() {
    let found = with_sets(
        Some(SETS),
        "-A FORWARD -p tcp -j SET --add-set strangers src\n-A FORWARD -m set --match-set strangers src -j DROP",
    );
    assert_eq!(found.outcome, Outcome::Unknown);
    assert!(found.gaps[0].why.contains("rules add to it or take away"), "{:?}", found.gaps);
}

#[test]
fn counters_of_members_are_not_known() {
    let rule = |name: &str| {
        format!("-A FORWARD -m set --match-set {name} src --packets-gt 5 -j DROP\n-A FORWARD -j ACCEPT")
    };
    assert_eq!(with_sets(Some(SETS), &rule("friends")).outcome, Outcome::Unknown);
    assert_eq!(with_sets(Some(SETS), &rule("strangers")).outcome, Outcome::Forwarded);
}

#[test]
fn what_sets_say_is_told_up_to_a_bound() {
    let mut rules = String::new();
    for _ in 0..200 {
        rules.push_str("-A FORWARD -m set --match-set strangers src -j ACCEPT\n");
    }
    rules.push_str("-A FORWARD -j DROP");
    let found = with_sets(Some(SETS), &rules);
    assert_eq!(found.outcome, Outcome::Dropped);
    let said = said(&found);
    assert_eq!((said.len(), said[64]), (65, "sets said more than these 64 things"));
}

#[test]
fn members_are_part_of_the_fingerprint_and_their_order_and_counters_are_not() {
    let fingerprint = |sets: &str| {
        let rules = filter("-A FORWARD -m set --match-set friends src -j DROP");
        Host::new(&NodeState { ipsets: Some(sets.to_owned()), ..node(&rules) }).fingerprint()
    };
    let plain = fingerprint("create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.2\n");
    let moved =
        fingerprint("create a hash:ip family inet counters\nadd a 10.0.0.2 packets 5\nadd a 10.0.0.1\n");
    assert_eq!(plain, moved);
    assert_ne!(plain, fingerprint("create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.3\n"));
    assert_ne!(plain, fingerprint("create a hash:ip family inet\nadd a 10.0.0.1\nadd a 10.0.0.2 nomatch\n"));
}
