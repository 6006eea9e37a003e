//! Writing to the terminal or pipe, and what can be shown there.

use std::io::{self, IsTerminal as _, Write as _};

use crate::args::{Args, Colour};
use crate::error::CliError;
use crate::render::Look;

/// Narrower terminals get this and wrap by themselves.
const NARROWEST: usize = 60;

/// Where no terminal says otherwise.
const USUAL: usize = 80;

/// Writes an answer. A reader that has gone has read enough: no error.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output { source }),
        _ => Ok(()),
    }
}

/// Writes one line of a stream. False once nobody reads any more.
pub fn print_next(text: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(CliError::Output { source }),
    }
}

/// Writes what is not the answer. Where even that cannot be written, there is nobody to tell.
pub fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// What standard output can show.
pub fn look(args: &Args) -> Look {
    let terminal = io::stdout().is_terminal();
    let colour = match args.color {
        Colour::Always => true,
        Colour::Never => false,
        // https://no-color.org: set and not empty.
        Colour::Auto => {
            terminal && !set("NO_COLOR") && std::env::var("TERM").is_ok_and(|term| term != "dumb")
        }
    };
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<u16>().ok());
    let there = || terminal_size::terminal_size().filter(|_| terminal).map(|(width, _)| width.0);
    let width = asked.filter(|columns| *columns > 0).or_else(there);
    let width = width.map_or(USUAL, |width| usize::from(width).max(NARROWEST));
    Look { width, colour, unicode: unicode(), verbose: args.verbose }
}

/// Whether the locale's character set is UTF-8; the first variable that is set decides (`setlocale(3)`).
fn unicode() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find(|name| set(name))
        .and_then(|name| std::env::var(name).ok())
        .is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

fn set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
