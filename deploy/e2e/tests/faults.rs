//! exploration
#![allow(clippy::unwrap_used, missing_docs)]
mod support;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::process::binary;
use e2e::stage::can_run;
use e2e::world::{AllEars, Real};
use e2e::{Manifests, Stage};
use kubelab::fault::{self, Fault, Reach};
use kubelab::{Cluster, Spec};
use support::clusters;

#[test]
fn explore() {
    if !can_run("faults") || !clusters::can_run("faults") {
        return;
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let spec = Spec::light(format!("faults-{}", std::process::id()));
    let begun = Instant::now();
    let cluster = Arc::new(Cluster::up(&binary("kubelab").unwrap(), &spec).unwrap());
    let stage = Stage::set(Box::new(Real::new(cluster.clone())), Manifests::read(&[]).unwrap(), AllEars::new(), None).unwrap();
    println!("up after {:?}", begun.elapsed());
    let (worlds, whole): (Vec<&Fault>, Vec<&Fault>) = fault::all()
        .filter(|fault| only.is_empty() || only.split(',').any(|name| name == fault.name))
        .filter(|fault| fault.check(&spec).is_ok()).partition(|fault| fault.reach == Reach::World);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(fault) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(&cluster, &stage, fault);
                }
            });
        }
    });
    println!("worlds after {:?}", begun.elapsed());
    for fault in whole {
        one(&cluster, &stage, fault);
    }
    println!("all after {:?}", begun.elapsed());
}

fn one(cluster: &Cluster, stage: &Stage, fault: &Fault) {
    let injected = match fault::inject(cluster, fault) {
        Ok(injected) => injected,
        Err(error) => {
            println!("## {}: INJECT {error:#}", fault.name);
            return;
        }
    };
    let begun = Instant::now();
    let (source, destination) = fault.question(&injected.scene);
    let mut told = Vec::new();
    let mut last = String::new();
    loop {
        let answer = stage.ask(&source, &destination).unwrap();
        let line = format!("{} {} {} {}", answer.field("verdict"), answer.field("certainty"), answer.field("basis"), answer.first_id());
        if told.last().is_none_or(|(_, before)| *before != line) {
            told.push((begun.elapsed().as_secs_f64(), line));
            last = answer.printed.stdout.clone();
        }
        if answer.first_id() == fault.cause && begun.elapsed() > Duration::from_millis(1500) || begun.elapsed() > Duration::from_secs(13) {
            break;
        }
        let _ = fault.probe.attempt(cluster, &injected.scene, Duration::from_millis(300));
    }
    let text = stage.ask_text(&source, &destination).unwrap();
    let undone = fault::undo(cluster, fault.name, true);
    let begun = Instant::now();
    let mut after = Vec::<(f64, String)>::new();
    loop {
        let answer = stage.ask(&source, &destination).unwrap();
        let line = format!("{} {} {} {}", answer.field("verdict"), answer.field("certainty"), answer.field("basis"), answer.first_id());
        if after.last().is_none_or(|(_, before)| *before != line) {
            after.push((begun.elapsed().as_secs_f64(), line));
        }
        if answer.field("verdict") == "DELIVERED" || begun.elapsed() > Duration::from_secs(6) {
            break;
        }
    }
    for namespace in [injected.scene.namespace.clone(), injected.scene.other()] {
        let target = kubelab::api::Target::new("v1", "Namespace", None, &namespace);
        if cluster.get(&target).unwrap().is_some() {
            cluster.delete(&target).unwrap();
        }
    }
    let good = told.last().is_some_and(|(_, line)| line.ends_with(fault.cause));
    println!("## {} {} now={} {} told={told:?} undone={} after={after:?}\n{}", fault.name, fault.cause, injected.now, if good { "OK" } else { "DIFFERS" },
        match undone { Ok(_) => "ok".to_owned(), Err(error) => format!("{error:#}") }, text.stdout);
    let _ = last;
}
