//! `why-dropped policy matrix`: who can reach whom.

use std::fmt::Write as _;

use ::policy::PolicyIndex;
use ::policy::reach::{By, Cell, Group, GroupName, Matrix};
use serde::Serialize;

use super::ports::Port;
use super::progress;
use crate::args::{Args, Format, GroupBy, MatrixArgs};
use crate::error::CliError;
use crate::explain::from_files;
use crate::output;
use crate::render::{self, Look, Paint};

/// Rows and columns that a table has room for; more are told as a list.
const TABLE: usize = 24;
/// Sources of one cell that a list names; the rest is counted.
const NAMED: usize = 12;

/// Works it out and prints it.
pub async fn run(args: &Args, asked: &MatrixArgs) -> Result<u8, CliError> {
    let port = asked.port.as_deref().map(Port::parse).transpose()?;
    let set = from_files(&asked.objects).await?;
    super::tell_others(&set);
    let index = PolicyIndex::new(&set);
    let matrix = Matrix::new(&index, by(asked.by));
    let shown: Vec<usize> = (0..matrix.groups().len())
        .filter(|at| {
            args.namespace.as_deref().is_none_or(|wanted| namespace(&matrix.groups()[*at]) == wanted)
        })
        .collect();
    if shown.is_empty() {
        return Err(CliError::Usage { what: "there is no pod among the objects to look at".to_owned() });
    }
    let rows = progress::each("who reaches whom", shown.len(), |row| {
        let cells = matrix.row(shown[row]);
        shown.iter().map(|column| cells.get(*column).cloned().flatten()).collect::<Vec<_>>()
    });
    let names: Vec<String> = shown.iter().map(|at| matrix.groups()[*at].name.to_string()).collect();
    let table = Table { names, rows, port };
    output::print(&match args.output {
        Format::Json => serde_json::to_string(&table.told(asked.by)).unwrap_or_default() + "\n",
        Format::Text => table.text(output::look(args)),
    })?;
    Ok(0)
}

pub const fn by(by: GroupBy) -> By {
    match by {
        GroupBy::Namespace => By::Namespace,
        GroupBy::Workload => By::Workload,
        GroupBy::Pod => By::Pod,
    }
}

fn namespace(group: &Group) -> &str {
    match &group.name {
        GroupName::Namespace(namespace) | GroupName::Workload { namespace, .. } => namespace,
        GroupName::Pod(key) => &key.namespace,
    }
}

struct Table {
    names: Vec<String>,
    rows: Vec<Vec<Option<Cell>>>,
    port: Option<Port>,
}

/// For programs.
#[derive(Serialize)]
struct Told<'t> {
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    cells: Vec<ToldCell<'t>>,
}

#[derive(Serialize)]
struct ToldCell<'t> {
    from: &'t str,
    to: &'t str,
    /// ALL, NONE, PORTS, SOME (some of the pods, or on some of the ports of others), UNKNOWN.
    reach: &'static str,
    /// Ports on which all pods reach all.
    every: Vec<String>,
    /// Ports on which some do.
    some: Vec<String>,
    /// Ports on which it is not known of some.
    unknown: Vec<String>,
}

impl Table {
    /// A cell, of the one port if one is asked for.
    fn cell(&self, row: usize, column: usize) -> Option<Cell> {
        let cell = self.rows.get(row)?.get(column)?.clone()?;
        let Some(Port { number, protocol }) = self.port else { return Some(cell) };
        let only = ::policy::reach::PortSet::of(protocol, model::PortRange::single(number));
        Some(Cell {
            every: cell.every.intersection(&only),
            some: cell.some.intersection(&only),
            unknown: cell.unknown.intersection(&only),
        })
    }

    fn told(&self, by: GroupBy) -> Told<'_> {
        let mut cells = Vec::new();
        for (row, from) in self.names.iter().enumerate() {
            for (column, to) in self.names.iter().enumerate() {
                let Some(cell) = self.cell(row, column) else { continue };
                let (every, some, unknown) = (cell.every.words(), cell.some.words(), cell.unknown.words());
                cells.push(ToldCell { from, to, reach: self.word(&cell).0, every, some, unknown });
            }
        }
        let by = match by {
            GroupBy::Namespace => "namespace",
            GroupBy::Workload => "workload",
            GroupBy::Pod => "pod",
        };
        let port = self.port.map(|port| format!("{}/{}", port.number, port.protocol));
        Told { by, port, cells }
    }

    /// What a cell says: for programs, for people, and how it looks.
    fn word(&self, cell: &Cell) -> (&'static str, String, Paint) {
        let all = match self.port {
            None => cell.every.is_all(),
            Some(port) => cell.every.contains(port.number, port.protocol),
        };
        let mark = |text: String| if cell.unknown.is_empty() { text } else { format!("{text} ?") };
        match () {
            () if all && cell.unknown.is_empty() => ("ALL", "all".to_owned(), Paint::Good),
            () if cell.some.is_empty() && cell.unknown.is_empty() => ("NONE", "-".to_owned(), Paint::Bad),
            () if cell.some.is_empty() => ("UNKNOWN", "?".to_owned(), Paint::Unsure),
            () if cell.every == cell.some => ("PORTS", mark(cell.some.to_string()), Paint::Unsure),
            () if cell.every.is_empty() => ("SOME", mark(format!("some: {}", cell.some)), Paint::Unsure),
            () => ("SOME", mark(format!("{}; some: {}", cell.every, cell.some)), Paint::Unsure),
        }
    }

    fn text(&self, look: Look) -> String {
        if self.names.len() <= TABLE
            && let Some(table) = self.grid(look)
        {
            return table;
        }
        self.list(look)
    }

    /// Rows reach columns; columns are numbered like the rows. `None` if it is wider than the terminal.
    fn grid(&self, look: Look) -> Option<String> {
        let mut lines = vec![
            std::iter::once(String::new())
                .chain((1..=self.names.len()).map(|number| number.to_string()))
                .collect(),
        ];
        for (row, name) in self.names.iter().enumerate() {
            let mut line = vec![format!("{} {}", row + 1, render::escape(name))];
            line.extend((0..self.names.len()).map(|column| match self.cell(row, column) {
                Some(cell) => {
                    let (_, text, paint) = self.word(&cell);
                    look.paint(paint, &text)
                }
                None => String::new(),
            }));
            lines.push(line);
        }
        let lines = render::table(&lines);
        lines.iter().all(|line| render::columns(line) <= look.width).then(|| lines.join("\n") + "\n")
    }

    /// For each destination, who reaches it how.
    fn list(&self, look: Look) -> String {
        let mut out = String::new();
        for (column, to) in self.names.iter().enumerate() {
            let _ = writeln!(out, "{}", look.paint(Paint::Heading, &render::escape(to)));
            let mut ways: Vec<(String, Paint, Vec<&str>)> = Vec::new();
            for (row, from) in self.names.iter().enumerate() {
                let Some(cell) = self.cell(row, column) else { continue };
                let (_, text, paint) = self.word(&cell);
                match ways.iter_mut().find(|(known, _, _)| *known == text) {
                    Some((_, _, names)) => names.push(from),
                    None => ways.push((text, paint, vec![from])),
                }
            }
            for (text, paint, names) in ways {
                let shown: Vec<String> = names.iter().take(NAMED).map(|name| render::escape(name)).collect();
                let more = names.len() - shown.len();
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                let text = if text == "-" { "none".to_owned() } else { text };
                let line = format!("{} from {}{more}", look.paint(paint, &text), shown.join(", "));
                render::item(&mut out, look, "  ", 2, &line);
            }
        }
        out
    }
}
