//! `why-dropped policy diff`: what a change of the objects opens and closes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::policy::PolicyIndex;
use ::policy::reach::{Cell, GroupName, Matrix, PortSet};
use model::ObjectSet;
use serde::Serialize;

use super::matrix::by;
use super::progress;
use crate::args::{Args, DiffArgs, Format};
use crate::error::CliError;
use crate::explain::from_files;
use crate::output;
use crate::render::{self, Look, Paint};

/// Compares and prints.
pub async fn run(args: &Args, asked: &DiffArgs) -> Result<u8, CliError> {
    let read = async |path: &PathBuf| {
        let paths: Vec<PathBuf> = std::iter::once(path).chain(&asked.objects).cloned().collect();
        from_files(&paths).await
    };
    let (old, new) = (read(&asked.old).await?, read(&asked.new).await?);
    super::tell_others(&new);
    let found = compare(&old, &new, asked);
    output::print(&match args.output {
        Format::Json => serde_json::to_string_pretty(&found).unwrap_or_default() + "\n",
        Format::Text => text(&found, output::look(args)),
    })?;
    Ok(match (found.opened.is_empty() && found.closed.is_empty(), found.unclear.is_empty()) {
        (false, _) => 1,
        (true, false) => 3,
        (true, true) => 0,
    })
}

/// What differs.
#[derive(Debug, Default, Serialize)]
struct Difference {
    opened: Vec<Change>,
    closed: Vec<Change>,
    /// Ports of which it was or is not known.
    unclear: Vec<Change>,
    /// Only among the new objects.
    added: Vec<String>,
    /// Only among the old ones.
    removed: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    from: String,
    to: String,
    ports: Vec<String>,
    /// Whether only some of the pods are touched.
    partly: bool,
}

fn compare(old: &ObjectSet, new: &ObjectSet, asked: &DiffArgs) -> Difference {
    let (old_index, new_index) = (PolicyIndex::new(old), PolicyIndex::new(new));
    let (old, new) = (Matrix::new(&old_index, by(asked.by)), Matrix::new(&new_index, by(asked.by)));
    let places = |matrix: &Matrix<'_, '_>| -> BTreeMap<GroupName, usize> {
        matrix.groups().iter().enumerate().map(|(at, group)| (group.name.clone(), at)).collect()
    };
    let (before, after) = (places(&old), places(&new));
    let both: Vec<(&GroupName, usize, usize)> =
        before.iter().filter_map(|(name, at)| Some((name, *at, *after.get(name)?))).collect();
    let rows = progress::each("what opens and closes", both.len(), |row| {
        let mut found = Difference::default();
        let Some((from, was, is)) = both.get(row) else { return found };
        let (was, is) = (old.row(*was), new.row(*is));
        for (to, old_at, new_at) in &both {
            let of = |row: &[Option<Cell>], at: usize| row.get(at).cloned().flatten();
            if let (Some(was), Some(is)) = (of(&was, *old_at), of(&is, *new_at)) {
                found.pair(from, to, &was, &is);
            }
        }
        found
    });
    let mut all = Difference::default();
    for row in rows {
        all.opened.extend(row.opened);
        all.closed.extend(row.closed);
        all.unclear.extend(row.unclear);
    }
    let missing = |names: &BTreeMap<GroupName, usize>, others: &BTreeMap<GroupName, usize>| {
        names.keys().filter(|name| !others.contains_key(name)).map(ToString::to_string).collect()
    };
    all.added = missing(&after, &before);
    all.removed = missing(&before, &after);
    all
}

impl Difference {
    fn pair(&mut self, from: &GroupName, to: &GroupName, was: &Cell, is: &Cell) {
        let change = |whole: PortSet, part: PortSet| {
            let ports = whole.union(&part);
            (!ports.is_empty()).then(|| Change {
                from: from.to_string(),
                to: to.to_string(),
                partly: whole != ports,
                ports: ports.words(),
            })
        };
        // What was not known before, or is not now, neither opens nor closes.
        let unknown = was.unknown.union(&is.unknown);
        let sure = |set: PortSet| set.difference(&unknown);
        // Wholly: from no pod to every pod. Partly: for more pods than before.
        let opened = sure(is.every.difference(&was.some));
        let widened = sure(is.some.difference(&was.some).union(&is.every.difference(&was.every)));
        let closed = sure(was.every.difference(&is.some));
        let narrowed = sure(was.some.difference(&is.some).union(&was.every.difference(&is.every)));
        self.opened.extend(change(opened, widened));
        self.closed.extend(change(closed, narrowed));
        if was != is {
            let differs = unknown.intersection(
                &was.unknown.difference(&is.unknown).union(&is.unknown.difference(&was.unknown)),
            );
            self.unclear.extend(change(differs, PortSet::none()));
        }
    }
}

fn text(found: &Difference, look: Look) -> String {
    let mut out = String::new();
    for (word, paint, changes) in [
        ("opens", Paint::Bad, &found.opened),
        ("closes", Paint::Good, &found.closed),
        ("unclear", Paint::Unsure, &found.unclear),
    ] {
        for change in changes {
            let Change { from, to, ports, partly } = change;
            let ports = match ports.as_slice() {
                [tcp, udp, sctp] if [tcp, udp, sctp].iter().all(|word| word.starts_with("any port/")) => {
                    "all ports".to_owned()
                }
                some => some.join(", "),
            };
            let partly = if *partly { ", for some of their pods" } else { "" };
            let line = format!(
                "{}  {} -> {}: {ports}{partly}",
                look.paint(paint, word),
                render::escape(from),
                render::escape(to)
            );
            render::item(&mut out, look, "", 0, &line);
        }
    }
    for (word, names) in [("new", &found.added), ("gone", &found.removed)] {
        if !names.is_empty() {
            render::item(&mut out, look, "", 0, &format!("{word}: {}", render::escape(&names.join(", "))));
        }
    }
    if found.opened.is_empty() && found.closed.is_empty() && found.unclear.is_empty() {
        out.push_str("nothing opens or closes\n");
    }
    out
}
