//! Sets of the kernel's ipset as the reader finds them: when they are read, and that a change of them is noticed. Needs
//! root. That their members are understood is tested with the rules that ask them, in `netlab`.

#[path = "support/scratch.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod scratch;

use kernel::{Change, read_state, read_state_stamped, rules_changed};
use scratch::Scratch;

const SETS: &str =
    "create a hash:ip family inet timeout 500 counters\nadd a 10.0.0.1\nadd a 10.0.0.2 timeout 0\n";
const ASKING: &str = "*filter\n-A OUTPUT -m set --match-set a dst -j ACCEPT\nCOMMIT\n";

#[test]
fn sets_are_read_where_a_rule_asks_one() {
    let Some(scratch) = Scratch::new("sets") else { return };
    scratch.feed(&["ipset", "restore"], SETS);
    let known = scratch.known();
    assert_eq!(read_state(&known).ipsets, None, "no rule asks it");

    scratch.feed(&["iptables-nft-restore"], ASKING);
    let state = read_state(&known);
    assert_eq!(state.gaps, vec![]);
    let saved = state.ipsets.expect("the sets");
    assert!(saved.starts_with("create a hash:ip family inet "), "{saved}");
    for member in ["\nadd a 10.0.0.1 timeout ", "\nadd a 10.0.0.2 timeout 0 "] {
        assert!(saved.contains(member), "{saved}");
    }
    assert_eq!(state.ipvs.as_deref().map(|text| text.lines().skip(3).count()), Some(0), "no virtual servers");
}

#[test]
fn a_member_that_comes_or_goes_is_a_change_and_counters_are_none() {
    let Some(scratch) = Scratch::new("setchange") else { return };
    scratch.feed(&["ipset", "restore"], SETS);
    scratch.feed(&["iptables-nft-restore"], ASKING);
    let known = scratch.known();
    let token = read_state_stamped(&known).token.expect("a token");
    let changed = || rules_changed(&known, &token).expect("a look");
    assert_eq!(changed(), Change::Unchanged);

    scratch.run(&["ipset", "add", "a", "10.0.0.1", "--exist", "timeout", "400", "packets", "7"]);
    assert_eq!(changed(), Change::Unchanged, "{}", scratch.run(&["ipset", "save"]));
    scratch.run(&["ipset", "add", "a", "10.0.0.3"]);
    assert_eq!(changed(), Change::Changed);
    scratch.run(&["ipset", "del", "a", "10.0.0.3"]);
    assert_eq!(changed(), Change::Unchanged);
    scratch.run(&["ipset", "del", "a", "10.0.0.2"]);
    assert_eq!(changed(), Change::Changed);
}
