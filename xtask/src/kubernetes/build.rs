//! Building what is missing, one program at a time, with a line for each.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::go::{Builder, COREDNS, linker_flags};
use super::program::{Graph, Program};
use super::release::{RELEASES, Release, Version};
use super::store::{Entry, Store};
use crate::process;

/// What the names of this graph's entries begin with.
fn prefix(graph: Graph, release: &Release) -> String {
    match graph {
        Graph::Kubernetes => release.version.to_string(),
        Graph::CoreDns => format!("coredns-{COREDNS}"),
    }
}

/// CoreDNS is not tied to a release and is built with the newest one's Go.
fn builder(graph: Graph, release: &Release) -> Result<Builder, String> {
    Builder::of(match graph {
        Graph::Kubernetes => release,
        Graph::CoreDns => &RELEASES[0],
    })
}

/// The program as it was built before: with the Go that is here now, or with any if there is none.
pub fn kept(store: &Store, program: Program, release: &Release) -> Option<PathBuf> {
    let graph = program.graph();
    let prefix = match builder(graph, release) {
        Ok(builder) => format!("{}-{}-", prefix(graph, release), builder.version),
        Err(_) => format!("{}-", prefix(graph, release)),
    };
    store.entries(&prefix).iter().find_map(|entry| entry.program(program))
}

/// Builds these programs. The inner error is for a machine that cannot: it says what to install.
pub fn build(
    store: &Store,
    programs: &[Program],
    release: &Release,
) -> Result<Result<Vec<(Program, PathBuf)>, String>> {
    let mut built = Vec::new();
    for graph in [Graph::Kubernetes, Graph::CoreDns] {
        let programs: Vec<Program> =
            programs.iter().copied().filter(|program| program.graph() == graph).collect();
        if programs.is_empty() {
            continue;
        }
        let builder = match builder(graph, release) {
            Ok(builder) => builder,
            Err(why) => return Ok(Err(why)),
        };
        built.extend(build_graph(store, &builder, graph, &programs, release)?);
    }
    Ok(Ok(built))
}

fn build_graph(
    store: &Store,
    builder: &Builder,
    graph: Graph,
    programs: &[Program],
    release: &Release,
) -> Result<Vec<(Program, PathBuf)>> {
    let _lock = store.lock()?;
    let name = format!("{}-{}", prefix(graph, release), builder.version);
    // The dependencies' hash is known only with the module at hand, so it is fetched into a workshop of its own first.
    let workshop = store.entry(&name).workshop()?;
    let hash = builder.module(graph, release, workshop.path())?;
    let mut entry = store.entry(&format!("{name}-{hash}"));
    let total = programs.len();
    let mut built = Vec::new();
    for (index, &program) in programs.iter().enumerate() {
        // Whoever held the lock before may have built it.
        if let Some(path) = entry.program(program) {
            built.push((program, path));
            continue;
        }
        eprintln!(
            "kubernetes: building {} {} with {} ({} of {total}; the first takes longest, minutes from cold)",
            program.name(),
            prefix(graph, release).trim_start_matches("coredns-"),
            builder.version,
            index + 1,
        );
        let begun = Instant::now();
        let target = workshop.path().join(program.name());
        process::run(
            builder
                .command(workshop.path())
                .args(["build", "-trimpath", "-ldflags", &linker_flags(graph, release), "-o"])
                .arg(&target)
                .arg(program.package(release.etcd)),
        )
        .with_context(|| format!("build {} {}", program.name(), release.version))?;
        check(program, &target, release.version)?;
        let seconds = begun.elapsed().as_secs_f64();
        entry.take_in(program, &target, seconds)?;
        eprintln!("kubernetes: built {} in {seconds:.0} s", program.name());
        built.push((program, entry_path(&entry, program)?));
    }
    Ok(built)
}

fn entry_path(entry: &Entry, program: Program) -> Result<PathBuf> {
    entry.program(program).with_context(|| {
        format!(
            "{} was built, but is not whole in {}; is the disk full?",
            program.name(),
            entry.path().display()
        )
    })
}

/// A program is kept only if it runs and tells the version it was built as.
fn check(program: Program, path: &std::path::Path, version: Version) -> Result<()> {
    let Some(told) = program.version_line(path) else {
        bail!("{} was built, but does not run", program.name());
    };
    if program.is_released_with_kubernetes() && Version::in_text(&told) != Some(version) {
        bail!("{} was built as {version}, but says `{told}`", program.name());
    }
    Ok(())
}
