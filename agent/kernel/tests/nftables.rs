//! nftables read over netlink against `nft`: the same kernel state is the same rules, and every rule reads as nft prints
//! it. Needs root.

#[path = "nftables/describe.rs"]
mod describe;
#[path = "support/scratch.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod scratch;

use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::{Interfaces, in_netns, list_nftables, read_nftables};
use rules::nft::Listing;
use scratch::Scratch;

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
    in_netns(&scratch.known().handle, || read_nftables(interfaces(), |_, _| false))
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
