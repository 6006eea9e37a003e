//! Prints the file of a new cause with the next free id of its letter; `cargo xtask new-cause` calls it.
//!
//! It writes nothing; where the file goes, the caller knows.

use std::env;
use std::process::ExitCode;

use diagnose::catalogue;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let letter = arguments.next().and_then(|letter| letter.chars().next());
    let (Some(letter), Some(slug)) = (letter, arguments.next()) else {
        eprintln!("usage: new_cause LETTER NAME");
        return ExitCode::from(2);
    };
    print!("{}", catalogue::skeleton(&catalogue::next_id(letter), &slug));
    ExitCode::SUCCESS
}
