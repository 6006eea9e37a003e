//! `kubelab status`: what runs, since when, how it is, and where to read more.
//!
//! Asks the cluster's own process and not its API server, so that it tells of a cluster whose API server is what fails.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::{FAILED, print};
use crate::components::{State, Status};
use crate::control::{self, Request};
use crate::nodes::proxy_name;
use crate::place::{Place, Record};
use crate::processes;
use crate::spec::Kind;

/// Prints all clusters or one. Fails if something of one is not as it should be: a program ended by itself, or nobody answers.
pub fn status(name: Option<&str>) -> Result<ExitCode> {
    let places: Vec<Place> = match name {
        None => Place::all()?.into_iter().filter(Place::is_alive).collect(),
        Some(name) => {
            let place = Place::of(name)?;
            place.expect_alive()?;
            vec![place]
        }
    };
    if places.is_empty() {
        print("no cluster runs; `cargo xtask cluster up --light` makes one\n")?;
    }
    let mut well = true;
    let mut pages = Vec::new();
    for place in &places {
        let record = match place.record() {
            Ok(record) => record,
            Err(_) if !place.has_record() => {
                pages.push(format!("cluster `{}`: begins at this moment\n", place.name()));
                continue;
            }
            Err(error) => {
                well = false;
                pages.push(format!(
                    "cluster `{0}`: another version of this program made it ({error:#}); `cargo xtask cluster down --name \
                     {0}` ends it\n",
                    place.name()
                ));
                continue;
            }
        };
        let (text, this_well) = match control::ask(place, &Request::Status) {
            Ok(states) => {
                (page(place, &record, &states), states.values().all(|one| one.state != State::Failed))
            }
            Err(error) if record.ready => (
                format!("{}  it does not answer: {error:#}\n", page(place, &record, &BTreeMap::new())),
                false,
            ),
            // It answers once the API server has been started.
            Err(_) => (page(place, &record, &BTreeMap::new()), true),
        };
        pages.push(text);
        well &= this_well;
    }
    print(&pages.join("\n"))?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// A cluster in one line.
pub fn summary(record: &Record) -> String {
    let spec = &record.spec;
    let kind = match spec.kind {
        Kind::Light => "light",
        Kind::Full => "full",
    };
    let families = if spec.dual_stack { "dual-stack" } else { "IPv4" };
    let owned = if spec.owned { ", ends with its owner" } else { "" };
    let state =
        if record.ready { format!("ready after {:.1} s", record.took) } else { "starting".to_owned() };
    let version = if record.version.is_empty() { "?" } else { &record.version };
    format!(
        "cluster `{}`: {kind}, Kubernetes {version}, {} mode, {families}, policies: {}; {state}{owned}",
        spec.name,
        spec.mode.word(),
        spec.policies.word(),
    )
}

fn page(place: &Place, record: &Record, states: &BTreeMap<String, Status>) -> String {
    let mut text = format!("{}\n", summary(record));
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    if let Some(age) = record.age() {
        line("since", format!("{} ({} ago), first process {}", moment(age), words(age), record.pid));
    }
    if !record.api.is_empty() {
        line("API server", format!("{}, kubeconfig {}", record.api, place.kubeconfig().display()));
    }
    line(
        "logs",
        format!("{}, or `cargo xtask cluster logs --name {} NAME`", place.logs().display(), place.name()),
    );
    text.push('\n');
    text.push_str(&nodes(record, states));
    if !states.is_empty() {
        text.push('\n');
        text.push_str(&programs(place, record, states));
    }
    text
}

fn nodes(record: &Record, states: &BTreeMap<String, Status>) -> String {
    let mut rows = vec![["NODE", "ADDRESSES", "PODS", "KUBE-PROXY"].map(str::to_owned)];
    for node in &record.nodes {
        let both = |v4: String, v6: Option<String>| v6.map_or_else(|| v4.clone(), |v6| format!("{v4} {v6}"));
        let proxy = states.get(&proxy_name(&node.name)).map_or("?", |status| word(status.state));
        rows.push([
            node.name.clone(),
            both(node.address.to_string(), node.address6.map(|address| address.to_string())),
            both(node.pod_cidr.to_string(), node.pod_cidr6.map(|range| range.to_string())),
            proxy.to_owned(),
        ]);
    }
    table(&rows)
}

fn programs(place: &Place, record: &Record, states: &BTreeMap<String, Status>) -> String {
    let numbers = processes::numbers(record);
    let mut rows = vec![["PROGRAM", "STATE", "FOR", "PROCESS"].map(str::to_owned)];
    for (name, status) in states {
        let number = status.pid.and_then(|pid| numbers.get(&pid)).map_or("-".to_owned(), ToString::to_string);
        rows.push([name.clone(), word(status.state).to_owned(), words(status.age), number]);
    }
    let mut text = table(&rows);
    for (name, status) in states.iter().filter(|(_, status)| status.state == State::Failed) {
        let how = status.ended.as_deref().unwrap_or("how is not known");
        let _ =
            writeln!(text, "\n  {name} ended by itself ({how}). The end of {}:", place.log(name).display());
        for line in place.log_tail(name).lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// States that somebody should look at stand out.
const fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Paused => "PAUSED",
        State::Stopped => "STOPPED",
        State::Failed => "FAILED",
    }
}

/// Columns as wide as they have to be, the first row being the headings.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

/// The time of day so long ago, in UTC.
fn moment(age: Duration) -> String {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::ZERO);
    Timestamp::now().checked_sub(age).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration as people say it: two units at most.
fn words(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, 1..10) => format!("{minutes} min {} s", seconds % 60),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    fn record() -> Record {
        let spec = Spec::light("dev").dual_stack();
        Record {
            nodes: spec.node_plans(),
            spec,
            pid: 0,
            start_time: 0,
            prefix: "wd2-0-".to_owned(),
            api: "https://127.0.0.1:40001".to_owned(),
            version: "v1.36.3".to_owned(),
            ready: true,
            took: 4.52,
        }
    }

    #[test]
    fn a_page_names_what_fails_and_where_to_read() {
        let status = |state, ended: Option<&str>| Status {
            state,
            pid: None,
            age: Duration::from_secs(75),
            ended: ended.map(str::to_owned),
        };
        let states = BTreeMap::from([
            ("etcd".to_owned(), status(State::Running, None)),
            ("kube-proxy@node-1".to_owned(), status(State::Failed, Some("exit status: 1"))),
            ("kube-proxy@node-2".to_owned(), status(State::Paused, None)),
        ]);
        let text = page(&Place::of("dev").unwrap(), &record(), &states);
        for line in [
            "cluster `dev`: light, Kubernetes v1.36.3, iptables mode, dual-stack, policies: kube-router-plain; ready after 4.5 s",
            "  logs        /run/why-dropped/clusters/dev/logs, or `cargo xtask cluster logs --name dev NAME`",
            "  NODE    ADDRESSES                  PODS                             KUBE-PROXY",
            "  node-1  192.168.77.11 fd00:77::11  10.244.1.0/24 fd00:244:0:1::/64  FAILED",
            "  etcd               running  1 min 15 s  -",
            "  kube-proxy@node-2  PAUSED   1 min 15 s  -",
            "  kube-proxy@node-1 ended by itself (exit status: 1). The end of /run/why-dropped/clusters/dev/logs/kube-proxy@node-1.log:",
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn ages_have_two_units() {
        let of = |seconds| words(Duration::from_secs(seconds));
        assert_eq!([of(0), of(59), of(61), of(3599)], ["0 s", "59 s", "1 min 1 s", "59 min"]);
        assert_eq!([of(3_700), of(200_000)], ["1 h 1 min", "2 d 7 h"]);
    }
}
