//! `why-dropped causes` and `explain ID`: the catalogue built into this program.

use diagnose::catalogue::Entry;
use objects::nearest;

use crate::args::{Args, Format};
use crate::error::CliError;
use crate::output;
use crate::render;

/// One line a cause.
pub fn list(args: &Args) -> Result<u8, CliError> {
    let entries = diagnose::catalogue();
    output::print(&match args.output {
        Format::Json => render::causes_json(entries),
        Format::Text => render::causes(entries, output::look(args)),
    })?;
    Ok(0)
}

/// Everything written about one cause.
pub fn explain(args: &Args, id: &str) -> Result<u8, CliError> {
    let entry = known(id)?;
    output::print(&match args.output {
        Format::Json => render::cause_json(entry),
        Format::Text => render::cause(entry, output::look(args)),
    })?;
    Ok(0)
}

/// A cause by id or slug.
pub fn known(id: &str) -> Result<&'static Entry, CliError> {
    let entries = diagnose::catalogue();
    find(entries, id).ok_or_else(|| CliError::NoCause { id: id.to_owned(), near: near(entries, id) })
}

fn find<'a>(entries: &'a [Entry], id: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.id.eq_ignore_ascii_case(id) || entry.slug.eq_ignore_ascii_case(id))
}

fn near(entries: &[Entry], id: &str) -> Option<String> {
    let id = id.to_lowercase();
    nearest::nearest(&id, entries.iter().map(|entry| entry.slug)).map(str::to_owned)
}
