//! Reads what `nft -j list ruleset` prints into the common form.
//!
//! One object of the listing is held at a time, so a big rule set costs little beyond its lowered form. Tolerant by
//! design: text that is no JSON ends in a [`Problem`] with its place, an object of a shape nobody prints in another, and
//! an expression that is not modelled is kept as its text. Tables of bridges and devices are named, not walked.
//!
//! The expression language is that of libnftables-json(5), nft 0.9.4 to 1.1.

mod build;
mod conditions;
mod elements;
mod fields;
mod implied;
mod json;
pub mod netlink;
mod object;
mod rule;
mod statements;
pub(crate) mod text;
mod tree;
mod values;

use model::flow::Family;

use self::build::Builder;
pub use self::object::Object;
use self::tree::Value;
use crate::ir::{Problem, RuleSet};

/// Problems kept of one listing; the number beyond is told in a last entry.
const MAX_PROBLEMS: usize = 100;
/// Characters of a bad object that a problem quotes.
const EXCERPT: usize = 120;

/// A listing, read.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The rules that apply to IPv4 and to IPv6; tables of family `inet` are in both.
    pub sets: [RuleSet; 2],
    /// All tables it holds, as `FAMILY NAME`.
    pub tables: Vec<String>,
    /// Those that can decide over a packet where nothing is walked: on bridges and devices.
    pub unwalked: Vec<String>,
}

/// Reads a listing. `given` says which tables of which family are known from elsewhere (`iptables-nft-save`) and are left
/// out here.
pub fn parse(text: &str, given: impl Fn(Family, &str) -> bool) -> Listing {
    let mut reader = Reader::new(given);
    if let Err(problem) = json::read(text, |object| reader.take(&object)) {
        reader.problem(problem);
    }
    reader.finish(text.len())
}

struct Reader<G> {
    given: G,
    builders: [Builder; 2],
    tables: Vec<String>,
    unwalked: Vec<String>,
    /// The table that is being read, if it is switched off.
    dormant: Option<(String, String)>,
    problems: Vec<Problem>,
    suppressed: usize,
    /// Objects read so far, which is what a problem can say of its place.
    number: u32,
}

impl<G: Fn(Family, &str) -> bool> Reader<G> {
    fn new(given: G) -> Self {
        Self {
            given,
            builders: [Family::Ipv4, Family::Ipv6].map(Builder::new),
            tables: Vec::new(),
            unwalked: Vec::new(),
            dormant: None,
            problems: Vec::new(),
            suppressed: 0,
            number: 0,
        }
    }

    fn take(&mut self, value: &Value<'_>) {
        self.number = self.number.saturating_add(1);
        let result = Object::read(value).and_then(|object| self.lower(&object));
        if let Err(what) = result {
            let excerpt = json::excerpt(&value.to_string());
            self.problem(Problem {
                line: self.number,
                excerpt,
                what: format!("object {}: {what}", self.number),
            });
        }
    }

    fn lower(&mut self, object: &Object<'_>) -> Result<(), &'static str> {
        let Some((family, table)) = object.place() else { return Ok(()) };
        if let Object::Table { dormant, .. } = object {
            self.tables.push(format!("{family} {}", table.escape_debug()));
            self.dormant = dormant.then(|| (family.to_owned(), table.to_owned()));
        }
        let dormant =
            self.dormant.as_ref().is_some_and(|(of, name)| (of.as_str(), name.as_str()) == (family, table));
        if dormant && matches!(object, Object::Chain(chain) if chain.hook.is_some()) {
            // The kernel calls none of them (`nf_tables_table_disable`).
            return Ok(());
        }
        if let Object::Chain(chain) = object
            && chain.hook.is_some_and(|hook| matches!(hook, "ingress" | "egress"))
        {
            self.leave_out(family, table);
            return Ok(());
        }
        let families: &[Family] = match family {
            "ip" => &[Family::Ipv4],
            "ip6" => &[Family::Ipv6],
            "inet" => &[Family::Ipv4, Family::Ipv6],
            // Packets of another protocol.
            "arp" => return Ok(()),
            _ => {
                if matches!(object, Object::Chain(chain) if chain.hook.is_some()) {
                    self.leave_out(family, table);
                }
                return Ok(());
            }
        };
        for of in families {
            if family != "inet" && (self.given)(*of, table) {
                continue;
            }
            let builder = match of {
                Family::Ipv4 => &mut self.builders[0],
                Family::Ipv6 => &mut self.builders[1],
            };
            builder.take(family, table, object)?;
        }
        Ok(())
    }

    fn leave_out(&mut self, family: &str, table: &str) {
        let words = format!("{family} {}", table.escape_debug());
        if !self.unwalked.contains(&words) {
            self.unwalked.push(words);
        }
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.suppressed += 1;
        }
    }

    fn finish(mut self, size: usize) -> Listing {
        if u32::try_from(size).is_err() {
            let what = "larger than 4 GiB".to_owned();
            self.problems.push(Problem { line: 0, excerpt: String::new(), what });
        }
        if self.suppressed > 0 {
            let what = format!("{} more objects could not be read", self.suppressed);
            self.problems.push(Problem { line: 0, excerpt: String::new(), what });
        }
        let mut sets = self.builders.map(Builder::finish);
        // A listing is one text for both families: what it lacks may concern either.
        for set in &mut sets {
            set.problems.extend(self.problems.iter().cloned());
        }
        Listing { sets, tables: self.tables, unwalked: self.unwalked }
    }
}

#[cfg(test)]
mod tests;
