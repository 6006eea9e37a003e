//! nftables read over netlink against `nft`: the same kernel state is the same rules, and every rule reads as nft prints
//! it. Needs root.

#[path = "nftables/describe.rs"]
mod describe;
#[path = "support/scratch.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod scratch;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kernel::{Interfaces, Kept, StampedState, StateReader, in_netns, list_nftables, read_nftables};
use model::Timestamp;
use model::flow::{Origin, Packet, Protocol};
use model::walk::{Outcome, RulesStamp};
use rules::Host;
use rules::nft::Listing;
use scratch::Scratch;

/// Changes in a row.
const BURST: usize = 8;
const STAMP: RulesStamp = RulesStamp { read_at: Timestamp(0), fingerprint: 0, unchanged_since: Timestamp(0) };
/// Rules of every expression, by the chain that they are for.
const RULES: &str = include_str!("nftables/rules.txt");
const SETS: &str = include_str!("nftables/sets.nft");

/// Rules that nft 1.0.6 lists wrongly or not at all in JSON, and how they should read.
const MISPRINTED: [(&str, &str); 6] = [
    ("add @dynm { ip saddr : 0x3 }", "add @dynm { ip saddr : 3 }"),
    ("ip dscp . ip saddr { cs1 . 1.2.3.4 }", "ip dscp . ip saddr { cs1 . 1.2.3.4 }"),
    (
        "meta l4proto tcp ct original proto-dst { 80, 81 }",
        "meta l4proto tcp ct original proto-dst { 80, 81 }",
    ),
    (
        "meta l4proto tcp tproxy to :tcp dport map { 80 : 8080 }",
        "meta l4proto tcp tproxy to :tcp dport map { 80 : 8080 }",
    ),
    ("ct label & 3 == 1", "ct label & 3 == 1"),
    // nft sorts what it lists, and aborts at these (`concat_expr_msort_value`).
    (
        "meta mark . iif { 0x1 . \"lo\", 0x2 . 99 }",
        "meta mark . iif { 0x00000001 . \"lo\", 0x00000002 . 99 }",
    ),
];

/// What rules of `nftables/rules.txt` refer to, around a chain that holds them.
fn table(section: &str, rules: &[&str]) -> String {
    let mut words = section.split(' ');
    let mut next = || words.next().expect("family, type and hook");
    let (family, kind, hook) = (next(), next(), next());
    let network = if family == "ip6" { "ip6" } else { "ip" };
    format!(
        "table {family} t {{
            counter cnt {{ }}
            quota qt {{ 10 mbytes }}
            limit lm {{ rate 5/second }}
            ct helper ftp {{ type \"ftp\" protocol tcp; }}
            ct timeout tmo {{ protocol tcp; policy = {{ established : 100, close : 4 }};
            }}
            ct expectation exp {{ protocol tcp; dport 99; timeout 10m; size 12; l3proto {network}; }}
            set s4 {{ type ipv4_addr; elements = {{ 1.2.3.4 }};
            }}
            set s4c {{ type ipv4_addr . inet_service; elements = {{ 1.2.3.4 . 80 }};
            }}
            set dyn {{ type ipv4_addr; flags dynamic,timeout; timeout 1m; }}
            map dynm {{ type ipv4_addr : mark; flags dynamic,timeout; timeout 1m; }}
            map m4 {{ type ipv4_addr : verdict; }}
            map objm {{ type ipv4_addr : counter; elements = {{ 1.2.3.4 : \"cnt\" }};
            }}
            chain x {{ }}
            chain f {{
                type {kind} hook {hook} priority 0;
                {}
            }}
        }}
",
        rules.join("\n                ")
    )
}

#[test]
fn every_expression_is_read_as_nft_reads_it() {
    let Some(scratch) = Scratch::new("nlexp") else { return };
    let (mut compared, mut refused) = (0, Vec::new());
    let mut section = "";
    let mut rules: Vec<&str> = Vec::new();
    for line in RULES.lines().chain(["[]"]).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(next) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let loaded = loadable(&scratch, section, &rules, &mut refused);
            if !loaded.is_empty() {
                compared += same(&scratch, &table(section, &loaded), section);
            }
            (section, rules) = (next, Vec::new());
        } else {
            rules.push(line);
        }
    }
    eprintln!("{compared} rules are equal, {} were not taken: {refused:?}", refused.len());
    assert!(
        compared > 20 * refused.len(),
        "{} of {compared} rules were not taken: {refused:?}",
        refused.len()
    );
}

#[test]
fn sets_maps_and_tables_are_read_as_nft_reads_them() {
    let Some(scratch) = Scratch::new("nlset") else { return };
    assert!(same(&scratch, SETS, "sets.nft") > 10);
}

#[test]
fn what_nft_misprints_is_read_as_the_kernel_holds_it() {
    let Some(scratch) = Scratch::new("nlmis") else { return };
    for (rule, text) in MISPRINTED {
        load(&scratch, &table("inet filter prerouting", &[rule])).expect(rule);
        let read = by_netlink(&scratch);
        assert_eq!(describe::texts(&read.sets[0]), [text]);
        assert!(describe::problems(&read).is_empty(), "{rule}: {:?}", describe::problems(&read));
        assert_eq!(read.sets[0].sets.iter().filter(|set| set.incomplete).count(), 0, "{rule}");
    }
}

/// nft 1.0.6 does not say in JSON that a table is switched off.
#[test]
fn a_table_that_is_switched_off_hooks_nothing() {
    let Some(scratch) = Scratch::new("nloff") else { return };
    let chain = "chain f { type filter hook forward priority 0; policy drop; }";
    for (flags, hooked) in [("", true), ("flags dormant;", false)] {
        load(&scratch, &format!("table ip t {{ {flags} {chain}; }}\n")).expect("a table");
        let read = by_netlink(&scratch);
        let chains = read.sets[0].tables.iter().flat_map(|table| &table.chains);
        assert_eq!(chains.filter(|chain| chain.base.is_some()).count(), usize::from(hooked), "{flags:?}");
    }
}

/// The states that kube-proxy's own tests come to, in all its dialects, and what others write.
#[test]
fn rule_sets_of_clusters_are_read_as_nft_reads_them() {
    let Some(scratch) = Scratch::new("nlcor") else { return };
    let (mut states, mut compared) = (0, 0);
    for (archive, kind) in [("nftables", "json"), ("realworld", "txt")] {
        let Some(folder) = unpack(archive) else { return };
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder.path().join(archive))
            .expect("the folder")
            .map(|entry| entry.expect("entry").path())
            .collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == kind)) {
            let bytes = std::fs::read(path).expect("the file");
            let text = match kind {
                "json" => {
                    let case: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
                    case["rules"].as_str().expect("rules").to_owned()
                }
                // nft 1.0.6 does not know this name at this hook.
                _ => String::from_utf8_lossy(&bytes)
                    .replace("hook output priority dstnat", "hook output priority -100"),
            };
            // Not all dumps are of nft, or whole.
            if kind == "json" || (text.contains("chain ") && load(&scratch, &text).is_ok()) {
                states += 1;
                compared += same(&scratch, &text, &path.display().to_string());
            }
        }
    }
    eprintln!("{states} rule sets with {compared} rules are equal");
    assert!(states > 280 && compared > 5_000, "{states} rule sets with {compared} rules");
}

/// Rules that are replaced as a whole, again and again, while they are read. Both forms drop the packet; any mixture of the
/// two lets it through, which no answer may say.
#[test]
fn what_is_read_under_change_is_a_state_that_was() {
    let Some(scratch) = Scratch::new("nltorn") else { return };
    let known = scratch.known();
    let forms = [1, 2].map(|mark| {
        // Enough to read that a change falls into it now and then.
        let filler = "ip saddr 192.0.2.0/24 tcp dport { 1, 2, 3 } counter\n".repeat(200);
        format!(
            "flush ruleset
             table ip t {{
                 map m {{ type mark : verdict; elements = {{ {mark} : goto dropping_{mark} }}
                 }}
                 chain first {{ type filter hook input priority 0; meta mark set {mark}; {filler} jump last; }}
                 chain last {{ meta mark vmap @m; }}
                 chain dropping_{mark} {{ meta mark {mark} drop; }}
             }}
"
        )
    });
    let packet = Packet {
        origin: Origin::External,
        in_interface: Some("lo".to_owned()),
        protocol: Protocol::Tcp,
        src: "127.0.0.2".parse().expect("an address"),
        src_port: None,
        dst: "127.0.0.1:80".parse().expect("an address"),
    };
    scratch.feed(&["nft", "-f", "-"], &forms[0]);
    let stop = AtomicBool::new(false);
    let (written, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (mut certain, mut torn) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let count = written.fetch_add(1, Ordering::Relaxed);
                scratch.feed(&["nft", "-f", "-"], &forms[(count + 1) % 2]);
                // A pause now and then, in which a read may begin and end.
                let seen = reads.load(Ordering::Relaxed);
                let rests = count % BURST == 0;
                while rests && reads.load(Ordering::Relaxed) == seen && !stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        // Also if what follows panics.
        let _stop = OnDrop(&stop);
        let reader = StateReader::default();
        let begun = Instant::now();
        // Until there is enough of either, which a minute is ample for.
        while (certain < 20 || torn == 0) && begun.elapsed() < Duration::from_mins(1) {
            let StampedState { mut state, nftables, token } = reader.read(&known);
            let whole = nftables.is_some();
            let host = match nftables {
                Some(nftables) => Host::reading(&mut state, nftables),
                None => Host::taking(&mut state),
            };
            let walk = host.walk(&packet, STAMP);
            if whole {
                assert_eq!(walk.outcome, Outcome::Dropped, "{:?}", walk.gaps);
                assert!(token.is_some());
                certain += 1;
            } else {
                assert_eq!(walk.outcome, Outcome::Unknown, "{walk:?}");
                assert!(
                    walk.gaps.iter().any(|gap| gap.why.contains("changed while they were read")),
                    "{walk:?}"
                );
                assert!(token.is_none());
                torn += 1;
            }
            reads.fetch_add(1, Ordering::Relaxed);
        }
    });
    let written = written.load(Ordering::Relaxed);
    eprintln!("{written} changes, {certain} reads of one state, {torn} torn ones");
    assert!(certain > 0 && written > 10, "{written} changes, {certain} reads of one state, {torn} torn ones");
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Elements of sets that are part of a rule are asked for once, those of named sets always.
#[test]
fn what_is_kept_between_reads_is_what_cannot_change() {
    let Some(scratch) = Scratch::new("nlkept") else { return };
    let rules = "table ip t {
            set s { type ipv4_addr; flags constant; elements = { 1.2.3.4 }; }
            set n { type ipv4_addr; }
            chain c { ip saddr { 1.1.1.1, 1.1.1.2 } drop; }
        }
";
    load(&scratch, rules).expect("rules");
    let mut kept = Kept::default();
    let mut read = || {
        let read = in_netns(&scratch.known().handle, || read_nftables(interfaces(), &mut kept, |_, _| false));
        describe::all(&read.expect("enter").expect("rules").expect("nf_tables").sets[0])
    };
    assert_eq!(read(), read());
    scratch.run(&["nft", "add element ip t n { 9.9.9.9 }"]);
    scratch.run(&["nft", "add rule ip t c ip saddr { 2.2.2.2, 2.2.2.3 } drop"]);
    scratch.run(&["nft", "flush chain ip t c"]);
    scratch.run(&["nft", "add rule ip t c ip saddr { 3.3.3.3, 3.3.3.4 } drop"]);
    let after = read();
    assert_eq!(after, describe::all(&by_netlink(&scratch).sets[0]));
    let text = after.join("\n");
    assert!(text.contains("ip saddr { 3.3.3.3, 3.3.3.4 } drop") && !text.contains("1.1.1.1"), "{text}");
    // The same names for other sets.
    load(&scratch, &rules.replace("1.1.1", "7.7.7")).expect("rules");
    let again = read();
    assert_eq!(again, describe::all(&by_netlink(&scratch).sets[0]));
    assert!(again.join("\n").contains("7.7.7.1"), "{again:?}");
}

/// Those of the rules that nft and the kernel take.
fn loadable<'r>(
    scratch: &Scratch,
    section: &str,
    rules: &[&'r str],
    refused: &mut Vec<String>,
) -> Vec<&'r str> {
    if rules.is_empty() || load(scratch, &table(section, rules)).is_ok() {
        return rules.to_vec();
    }
    if let [rule] = rules {
        refused.push(format!("{section}: {rule}"));
        return Vec::new();
    }
    let (one, other) = rules.split_at(rules.len() / 2);
    [loadable(scratch, section, one, refused), loadable(scratch, section, other, refused)].concat()
}

/// Replaces all rules.
fn load(scratch: &Scratch, text: &str) -> Result<(), String> {
    scratch.try_feed(&["nft", "-f", "-"], &format!("flush ruleset\n{text}"))
}

/// Loads rules and compares all ways to read them; returns how many there are.
fn same(scratch: &Scratch, text: &str, what: &str) -> usize {
    load(scratch, text).unwrap_or_else(|error| panic!("{what}: {error}"));
    let read = by_netlink(scratch);
    let printed = rules::nft::parse(&scratch.run(&["nft", "-j", "-a", "list", "ruleset"]), |_, _| false);
    let saved =
        in_netns(&scratch.known().handle, || list_nftables(interfaces())).expect("enter").expect("a listing");
    let saved = rules::nft::parse(&saved, |_, _| false);
    assert_eq!(describe::problems(&read), Vec::<String>::new(), "{what}");
    assert_eq!(read.tables, printed.tables, "{what}");
    assert_eq!(read.unwalked, printed.unwalked, "{what}");
    let mut count = 0;
    for (index, set) in read.sets.iter().enumerate() {
        let ours = describe::all(set);
        describe::compare(what, "nft -j", &ours, &describe::all(&printed.sets[index]));
        describe::compare(what, "its own listing", &ours, &describe::all(&saved.sets[index]));
        count += describe::texts(set).len();
    }
    let listed = describe::listed(&scratch.run(&["nft", "list", "ruleset"]));
    for text in read.sets.iter().flat_map(describe::texts) {
        assert!(listed.contains(&text), "{what}: nft does not print {text:?}");
    }
    count
}

fn by_netlink(scratch: &Scratch) -> Listing {
    in_netns(&scratch.known().handle, || read_nftables(interfaces(), &mut Kept::default(), |_, _| false))
        .expect("enter")
        .expect("rules")
        .expect("nf_tables")
}

fn interfaces() -> Interfaces {
    [(1, "lo".to_owned())].into()
}

/// Unpacks an archive of the corpus; says so and gives nothing if there is none.
fn unpack(kind: &str) -> Option<tempfile::TempDir> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let beside = || workspace.join("../shared/corpus");
    let corpus = std::env::var_os("WHY_DROPPED_CORPUS").map_or_else(beside, PathBuf::from);
    let archive = corpus.join("kube-proxy").join(format!("{kind}.tar.xz"));
    if !archive.is_file() {
        eprintln!("skipped: no kube-proxy corpus at {} (set WHY_DROPPED_CORPUS)", archive.display());
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let status =
        Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(folder.path()).status().expect("tar");
    assert!(status.success(), "tar could not unpack {}", archive.display());
    Some(folder)
}
