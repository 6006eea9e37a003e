//! What holds for the product as a whole rather than for one cause: mended faults, outages, other clients, other places
//! to ask from.

#![expect(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::stage::{can_run, key};
use e2e::world::{AllEars, Rendered};
use e2e::{Manifests, Stage, eventually, normalise};
use netlab::ConnectOutcome::Refused;
use serde_json::Value;

const API: &str = "10.96.12.7:80";

/// A stage with these manifests, or nothing where stages cannot be set.
fn stage(name: &str, files: &[&str]) -> Option<Stage> {
    can_run(name).then(|| Stage::up(name, Manifests::read(files).unwrap()).unwrap())
}

/// The same, and the directory of the manifests that its collector reads.
fn stage_with_files(name: &str, files: &[&str]) -> Option<(Stage, PathBuf)> {
    can_run(name).then(|| {
        let manifests = Manifests::read(files).unwrap();
        let world = Rendered::new(name, &manifests).unwrap();
        let directory = world.object_files();
        (Stage::set(Box::new(world), manifests, AllEars::new(), None).unwrap(), directory)
    })
}

fn grpcurl() -> Option<Command> {
    let tool = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join("grpcurl"))
        .find(|path| path.is_file());
    if tool.is_none() {
        assert!(std::env::var_os("CI").is_none(), "grpcurl is not on PATH, and CI must not skip its tests");
        eprintln!("skipped: grpcurl: it is not on PATH; `cargo xtask setup` brings it");
    }
    tool.map(Command::new)
}

#[test]
fn grpcurl_finds_the_services_and_gets_the_same_answer() {
    let Some(mut list) = grpcurl() else { return };
    let Some(stage) = stage("grpcurl", &["selector.yaml"]) else { return };
    assert_eq!(stage.connect("web/client", API).unwrap().outcome, Refused);

    let services = list.args(["-plaintext", &stage.address().to_string(), "list"]).output().unwrap();
    let services = String::from_utf8(services.stdout).unwrap();
    for service in ["whydropped.v1.WhyDropped", "whydropped.v1.AgentLink", "grpc.health.v1.Health"] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }

    let Some(mut explain) = grpcurl() else { return };
    let output = explain
        .args([
            "-plaintext",
            "-emit-defaults",
            "-d",
            r#"{"source":"web/client","destination":"shop/api:80"}"#,
        ])
        .args([&stage.address().to_string(), "whydropped.v1.WhyDropped/Explain"])
        .output()
        .unwrap();
    let theirs: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let ours = stage.ask("web/client", "shop/api:80").unwrap().json;
    assert_eq!(normalise::json(theirs), normalise::json(ours));
}

#[test]
fn evidence_outlives_a_crash_of_the_collector() {
    let Some(mut stage) = stage("crash", &["selector.yaml"]) else { return };
    assert_eq!(stage.connect("web/client", API).unwrap().outcome, Refused);
    assert_eq!(stage.ask("web/client", "shop/api:80").unwrap().first_id(), "S3");
    let before = seen(&stage);
    assert!(before > 0, "no drop is listed");

    stage.crash_collector().unwrap();
    stage.start_collector().unwrap();
    stage.wait_for_agents().unwrap();
    assert_eq!(seen(&stage), before, "drops were lost or counted twice");
    let again = stage.ask("web/client", "shop/api:80").unwrap();
    assert_eq!((again.first_id(), again.field("certainty")), ("S3", "PROVEN"), "{}", again.printed.stdout);
}

/// Packets that `drops` lists.
fn seen(stage: &Stage) -> u64 {
    let printed = stage.run(&["drops", "-o", "json"]).unwrap();
    let list: Value = serde_json::from_str(&printed.stdout).unwrap();
    list["drops"].as_array().unwrap().iter().map(|drop| drop["count"].as_u64().unwrap()).sum()
}

#[test]
fn drops_are_listed_with_names_rule_and_owner() {
    let Some(stage) = stage("drops", &["selector.yaml"]) else { return };
    assert_eq!(stage.connect("web/client", API).unwrap().outcome, Refused);
    eventually("the drop is listed", Duration::from_secs(5), || {
        let printed = stage.run(&["drops", "-o", "json", "--service", "shop/api"])?;
        let list: Value = serde_json::from_str(&printed.stdout)?;
        let drop = &list["drops"][0];
        anyhow::ensure!(drop["reason"] == "NETFILTER_DROP", "{list:#}");
        anyhow::ensure!(drop["rule"]["owner"] == "kube-proxy", "{list:#}");
        anyhow::ensure!(drop["rule"]["chain"] == "KUBE-SERVICES", "{list:#}");
        anyhow::ensure!(drop["causeId"] == "S3", "{list:#}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_source_that_does_not_exist_is_an_error_with_the_nearest_name() {
    let Some(stage) = stage("nosource", &["healthy.yaml"]) else { return };
    let json = stage.ask("web/clinet", "shop/api:80").unwrap();
    assert_eq!(json.printed.code, Some(2));
    assert_eq!(json.printed.stdout, "", "with -o json an error leaves stdout empty");
    assert!(json.printed.stderr.contains("did you mean `web/client`?"), "{}", json.printed.stderr);
}

#[test]
fn manifests_alone_and_the_collector_agree_on_the_cause() {
    let Some((stage, files)) = stage_with_files("offline", &["selector.yaml"]) else { return };
    let live = stage.ask("web/client", "shop/api:80").unwrap();
    let output = stage
        .command()
        .unwrap()
        .args(["-o", "json", "--objects", files.to_str().unwrap(), "--", "web/client", "shop/api:80"])
        .output()
        .unwrap();
    let offline: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(offline["findings"][0]["id"], live.json["findings"][0]["id"]);
    assert_eq!(offline["basis"], "OBJECTS");
    assert_ne!(offline["certainty"], "PROVEN", "objects alone prove nothing");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_broken_manifest_keeps_the_last_good_objects_and_is_told() {
    let Some((stage, files)) = stage_with_files("broken", &["healthy.yaml"]) else { return };
    let file = files.join("healthy.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("apiVersion: v1", "aapiVersion: v1", 1)).unwrap();
    eventually("the refusal is told in the answer", Duration::from_secs(5), || {
        let answer = stage.ask("web/client", "shop/api:80")?;
        anyhow::ensure!(answer.field("verdict") == "DELIVERED", "{}", answer.printed.stdout);
        anyhow::ensure!(
            answer.json["notChecked"].to_string().contains("aapiVersion"),
            "{}",
            answer.printed.stdout
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn rules_of_the_legacy_back_end_are_read_and_blamed_alike() {
    if !can_run("legacy") {
        return;
    }
    let manifests = Manifests::read(&["selector.yaml"]).unwrap();
    let world = Rendered::new("legacy", &manifests).unwrap().legacy();
    let stage = Stage::set(Box::new(world), manifests, AllEars::new(), None).unwrap();
    assert_eq!(stage.connect("web/client", API).unwrap().outcome, Refused);
    let answer = stage.ask("web/client", "shop/api:80").unwrap();
    assert_eq!((answer.first_id(), answer.field("certainty")), ("S3", "PROVEN"), "{}", answer.printed.stdout);
    // The other node was not asked anything, and looks at its rules again in its own time.
    eventually("the asked agent tells the back-end", Duration::from_secs(15), || {
        let printed = stage.run(&["nodes", "-o", "json"])?;
        let nodes: Value = serde_json::from_str(&printed.stdout)?;
        let mut entries = nodes["nodes"].as_array().into_iter().flatten();
        let node = entries.find(|node| node["name"] == "node-1");
        anyhow::ensure!(node.is_some_and(|node| node["serviceProxy"] == "IPTABLES_LEGACY"), "{nodes:#}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn everything_is_gone_afterwards() {
    let Some(mut stage) = stage("gone", &["healthy.yaml"]) else { return };
    let pod = stage.world().pod(&key("web/client").unwrap()).unwrap().path().to_owned();
    assert!(pod.exists());
    drop(stage);
    assert!(!pod.exists(), "{} is left over", pod.display());
}
