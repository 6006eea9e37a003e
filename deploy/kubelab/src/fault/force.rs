//! Making a fault and undoing it, with proof on both ends.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::journal::Journal;
use super::probe::{Seen, WORKS};
use super::stage::{Scene, Stage};
use super::{Fault, begun};
use crate::api::Target;
use crate::cluster::Cluster;
use crate::spec::ProxyMode;

/// What a world consists of.
const WORLD: [(&str, &str); 4] = [
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("v1", "Pod"),
];

/// A fault that is in force.
#[derive(Clone, Debug)]
pub struct Injected {
    /// Where it is.
    pub scene: Scene,
    /// How the connection ended before.
    pub before: Seen,
    /// How it ends now.
    pub now: Seen,
}

/// A fault that was undone.
#[derive(Clone, Debug)]
pub struct Undone {
    /// Its name.
    pub name: String,
    /// How the connection ends now. `None` if there was nothing to connect.
    pub now: Option<Seen>,
}

/// Makes a fault's world, sees it work, breaks it and sees it broken. On failure nothing of it is left.
pub fn inject(cluster: &Cluster, fault: &Fault) -> Result<Injected> {
    fault.check(&cluster.record().spec)?;
    let scene = Scene::new(cluster, fault.name)?;
    let others: Vec<String> = begun(cluster.place()).into_iter().filter(|name| name != fault.name).collect();
    let namespaces = vec![scene.namespace.clone(), scene.other()];
    let mut journal = Journal::begin(cluster.place(), fault.name, namespaces)?;
    match make(cluster, fault, scene, &mut journal) {
        Ok(injected) => Ok(injected),
        Err(error) => {
            let error = error.context(format!("fault `{}`", fault.name));
            let undone = journal.revert(cluster).and_then(|()| remove_world(cluster, journal));
            if let Err(undone) = undone {
                bail!("{error:#}; and what there was of it could not be undone: {undone:#}");
            }
            if others.is_empty() {
                return Err(error);
            }
            Err(error.context(format!("other faults are in force, which may be why: {}", others.join(", "))))
        }
    }
}

fn make(cluster: &Cluster, fault: &Fault, scene: Scene, journal: &mut Journal) -> Result<Injected> {
    let mut stage = Stage::new(cluster, scene.clone(), journal);
    gone(cluster, &[scene.namespace.clone(), scene.other()]).context("make its world")?;
    (fault.world)(&stage).context("make its world")?;
    let before = works(cluster, fault, &scene).context("before anything is broken")?;
    (fault.inject)(&mut stage).context("break it")?;
    let nftables = cluster.record().spec.mode == ProxyMode::Nftables;
    let now = cluster.wait_for(&format!("the client sees: {}", fault.symptom.words()), |cluster| {
        let seen = fault.probe.attempt(cluster, &scene, fault.symptom.patience())?;
        ensure!(fault.symptom.is(seen, nftables), "{seen}");
        Ok(seen)
    })?;
    journal.complete()?;
    Ok(Injected { scene, before, now })
}

fn works(cluster: &Cluster, fault: &Fault, scene: &Scene) -> Result<Seen> {
    cluster.wait_for("the connection works", |cluster| {
        let seen = fault.probe.attempt(cluster, scene, WORKS)?;
        ensure!(seen.works(), "{seen}");
        Ok(seen)
    })
}

/// Puts back what a fault changed and sees the connection work again; then removes its world, unless that is to be kept.
/// `None` if the fault has not been begun.
///
/// Where the connection does not work again, everything else is done all the same, and then the error is told.
pub fn undo(cluster: &Cluster, name: &str, keep_world: bool) -> Result<Option<Undone>> {
    let Some(mut journal) = Journal::take_up(cluster.place(), name)? else { return Ok(None) };
    let was_in_force = journal.in_force;
    journal.revert(cluster)?;
    let fault = super::find(name).ok().filter(|_| was_in_force);
    let seen = match fault {
        Some(fault) => works(cluster, fault, &Scene::new(cluster, name)?).map(Some),
        None => Ok(None),
    };
    if keep_world {
        journal.forget()?;
    } else {
        remove_world(cluster, journal)?;
    }
    let now = seen.with_context(|| format!("fault `{name}` is undone"))?;
    Ok(Some(Undone { name: name.to_owned(), now }))
}

/// Removes what is in the namespaces, and the journal. The namespaces themselves go some seconds later, which nobody
/// has to wait for: the namespace controller looks again after five (`pkg/controller/namespace/namespace_controller.go`).
fn remove_world(cluster: &Cluster, journal: Journal) -> Result<()> {
    for namespace in &journal.namespaces {
        let target = Target::new("v1", "Namespace", None, namespace);
        if cluster.get(&target)?.is_none() {
            continue;
        }
        for (version, kind) in WORLD {
            for object in cluster.list(version, kind, Some(namespace))? {
                cluster.delete(&of_list(&object, version, kind))?;
            }
        }
        cluster.delete(&target)?;
    }
    journal.forget()
}

/// Waits until nothing is left of an earlier world.
fn gone(cluster: &Cluster, namespaces: &[String]) -> Result<()> {
    for namespace in namespaces {
        let target = Target::new("v1", "Namespace", None, namespace);
        cluster.wait_for(&format!("what was {target} is gone"), |cluster| match cluster.get(&target)? {
            Some(object) if object["status"]["phase"] == "Terminating" => {
                bail!("its status is {}", object["status"])
            }
            _ => Ok(()),
        })?;
    }
    Ok(())
}

/// The target of an object of a list, whose items do not tell their kind.
fn of_list(object: &Value, version: &str, kind: &str) -> Target {
    let metadata = &object["metadata"];
    Target::new(version, kind, metadata["namespace"].as_str(), metadata["name"].as_str().unwrap_or_default())
}
