//! Every fault on a real light cluster: its connection works, fails as the fault says, and works again; and what the
//! nodes' kernels hold in the end is what they held in the beginning.
//!
//! Faults that keep to their own world are made side by side, those that touch a node one by one.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "faults/command.rs"]
mod command;
#[path = "faults/state.rs"]
mod state;
mod support;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubelab::fault::{self, Fault, Reach};
use kubelab::{Cluster, ProxyMode, Spec};

use state::Nodes;
use support::{can_run, unique};

/// How many faults are in force at once. Most of their time is waiting.
const SIDE_BY_SIDE: usize = 8;
/// How long kube-proxy and the kernel may take to forget the worlds.
const FORGOTTEN: Duration = Duration::from_secs(20);

#[test]
fn every_fault_in_iptables_mode() {
    prove("faults-iptables", ProxyMode::Iptables, |_| true);
}

/// Services, their endpoints and kube-proxy; to everything else the mode makes no difference.
#[test]
fn every_fault_of_services_in_nftables_mode() {
    prove("faults-nftables", ProxyMode::Nftables, |fault| fault.cause.starts_with(['S', 'E', 'K']));
}

fn prove(name: &str, mode: ProxyMode, choose: fn(&Fault) -> bool) {
    if !can_run(name) {
        return;
    }
    let spec = Spec::light(unique(name)).mode(mode);
    let begun = Instant::now();
    let cluster = Cluster::up(Path::new(env!("CARGO_BIN_EXE_kubelab")), &spec).unwrap();
    // The first pods of a bridge change it for good, so the nodes are looked at when a world has come and gone.
    there_and_back(&cluster, fault::find("target-port").unwrap()).unwrap();
    let nodes = Nodes::look_without_worlds(&cluster).unwrap();
    let (worlds, whole): (Vec<&Fault>, Vec<&Fault>) = fault::all()
        .filter(|fault| choose(fault) && fault.check(&spec).is_ok())
        .partition(|fault| fault.reach == Reach::World);

    let failed = Mutex::new(Vec::new());
    let note = |outcome: Result<()>, what: &str| {
        if let Err(error) = outcome {
            let text = format!("{what}: {error:#}");
            println!("  {text}");
            failed.lock().unwrap().push(text);
        }
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(fault) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    note(there_and_back(&cluster, fault), fault.name);
                }
            });
        }
    });
    println!("{name}: {} faults side by side after {:.1} s", worlds.len(), begun.elapsed().as_secs_f64());
    let mut clean = as_before(&cluster, &nodes);
    for fault in &whole {
        note(there_and_back(&cluster, fault), fault.name);
        // What one has left would be told of all that follow.
        if clean.is_ok() {
            clean = as_before(&cluster, &nodes).context(fault.name);
        }
    }
    note(clean, "nodes");
    println!("{name}: {} more one by one after {:.1} s", whole.len(), begun.elapsed().as_secs_f64());
    note(command::check(&cluster), "command");
    println!("{name}: all after {:.1} s", begun.elapsed().as_secs_f64());

    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} failures:\n{}", failed.len(), failed.join("\n"));
}

fn there_and_back(cluster: &Cluster, fault: &Fault) -> Result<()> {
    let begun = Instant::now();
    let injected = fault::inject(cluster, fault)?;
    let broken = begun.elapsed();
    let nftables = cluster.record().spec.mode == ProxyMode::Nftables;
    ensure!(injected.before.works(), "before: {}", injected.before);
    ensure!(fault.symptom.is(injected.now, nftables), "not {}: {}", fault.symptom.words(), injected.now);
    let undone = fault::undo(cluster, fault.name, false)?.context("it was not in force")?;
    let now = undone.now.context("nothing was connected afterwards")?;
    ensure!(now.works(), "afterwards: {now}");
    println!(
        "  {:<26} {:<4} {:4.1} s + {:3.1} s  {}",
        fault.name,
        fault.cause,
        broken.as_secs_f64(),
        begun.elapsed().saturating_sub(broken).as_secs_f64(),
        injected.now
    );
    Ok(())
}

/// Waits until the nodes are as they were without any world.
fn as_before(cluster: &Cluster, before: &Nodes) -> Result<()> {
    let begun = Instant::now();
    loop {
        let difference = before.difference(&Nodes::look(cluster)?);
        if difference.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < FORGOTTEN, "after {} s this differs:\n{difference}", FORGOTTEN.as_secs());
    }
}
