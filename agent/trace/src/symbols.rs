//! Names the code that dropped a packet.
//!
//! It looks addresses up as they first appear instead of keeping the kernel's whole symbol table (several megabytes)
//! in memory: a node drops packets in a few dozen places. It does not resolve source lines.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use model::evidence::Location;

/// The kernel's symbol table.
const KALLSYMS: &str = "/proc/kallsyms";

/// An address further from the symbol below it than this is not in that function (the largest ones are some 100 KiB).
const MAX_FUNCTION: u64 = 1 << 20;

/// Names found so far.
#[derive(Debug, Default)]
pub struct Symbols {
    known: HashMap<u64, Location>,
}

impl Symbols {
    /// Reads the symbol table once if any of these addresses is new.
    pub fn learn(&mut self, addresses: impl Iterator<Item = u64>) {
        let mut new: Vec<u64> = addresses.filter(|address| !self.known.contains_key(address)).collect();
        if new.is_empty() {
            return;
        }
        new.sort_unstable();
        new.dedup();
        match File::open(KALLSYMS) {
            Ok(file) => self.known.extend(look_up(BufReader::with_capacity(1 << 16, file), &new)),
            Err(error) => {
                tracing::warn!(%error, "drop locations stay addresses: {KALLSYMS} is not readable");
                self.known.extend(new.into_iter().map(|address| (address, unnamed(address))));
            }
        }
    }

    /// Function and offset, or the address in hex if its function is not known.
    pub fn name(&self, address: u64) -> Location {
        self.known.get(&address).cloned().unwrap_or_else(|| unnamed(address))
    }
}

/// Whether this process gets to see addresses at all (`kernel.kptr_restrict`, CAP_SYSLOG): they read as zero if not.
pub fn visible() -> bool {
    File::open(KALLSYMS).is_ok_and(|file| {
        BufReader::new(file).lines().take(100).map_while(Result::ok).any(|line| {
            line.split_whitespace().next().is_some_and(|address| address.bytes().any(|digit| digit != b'0'))
        })
    })
}

/// For each of the sorted `addresses`, the nearest function at or below it. Lines are `ADDRESS TYPE NAME [MODULE]`,
/// sorted within the kernel and not across modules.
fn look_up(mut table: impl BufRead, addresses: &[u64]) -> HashMap<u64, Location> {
    let mut nearest: Vec<Option<(u64, String)>> = vec![None; addresses.len()];
    let mut line = Vec::new();
    // There are two hundred thousand lines, so nothing is allocated for those that name none of the addresses.
    while table.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        if let Some((start, name)) = function(&line) {
            let first = addresses.partition_point(|&address| address < start);
            let last = addresses.partition_point(|&address| address.saturating_sub(MAX_FUNCTION) < start);
            for best in nearest.get_mut(first..last).unwrap_or_default() {
                // Of aliases at one address the first stays.
                if best.as_ref().is_none_or(|(known, _)| *known < start) {
                    *best = Some((start, String::from_utf8_lossy(name).into_owned()));
                }
            }
        }
        line.clear();
    }
    addresses
        .iter()
        .zip(nearest)
        .map(|(&address, best)| {
            let location = best.and_then(|(start, symbol)| {
                Some(Location { symbol, offset: u32::try_from(address.checked_sub(start)?).ok()? })
            });
            (address, location.unwrap_or_else(|| unnamed(address)))
        })
        .collect()
}

/// Address and name, if the line is of a function (text, global, local or weak) whose address this process may see:
/// hidden ones are zero.
fn function(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut fields = line.split(u8::is_ascii_whitespace);
    let digits = fields.next().filter(|digits| (1..=16).contains(&digits.len()))?;
    let start = digits
        .iter()
        .try_fold(0_u64, |sum, &digit| Some(sum << 4 | u64::from(char::from(digit).to_digit(16)?)))?;
    let kind = fields.next()?;
    let name = fields.next().filter(|name| !name.is_empty())?;
    (start != 0 && matches!(kind, b"t" | b"T" | b"w" | b"W")).then_some((start, name))
}

fn unnamed(address: u64) -> Location {
    Location { symbol: format!("{address:#x}"), offset: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"ffffffff81000000 T _text\n\
        ffffffff81000100 t nft_do_chain\n\
        ffffffff81000180 d some_data\n\
        ffffffff81000200 T alias_one\n\
        ffffffff81000200 T alias_two\n\
        not a line\n\
        \xff\xfe t broken\n\
        ffffffffc0000000 t module_function\t[module]\n\
        ffffffff81000280 t late\n";

    fn resolve(address: u64) -> String {
        let location = look_up(TABLE, &[address]).remove(&address).expect("every address gets a location");
        format!("{}+{}", location.symbol, location.offset)
    }

    #[test]
    fn the_function_below_an_address_names_it() {
        assert_eq!(resolve(0xffff_ffff_8100_01a0), "nft_do_chain+160");
        assert_eq!(resolve(0xffff_ffff_8100_0200), "alias_one+0");
        assert_eq!(resolve(0xffff_ffff_8100_02ff), "late+127", "the table is not sorted across modules");
        assert_eq!(resolve(0xffff_ffff_c000_0010), "module_function+16");
    }

    #[test]
    fn an_address_outside_every_function_stays_a_number() {
        assert_eq!(resolve(0x1000), "0x1000+0");
        assert_eq!(resolve(0xffff_ffff_d000_0000), "0xffffffffd0000000+0");
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let hidden = b"0000000000000000 T _text\n0000000000000000 t nft_do_chain\n".as_slice();
        assert_eq!(look_up(hidden, &[0x10]), HashMap::from([(0x10, unnamed(0x10))]));
    }

    #[test]
    fn several_addresses_are_found_in_one_pass() {
        let found = look_up(TABLE, &[0xffff_ffff_8100_0101, 0xffff_ffff_8100_0201]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[&0xffff_ffff_8100_0101].offset, 1);
        assert_eq!(found[&0xffff_ffff_8100_0201].symbol, "alias_one");
    }
}
