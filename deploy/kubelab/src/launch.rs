//! Making a cluster from outside: starts its first process and follows it until it is ready, for the command line and,
//! through that, for tests.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::init;
use crate::place::{Place, Record, sweep};
use crate::programs::Programs;
use crate::run::Progress;
use crate::spec::{Kind, Spec};

/// What happens while a cluster is being made.
enum Happened {
    Said(Progress),
    Ended,
    Interrupted,
}

/// Makes a cluster. `told` gets each step and its time.
///
/// It stays when this process ends, unless the specification says that it is owned. On every failure, Ctrl-C included,
/// nothing of it is left. Must be called before the process has a second thread.
pub fn launch(spec: &Spec, told: impl FnMut(&str, f64)) -> Result<Record> {
    spec.check()?;
    let place = Place::of(&spec.name)?;
    let missing = Programs::new(spec.programs.as_deref()).missing(spec.kind);
    if !missing.is_empty() {
        let light = if spec.kind == Kind::Light { " --light" } else { "" };
        bail!(
            "these programs are missing: {}; `cargo xtask cluster programs{light}` gets them",
            missing.join(", ")
        );
    }
    for name in sweep()? {
        eprintln!("removed what was left of cluster `{name}`, whose processes are gone");
    }
    let claim = place.claim()?;
    let outcome = make(&place, &claim, spec, told);
    drop(claim);
    if outcome.is_err() {
        place.end().context("remove what was made")?;
    }
    outcome
}

fn make(
    place: &Place,
    claim: &crate::place::Claim,
    spec: &Spec,
    mut told: impl FnMut(&str, f64),
) -> Result<Record> {
    std::fs::write(place.file("spec.json"), serde_json::to_string_pretty(spec)?)
        .with_context(|| format!("write {}", place.file("spec.json").display()))?;
    let mut child = init::start(place, claim.lock_file()?)?;
    let happened = listen(&mut child)?;
    loop {
        match happened.recv().unwrap_or(Happened::Ended) {
            Happened::Said(Progress::Step(what, seconds)) => told(&what, seconds),
            Happened::Said(Progress::Ready) => return place.record(),
            Happened::Said(Progress::Failed(why)) => bail!("{why}"),
            Happened::Interrupted => bail!("interrupted"),
            Happened::Ended => {
                let log = std::fs::read_to_string(place.log("init")).unwrap_or_default();
                bail!("the cluster's first process ended; its log says:\n{log}")
            }
        }
    }
}

/// Whatever comes first, from the cluster or from the user.
fn listen(child: &mut Child) -> Result<Receiver<Happened>> {
    let (sender, receiver) = channel();
    let output = child.stdout.take().context("the first process has no standard output")?;
    let said = sender.clone();
    std::thread::spawn(move || {
        for progress in progress(output) {
            if said.send(Happened::Said(progress)).is_err() {
                return;
            }
        }
        let _ = said.send(Happened::Ended);
    });
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("take over Ctrl-C")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            let _ = sender.send(Happened::Interrupted);
        }
    });
    Ok(receiver)
}

fn progress(output: impl Read) -> impl Iterator<Item = Progress> {
    BufReader::new(output).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok())
}
