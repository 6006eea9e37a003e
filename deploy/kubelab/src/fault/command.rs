//! `kubelab fault`: what there is, one made, one or all undone.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Destination, Fault, Injected, Probe, Reach, Scene, all, begun, find, inject, undo};
use crate::cli::FAILED;
use crate::cluster::Cluster;
use crate::place::Place;

/// The cluster that is meant if none is named.
const DEFAULT: &str = "dev";

/// Make a fault in a running light cluster, with the small world it needs, or undo it.
#[derive(Args)]
pub struct Arguments {
    /// The cluster's name.
    #[arg(long = "name", default_value = DEFAULT)]
    cluster: String,
    /// The fault; without it, and with --undo, all that are in force.
    fault: Option<String>,
    /// Tell which faults there are. So does the command without arguments.
    #[arg(long, conflicts_with_all = ["fault", "undo"])]
    list: bool,
    /// Put back what it changed, and remove its world.
    #[arg(long)]
    undo: bool,
    /// Leave its world, healthy again.
    #[arg(long, requires = "undo")]
    keep_world: bool,
    /// How the list is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Does it. An error is a command that cannot be done as it was given; what was tried and did not work is told here.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let place = Place::of(&arguments.cluster)?;
    let Some(name) = &arguments.fault else {
        return if arguments.undo {
            undo_all(&place, arguments.keep_world)
        } else {
            list(&place, arguments.output).map(|()| ExitCode::SUCCESS)
        };
    };
    let has_begun = begun(&place).contains(name);
    if arguments.undo {
        if !has_begun {
            find(name)?;
        }
        let cluster = Cluster::attach(place.name())?;
        if !has_begun {
            print(&format!("fault `{name}` is not in force in cluster `{}`\n", place.name()))?;
            return Ok(ExitCode::SUCCESS);
        }
        return Ok(outcome(undo_one(&cluster, name, arguments.keep_world)));
    }
    let fault = find(name)?;
    let cluster = Cluster::attach(place.name())?;
    fault.check(&cluster.record().spec)?;
    ensure!(
        !has_begun,
        "fault `{name}` is in force already, or was begun; `cargo xtask cluster fault {name} --undo{}` undoes it",
        of(&place)
    );
    let made = inject(&cluster, fault).and_then(|injected| print(&told(fault, &injected, &place)));
    Ok(outcome(made))
}

fn undo_all(place: &Place, keep_world: bool) -> Result<ExitCode> {
    let cluster = Cluster::attach(place.name())?;
    let names = begun(place);
    if names.is_empty() {
        print(&format!("no fault is in force in cluster `{}`\n", place.name()))?;
    }
    let mut code = ExitCode::SUCCESS;
    for name in names {
        // One that fails does not keep the others from being undone.
        if let Err(error) = undo_one(&cluster, &name, keep_world) {
            code = outcome(Err(error));
        }
    }
    Ok(code)
}

fn undo_one(cluster: &Cluster, name: &str, keep_world: bool) -> Result<()> {
    let Some(undone) = undo(cluster, name, keep_world)? else { return Ok(()) };
    let now = undone.now.map_or_else(String::new, |seen| format!(": {seen}"));
    let world = if keep_world {
        format!("; its world stays: `kubectl delete namespace fault-{name}` removes it")
    } else {
        String::new()
    };
    print(&format!("fault `{}` is undone{now}{world}\n", undone.name))
}

fn outcome(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The option that names this cluster, where it is needed.
fn of(place: &Place) -> String {
    if place.name() == DEFAULT { String::new() } else { format!(" --name {}", place.name()) }
}

fn told(fault: &Fault, injected: &Injected, place: &Place) -> String {
    let (source, destination) = fault.question(&injected.scene);
    let Fault { name, breaks, cause, .. } = fault;
    let rows = [
        ("before", format!("{source} to {destination}: {}", injected.before)),
        ("now", injected.now.to_string()),
        ("ask", format!("why-dropped {source} {destination}")),
        ("expect", (*cause).to_owned()),
        ("undo", format!("cargo xtask cluster fault {name} --undo{}", of(place))),
    ];
    let mut text = format!("fault `{name}`: {breaks}\n");
    for (what, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what:<7} {value}");
    }
    text
}

fn list(place: &Place, output: Output) -> Result<()> {
    let in_force = begun(place);
    match output {
        Output::Text => print(&table(&in_force)),
        Output::Json => {
            let faults: Vec<Value> =
                all().map(|fault| entry(fault, in_force.iter().any(|name| name == fault.name))).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&faults)?))
        }
    }
}

/// Columns: a mark for those in force, name, cause, what the client sees, what it breaks, the question.
fn table(in_force: &[String]) -> String {
    let rows: Vec<[String; 5]> = all()
        .map(|fault| {
            let mark = if in_force.iter().any(|name| name == fault.name) { "* " } else { "  " };
            let (source, destination) = words(fault);
            [
                format!("{mark}{}", fault.name),
                fault.cause.to_owned(),
                fault.symptom.words().to_owned(),
                fault.breaks.to_owned(),
                format!("why-dropped {source} {destination}"),
            ]
        })
        .collect();
    let heads = ["  NAME", "CAUSE", "THE CLIENT SEES", "BREAKS", "QUESTION"].map(str::to_owned);
    let widths = [0, 1, 2].map(|column| {
        std::iter::once(&heads).chain(&rows).map(|row| row[column].len()).max().unwrap_or_default()
    });
    let mut text = String::new();
    let mut line = |[name, cause, sees, breaks, question]: &[String; 5], gap: &str| {
        let [first, second, third] = widths;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:first$}  {cause:second$}  {sees:third$}  {breaks}{gap}{question}");
    };
    let indent = widths.iter().sum::<usize>() + 6;
    let below = format!("\n{:indent$}", "");
    line(&heads, ", ");
    for row in &rows {
        line(row, &below);
    }
    if !in_force.is_empty() {
        text.push_str("\n* is in force\n");
    }
    text
}

fn entry(fault: &Fault, in_force: bool) -> Value {
    let (source, destination) = words(fault);
    json!({
        "name": fault.name,
        "breaks": fault.breaks,
        "cause": fault.cause,
        "symptom": fault.symptom.words(),
        "question": { "source": source, "destination": destination },
        "reach": match fault.reach { Reach::World => "world", Reach::Node => "node" },
        "inForce": in_force,
    })
}

/// The question as far as it is known before the fault is made: addresses of nodes and machines are told by the cluster.
fn words(fault: &Fault) -> (String, String) {
    let scene = Scene::unknown(fault.name);
    let Probe { from, to, .. } = fault.probe;
    let source = match from {
        super::Source::Machine => "MACHINE".to_owned(),
        super::Source::Pod(_) | super::Source::OtherPod(_) => fault.probe.source(&scene),
    };
    let destination = match to {
        Destination::NodePort(port) => format!("NODE-1:{port}"),
        _ => fault.probe.destination(&scene),
    };
    (source, destination)
}

fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
