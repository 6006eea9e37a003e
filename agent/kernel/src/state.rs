//! Everything a walk needs from one namespace, read in one go, and a cheap way to know that its rules are still the same.
//!
//! Parsing texts is the business of `rules`, which is also handed what netlink says of nftables.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::node_state::{Link, NodeState, Part, SavedRules, Unread};
use model::walk::Backend;
use model::{Family, Gap, Timestamp};
use rules::nft::Listing;
use rules::nft::netlink::Interfaces;

use crate::addresses;
use crate::enter::in_netns;
use crate::error::Error;
use crate::ipset;
use crate::iptables;
use crate::ipvs;
use crate::links;
use crate::machine::now;
use crate::netns::Known;
use crate::nft::{self, Kept};
use crate::nl::{self, Netlink};
use crate::routes;
use crate::sysctls;

/// Which rule set was read: equal tokens mean equal rules, as far as a token can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulesToken {
    /// The nft generation; `None` where the kernel has no nf_tables.
    generation: Option<u32>,
    /// Whether legacy tables exist, for whose contents no cheap sign of change is known: entry counts stay the same when
    /// one rule replaces another.
    legacy: bool,
    /// Digest of the virtual servers; `None` where they could not be read.
    ipvs: Option<u64>,
    /// Digest of the sets, where rules ask some.
    sets: Option<u64>,
}

/// Whether rules have changed since a token was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are the same.
    Unchanged,
    /// Something changed.
    Changed,
    /// Legacy tables hold rules: read them again.
    CannotTell,
}

/// A state and the token that its rules had.
#[derive(Clone, Debug)]
pub struct StampedState {
    /// What was read. Its text of nftables is empty unless netlink did not do.
    pub state: NodeState,
    /// The rules of nftables that `state` has no text of, if there are any that decide.
    pub nftables: Option<Listing>,
    /// `None` if the rules changed while they were read, or the token could not be had: do not cache.
    pub token: Option<RulesToken>,
}

/// What is read over rtnetlink.
const ADDRESSES_AND_ROUTES: [Part; 5] = [
    Part::Addresses,
    Part::Routes(Family::Ipv4),
    Part::Routes(Family::Ipv6),
    Part::RoutingRules(Family::Ipv4),
    Part::RoutingRules(Family::Ipv6),
];

/// Rules may be written every second; between two writes there is time for a read.
const ATTEMPTS: u32 = 3;

/// Namespaces of which something is kept: the node and a generous number of pods with nftables of their own.
const MOST_KEPT: usize = 64;

/// Reads rules, interfaces, addresses, routes and sysctls of a namespace, rules as texts. What cannot be read is a gap in
/// the result.
pub fn read_state(netns: &Known) -> NodeState {
    read(netns, Form::Text, &mut Kept::default()).state
}

/// The same for a walk and not for a file, with the token for a cache.
pub fn read_state_stamped(netns: &Known) -> StampedState {
    read(netns, Form::Rules, &mut Kept::default())
}

/// Reads namespaces again and again, and does not ask again for what cannot have changed.
#[derive(Debug, Default)]
pub struct StateReader {
    /// By net cookie.
    kept: Mutex<HashMap<u64, Kept>>,
}

impl StateReader {
    /// As [`read_state_stamped`].
    pub fn read(&self, netns: &Known) -> StampedState {
        let cookie = netns.netns.cookie;
        let mut kept = self.lock().remove(&cookie).unwrap_or_default();
        let state = read(netns, Form::Rules, &mut kept);
        let mut all = self.lock();
        if !kept.is_empty() && (all.len() < MOST_KEPT || all.contains_key(&cookie)) {
            all.insert(cookie, kept);
        }
        state
    }

    /// Forgets namespaces that are gone.
    pub fn retain(&self, alive: impl Fn(u64) -> bool) {
        self.lock().retain(|cookie, _| alive(*cookie));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Kept>> {
        // An entry is taken out while it is worked with: after a panic it is absent, not half made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rules of nftables are read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A listing for files and for whoever parses it.
    Text,
    /// The form that packets are walked through.
    Rules,
}

fn read(netns: &Known, form: Form, kept: &mut Kept) -> StampedState {
    let read_at = now();
    in_netns(&netns.handle, || read_here(form, kept)).unwrap_or_else(|error| StampedState {
        state: nothing(
            read_at,
            Gap::new(
                format!("rules, addresses and routes of network namespace {}", netns.netns.inode),
                error.in_words(),
            ),
        ),
        nftables: None,
        token: None,
    })
}

/// The token of the rules as they are now, without what sets hold.
pub fn rules_token(netns: &Known) -> Result<RulesToken, Error> {
    in_netns(&netns.handle, token_here)?
}

/// Whether the namespace's rules changed since the token was taken.
pub fn rules_changed(netns: &Known, since: &RulesToken) -> Result<Change, Error> {
    let current = in_netns(&netns.handle, || {
        let mut current = token_here()?;
        if since.sets.is_some() {
            // What cannot be read any more counts as changed.
            current.sets = ipset::save().ok().as_deref().map(ipset::digest);
        }
        Ok::<_, Error>(current)
    })??;
    Ok(if current != *since {
        Change::Changed
    } else if current.legacy {
        Change::CannotTell
    } else {
        Change::Unchanged
    })
}

/// The state of a namespace that cannot be entered.
fn nothing(read_at: Timestamp, gap: Gap) -> NodeState {
    let mut state = NodeState { read_at, ..NodeState::default() };
    let rules = [Part::Rules(None), Part::Sets, Part::VirtualServers];
    state.miss(rules.into_iter().chain(ADDRESSES_AND_ROUTES), gap);
    state
}

fn token_here() -> Result<RulesToken, Error> {
    let legacy = [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .any(|family| iptables::legacy_tables(family, &mut Vec::new()));
    let ipvs = ipvs::read().ok().as_deref().map(ipvs::digest);
    Ok(RulesToken { generation: nft::generation()?, legacy, ipvs, sets: None })
}

fn read_here(form: Form, kept: &mut Kept) -> StampedState {
    let mut state = NodeState { read_at: now(), ..NodeState::default() };
    let links = read_links_and_routes(&mut state);
    let mut gaps = std::mem::take(&mut state.gaps);
    state.sysctls = sysctls::read(&links, &mut gaps);
    state.gaps = gaps;
    for attempt in 1..=ATTEMPTS {
        state.read_at = now();
        let before = token_here();
        let rules = read_rules(form, &state.links, kept);
        let after = token_here();
        // Without a generation there is nothing to compare; the save tools read each table whole.
        let same = !rules.torn && !matches!((&before, &after), (Ok(before), Ok(after)) if before != after);
        if !same && attempt < ATTEMPTS {
            tracing::debug!(attempt, "rules changed while they were read, reading again");
            continue;
        }
        state.iptables = rules.iptables;
        state.nftables = rules.text;
        state.gaps.extend(rules.remark);
        state.foreign_nft_tables = rules.foreign;
        state.ipvs = rules.ipvs;
        let sets = rules.ipsets.as_deref().map(ipset::digest);
        state.ipsets = rules.ipsets;
        for unread in rules.unread {
            state.miss([unread.part], unread.gap);
        }
        if same {
            let token = before.ok().map(|token| RulesToken { sets, ..token });
            return StampedState { state, nftables: rules.nftables, token };
        }
    }
    let gap = Gap::new("rules", format!("they changed while they were read, {ATTEMPTS} times in a row"));
    state.miss([Part::Rules(None)], gap.with_remedy("ask again"));
    StampedState { state, nftables: None, token: None }
}

#[derive(Default)]
struct Rules {
    iptables: Vec<SavedRules>,
    /// As `nft` prints them.
    text: String,
    nftables: Option<Listing>,
    /// Whether nftables changed while they were read.
    torn: bool,
    /// Why they were not read as they should be.
    remark: Option<Gap>,
    foreign: Vec<String>,
    ipsets: Option<String>,
    ipvs: Option<String>,
    unread: Vec<Unread>,
}

fn read_rules(form: Form, links: &[Link], kept: &mut Kept) -> Rules {
    let mut unread = Vec::new();
    let mut deciding = Vec::new();
    let tables = match nft_tables(&mut deciding) {
        Ok(tables) => tables,
        Err(error) => {
            let gap = Gap::new("nftables tables", error.in_words());
            unread.push(Unread { part: Part::Rules(None), gap });
            None
        }
    };
    let saved = iptables::save(tables.as_deref(), &mut unread);
    let foreign: Vec<String> = deciding
        .iter()
        .filter(|table| !table.named_as_iptables() || saved.incompatible.contains(table))
        .map(nft::Table::in_words)
        .collect();
    let mut rules = Rules::default();
    if !foreign.is_empty() {
        rules.read_nftables(form, links, &saved.rules, kept, &mut unread);
    }
    let mut note = |part, gap| unread.push(Unread { part, gap });
    let ipvs = ipvs::read().map_err(|gap| note(Part::VirtualServers, gap)).ok();
    // Last: while the rules stay the same, what sets hold now is what rules ask now.
    let asked = ipset::named_by(&saved.rules);
    let ipsets = asked.then(ipset::save).and_then(|sets| sets.map_err(|gap| note(Part::Sets, gap)).ok());
    Rules { iptables: saved.rules, foreign, ipsets, ipvs, unread, ..rules }
}

impl Rules {
    /// Over netlink; by `nft` where the kernel's answers make no sense, which is then told.
    fn read_nftables(
        &mut self,
        form: Form,
        links: &[Link],
        saved: &[SavedRules],
        kept: &mut Kept,
        unread: &mut Vec<Unread>,
    ) {
        let interfaces: Interfaces = links.iter().map(|link| (link.index, link.name.clone())).collect();
        // A table that iptables-nft-save printed is a table of nf_tables too: it must not count twice.
        let mut printed: Vec<(Family, &str)> = Vec::new();
        for saved in saved.iter().filter(|saved| saved.backend == Backend::IptablesNft) {
            let names = saved.text.lines().filter_map(|line| line.strip_prefix('*'));
            printed.extend(names.map(|name| (saved.family, name)));
        }
        let given = |family: Family, name: &str| printed.contains(&(family, name));
        let read = match form {
            Form::Rules => nft::read_nftables(interfaces, kept, given).map(|read| self.nftables = read),
            Form::Text => nft::list_nftables(interfaces).map(|text| self.text = text),
        };
        match read {
            Ok(()) => {}
            Err(Error::Torn { .. }) => self.torn = true,
            Err(error) => match nft::list() {
                Ok(listing) => {
                    let why = format!("{}; they were read by nft instead", error.in_words());
                    self.remark = Some(Gap::new("nftables rules over netlink", why));
                    self.text = listing;
                }
                Err(gap) => {
                    let gap = Gap { why: format!("{}; {}", error.in_words(), gap.why), ..gap };
                    unread.push(Unread { part: Part::Rules(None), gap });
                }
            },
        }
    }
}

/// All nft tables; an empty list where the kernel has no nf_tables.
fn nft_tables(deciding: &mut Vec<nft::Table>) -> Result<Option<Vec<nft::Table>>, Error> {
    let Some(mut netlink) = nft::open()? else { return Ok(Some(Vec::new())) };
    let Some(tables) = nft::tables(&mut netlink)? else { return Ok(Some(Vec::new())) };
    if !tables.is_empty() {
        *deciding = nft::deciding_tables(&mut netlink)?;
    }
    Ok(Some(tables))
}

fn read_links_and_routes(state: &mut NodeState) -> Vec<Link> {
    let gap = |what: &str, error: &Error| Gap::new(what, error.in_words());
    let mut netlink = match Netlink::open(nl::ROUTE) {
        Ok(netlink) => netlink,
        Err(error) => {
            state.miss(ADDRESSES_AND_ROUTES, gap("interfaces, addresses and routes", &error));
            return Vec::new();
        }
    };
    match links::read(&mut netlink) {
        Ok(named) => state.links = named.into_iter().map(|entry| entry.link).collect(),
        Err(error) => state.gaps.push(gap("interfaces", &error)),
    }
    match addresses::read(&mut netlink, &state.links) {
        Ok(addresses) => state.addresses = addresses,
        Err(error) => state.miss([Part::Addresses], gap("addresses", &error)),
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        match routes::read(&mut netlink, family, &state.links) {
            Ok(routes) => state.routes.extend(routes),
            Err(error) => state.miss([Part::Routes(family)], gap(&format!("{family} routes"), &error)),
        }
        match routes::read_rules(&mut netlink, family) {
            Ok(rules) => state.routing_rules.extend(rules),
            Err(error) => {
                state.miss([Part::RoutingRules(family)], gap(&format!("{family} routing rules"), &error));
            }
        }
    }
    state.links.clone()
}
