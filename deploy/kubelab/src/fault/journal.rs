//! What a fault has changed, as what puts it back: written down before each change, so that a fault can be undone by
//! another process, after a crash half way, and twice.
//!
//! A journal is a file of the cluster and goes with it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use model::Key;
use netlab::Netns;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Target;
use crate::cli::netns_path;
use crate::cluster::Cluster;
use crate::control::Request;
use crate::place::Place;

/// Where in the cluster's place journals are.
const DIRECTORY: &str = "faults";

/// A network namespace of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// A node's.
    Node(String),
    /// A pod's.
    Pod(Key),
}

/// How one change is put back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "lowercase")]
pub enum Back {
    /// An object is made what it was, or removed if it was not there.
    Object {
        /// Which.
        target: Target,
        /// Without what only the server writes.
        before: Option<Value>,
    },
    /// The same for a status.
    Status {
        /// Whose.
        target: Target,
        /// All of it.
        before: Value,
    },
    /// A command is run.
    Run {
        /// Where.
        at: At,
        /// With its arguments.
        command: Vec<String>,
        /// On its standard input.
        input: Option<String>,
    },
    /// A sysctl gets its value again.
    Sysctl {
        /// Where.
        at: At,
        /// Its dotted name.
        name: String,
        /// As the kernel told it.
        value: String,
    },
    /// A program of the cluster goes on, or is started again.
    Component {
        /// Which.
        name: String,
        /// Whether it was only stopped by a signal.
        paused: bool,
    },
}

/// The changes of one fault.
#[derive(Debug, Serialize, Deserialize)]
pub struct Journal {
    /// The fault's name.
    pub fault: String,
    /// What was made for it and goes with it.
    pub namespaces: Vec<String>,
    /// Whether the fault is complete and was seen.
    pub in_force: bool,
    changes: Vec<Change>,
    #[serde(skip)]
    path: PathBuf,
    /// Held by whoever changes anything.
    #[serde(skip)]
    #[expect(dead_code, reason = "it is enough to have it")]
    lock: Option<Lock>,
}

/// The right to change a fault.
#[derive(Debug)]
struct Lock(File);

#[derive(Debug, Serialize, Deserialize)]
struct Change {
    back: Back,
    /// Without it the process may have ended before or after the change itself.
    done: bool,
}

impl Journal {
    /// Begins a fault, unless it has been begun.
    pub fn begin(place: &Place, fault: &str, namespaces: Vec<String>) -> Result<Self> {
        let lock = lock(place, fault)?;
        let undo = format!("`cargo xtask cluster fault {fault} --undo --name {}` undoes it", place.name());
        match Self::peek(place, fault)? {
            None => {}
            Some(Self { in_force: true, .. }) => bail!("fault `{fault}` is in force already; {undo}"),
            Some(_) => bail!("fault `{fault}` was begun and not finished; {undo}"),
        }
        let path = path_of(place, fault);
        let journal = Self {
            fault: fault.to_owned(),
            namespaces,
            in_force: false,
            changes: Vec::new(),
            path,
            lock: Some(lock),
        };
        journal.save()?;
        Ok(journal)
    }

    /// Takes up a fault that has been begun, to undo it.
    pub fn take_up(place: &Place, fault: &str) -> Result<Option<Self>> {
        let lock = lock(place, fault)?;
        Ok(Self::peek(place, fault)?.map(|journal| Self { lock: Some(lock), ..journal }))
    }

    /// What is written of a fault at the moment, if it has been begun. For looking only.
    pub fn peek(place: &Place, fault: &str) -> Result<Option<Self>> {
        let path = path_of(place, fault);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let journal: Self =
            serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        Ok(Some(Self { path, ..journal }))
    }

    /// The names of the faults that have been begun.
    pub fn all(place: &Place) -> Vec<String> {
        let entries = fs::read_dir(place.file(DIRECTORY)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// Makes a change that can be put back.
    pub fn change(&mut self, back: Back, make: impl FnOnce() -> Result<()>) -> Result<()> {
        self.changes.push(Change { back, done: false });
        self.save()?;
        make()?;
        if let Some(change) = self.changes.last_mut() {
            change.done = true;
        }
        self.save()
    }

    /// The fault is complete.
    pub fn complete(&mut self) -> Result<()> {
        self.in_force = true;
        self.save()
    }

    /// Puts everything back, the last change first. What is back is forgotten, so that a failure can be followed by
    /// another attempt.
    pub fn revert(&mut self, cluster: &Cluster) -> Result<()> {
        self.in_force = false;
        while let Some(Change { back, done }) = self.changes.last() {
            match back.perform(cluster) {
                Err(error) if *done => {
                    return Err(error.context(format!("undo fault `{}`", self.fault)));
                }
                // What was perhaps not done cannot always be undone.
                Ok(()) | Err(_) => {}
            }
            self.changes.pop();
            self.save()?;
        }
        Ok(())
    }

    /// Ends the journal; what is not put back stays.
    pub fn forget(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("remove {}", self.path.display()))
    }

    fn save(&self) -> Result<()> {
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .with_context(|| format!("write {}", self.path.display()))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a program that another thread is just starting, until that is executed: what is
        // locked is the opening that both have (flock(2)). A failure leaves it to the closing.
        let _ = self.0.unlock();
    }
}

impl Back {
    fn perform(&self, cluster: &Cluster) -> Result<()> {
        match self {
            Self::Object { target, before: None } => cluster.delete(target),
            Self::Object { target, before: Some(before) } => {
                cluster.apply(before).map(drop).with_context(|| format!("put {target} back"))
            }
            Self::Status { target, before } => {
                // Merging keeps what is not named, so the fields that are lists are what counts.
                cluster.patch_status(target, &json!({ "status": before }))
            }
            Self::Run { at, command, input } => match at.netns(cluster)? {
                Some(netns) => run(&netns, command, input.as_deref()),
                None => Ok(()),
            },
            Self::Sysctl { at, name, value } => match at.netns(cluster)? {
                Some(netns) => Ok(netns.sysctl(name, value)?),
                None => Ok(()),
            },
            Self::Component { name, paused: true } => {
                cluster.control(&Request::Resume { component: name.clone() })
            }
            Self::Component { name, paused: false } => {
                cluster.control(&Request::Start { component: name.clone() })
            }
        }
    }
}

impl At {
    /// The namespace, unless its pod has gone, with which everything in it went.
    pub fn netns(&self, cluster: &Cluster) -> Result<Option<Netns>> {
        match self {
            Self::Node(name) => cluster.node(name).map(Some),
            Self::Pod(key) => {
                let path = netns_path(cluster.record(), &format!("{}.{}", key.namespace, key.name));
                Ok(path.exists().then(|| Netns::at(path)))
            }
        }
    }
}

/// Runs a command there, perhaps with something to read.
pub fn run(netns: &Netns, command: &[String], input: Option<&str>) -> Result<()> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match input {
        Some(input) => netns.feed(&words, input),
        None => netns.run(&words),
    }?;
    Ok(())
}

/// The lock's file stays, so that nobody locks one that has just been removed.
fn lock(place: &Place, fault: &str) -> Result<Lock> {
    let directory = place.file(DIRECTORY);
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let path = directory.join(format!("{fault}.lock"));
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => bail!("another process is making or undoing fault `{fault}`"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

fn path_of(place: &Place, fault: &str) -> PathBuf {
    place.file(DIRECTORY).join(format!("{fault}.json"))
}
