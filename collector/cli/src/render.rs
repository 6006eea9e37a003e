//! Answers as text for people, from the wire's types alone.
//!
//! Every text that comes from outside goes through [`escape`]: names are chosen by strangers.

mod causes;
mod drops;
mod explanation;
mod gaps;
mod layout;
mod nodes;
mod rule;
mod ruled_out;

pub use causes::{cause, cause_json, causes, causes_json};
pub use drops::{drops, watched_drop};
pub use explanation::explanation;
pub use layout::{Paint, columns, counted, escape, item, span, table};
pub use nodes::nodes;
pub use rule::rule;

/// What the output can show, and how much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Colours.
    pub colour: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
    /// Everything that was looked at.
    pub verbose: bool,
}

#[cfg(test)]
mod tests;
