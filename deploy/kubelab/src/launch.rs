//! Making a cluster from outside: starts its first process and follows it until it is ready, for the command line and,
//! through that, for tests.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::full;
use crate::init;
use crate::nodes::{NFTABLES_MINOR, minor};
use crate::place::{Claim, Place, Record};
use crate::programs::Programs;
use crate::run::Progress;
use crate::spec::{Kind, ProxyMode, Spec};

/// How often a step that goes on is told, for whoever shows the time.
const TICK: Duration = Duration::from_millis(100);

/// What is told while a cluster is being made. Times are seconds since its beginning.
#[derive(Debug)]
pub enum Told<'a> {
    /// A step begins.
    Begun(&'a str),
    /// Nothing new for a moment.
    Waiting,
    /// A step is done.
    Done(&'a str, f64),
}

/// A cluster that was made.
pub struct Launched {
    /// What it tells of itself.
    pub record: Record,
    happened: Receiver<Happened>,
    sender: Sender<Happened>,
    place: Place,
}

/// A signal asked to stop.
#[derive(Debug)]
pub struct Interrupted(pub i32);

enum Happened {
    Said(Progress),
    Ended,
    Interrupted(i32),
    OwnerGone,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted: what was made is removed again")
    }
}

impl std::error::Error for Interrupted {}

/// Refuses what cannot be made, before anything is: impossible specifications, missing programs, programs of another
/// version than the one `asked` for.
pub fn check(spec: &Spec, asked: Option<&str>) -> Result<()> {
    spec.check()?;
    Place::of(&spec.name)?.expect_free()?;
    let programs = Programs::new(spec.programs.as_deref());
    let missing = programs.missing(spec.kind);
    if !missing.is_empty() {
        let light = if spec.kind == Kind::Light { " --light" } else { "" };
        bail!(
            "these programs are missing: {}; `cargo xtask setup` installs packages, `cargo xtask cluster programs{light}` \
             gets Kubernetes and prints the directory to name in WHY_DROPPED_KUBERNETES (`cargo xtask cluster up{light}` \
             does it all)",
            missing.join(", ")
        );
    }
    if spec.kind == Kind::Full {
        full::check()?;
    }
    let version = programs.version("kube-apiserver")?;
    // Words such as `oldest` mean what the caller took them for.
    if let Some(asked) = asked.map(|asked| asked.trim_start_matches('v'))
        && asked.starts_with(|c: char| c.is_ascii_digit())
    {
        let told = version.trim_start_matches('v');
        ensure!(
            told == asked || told.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.')),
            "the programs found are {version}, not {asked}: use `cargo xtask cluster up --version {asked}`"
        );
    }
    let proxy = programs.version("kube-proxy")?;
    ensure!(
        spec.mode != ProxyMode::Nftables || minor(&proxy) >= NFTABLES_MINOR,
        "kube-proxy {proxy} has no nftables mode, which came with v1.{NFTABLES_MINOR}: use another `--mode` or a newer \
         `--version`"
    );
    Ok(())
}

/// Makes a cluster. `told` gets each step and its time.
///
/// It stays when this process ends, unless the specification says that it is owned. On every failure, Ctrl-C included,
/// nothing of it is left. Must be called before the process has a second thread.
pub fn launch(spec: &Spec, told: impl FnMut(Told<'_>)) -> Result<Launched> {
    let place = Place::of(&spec.name)?;
    // From here on a signal is an event like others, so that it cannot come between something made and its removal.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("take over Ctrl-C")?;
    let claim = place.claim()?;
    let outcome = make(&place, &claim, spec, signals, told);
    drop(claim);
    if outcome.is_err() {
        place.end().context("remove what was made")?;
    }
    outcome
}

fn make(
    place: &Place,
    claim: &Claim,
    spec: &Spec,
    signals: Signals,
    told: impl FnMut(Told<'_>),
) -> Result<Launched> {
    let path = place.file("spec.json");
    std::fs::write(&path, serde_json::to_string_pretty(spec)?)
        .with_context(|| format!("write {}", path.display()))?;
    let mut child = init::start(place, claim.lock_file()?)?;
    let (sender, happened) = channel();
    let outcome = listen(&mut child, signals, &sender).and_then(|()| follow(place, &happened, told));
    match outcome {
        Ok(record) => Ok(Launched { record, happened, sender, place: place.clone() }),
        Err(error) => {
            // By the child and not by the record, which it may not have written yet. What fails here fails again, and is
            // told, when the place is ended.
            let _ = child.kill().and_then(|()| child.wait());
            Err(error)
        }
    }
}

fn follow(place: &Place, happened: &Receiver<Happened>, mut told: impl FnMut(Told<'_>)) -> Result<Record> {
    loop {
        match happened.recv_timeout(TICK) {
            Ok(Happened::Said(Progress::Begun(what))) => told(Told::Begun(&what)),
            Ok(Happened::Said(Progress::Done(what, seconds))) => told(Told::Done(&what, seconds)),
            Ok(Happened::Said(Progress::Ready)) => return place.record(),
            Ok(Happened::Said(Progress::Failed(why))) => bail!("{why}"),
            Ok(Happened::Interrupted(signal)) => bail!(Interrupted(signal)),
            Ok(Happened::Ended | Happened::OwnerGone) | Err(RecvTimeoutError::Disconnected) => {
                return Err(died(place));
            }
            Err(RecvTimeoutError::Timeout) => told(Told::Waiting),
        }
    }
}

impl Launched {
    /// Keeps an owned cluster until standard input ends, then ends it. An error if it ended by itself or a signal came; it
    /// is gone then as well.
    pub fn keep_for_owner(self) -> Result<()> {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            // An owner that cannot be read from is gone too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = sender.send(Happened::OwnerGone);
        });
        let outcome = loop {
            match self.happened.recv() {
                Ok(Happened::OwnerGone) => break Ok(()),
                Ok(Happened::Interrupted(signal)) => break Err(Interrupted(signal).into()),
                Ok(Happened::Ended) | Err(_) => break Err(died(&self.place)),
                Ok(Happened::Said(_)) => {}
            }
        };
        self.place.end()?;
        outcome
    }
}

/// What to say of a cluster that ended without being asked to.
fn died(place: &Place) -> anyhow::Error {
    let log = std::fs::read_to_string(place.log("init")).unwrap_or_default();
    let log = if log.trim().is_empty() {
        "says nothing, so it was killed".to_owned()
    } else {
        format!("says:\n{log}")
    };
    anyhow::anyhow!("the first process of cluster `{}` ended; its log {log}", place.name())
}

/// Whatever comes first, from the cluster or from the user.
fn listen(child: &mut Child, mut signals: Signals, sender: &Sender<Happened>) -> Result<()> {
    let output: ChildStdout = child.stdout.take().context("the first process has no standard output")?;
    let said = sender.clone();
    std::thread::spawn(move || {
        for progress in progress(output) {
            if said.send(Happened::Said(progress)).is_err() {
                return;
            }
        }
        let _ = said.send(Happened::Ended);
    });
    let interrupted = sender.clone();
    std::thread::spawn(move || {
        for signal in &mut signals {
            if interrupted.send(Happened::Interrupted(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn progress(output: impl Read) -> impl Iterator<Item = Progress> {
    BufReader::new(output).lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok())
}
