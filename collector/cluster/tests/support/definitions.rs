//! The definitions of the cluster-wide policies, as network-policy-api publishes them, in a throw-away API server.
//!
//! They come from its Go module, by `go`, which checks them against Go's checksum database. Nothing of them is kept here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::server::Admin;

/// Where the API server takes objects of theirs.
pub const GROUP: &str = "/apis/policy.networking.k8s.io/";

const MODULE: &str = "sigs.k8s.io/network-policy-api";
/// Versions of the module, and the definitions taken from each. The experimental channel has every field.
const DEFINITIONS: [(&str, &str); 3] = [
    ("v0.2.0", "clusternetworkpolicies"),
    ("v0.1.7", "adminnetworkpolicies"),
    ("v0.1.7", "baselineadminnetworkpolicies"),
];
/// Within which a new definition is served.
const SERVED_BOUND: Duration = Duration::from_secs(30);

/// Installs them and waits until they are served. False, told on stderr, where they cannot be had and need not be.
pub async fn install(admin: &Admin) -> bool {
    let mut files = Vec::new();
    for (version, plural) in DEFINITIONS {
        match module(version) {
            Ok(module) => {
                let file = format!("config/crd/experimental/policy.networking.k8s.io_{plural}.yaml");
                files.push((plural, module.join(file)));
            }
            Err(why) => {
                let required = std::env::var_os("WHY_DROPPED_REQUIRE_ALL").is_some();
                assert!(!required, "the definitions of cluster-wide policies are needed: {why}");
                eprintln!("skipped: cluster-wide policies and a real API server: {why}");
                return false;
            }
        }
    }
    for (plural, file) in &files {
        define(admin, plural, file).await;
    }
    true
}

/// The folder of a version of the module, downloaded if need be.
fn module(version: &str) -> Result<PathBuf, String> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", &format!("{MODULE}@{version}")])
        // Outside any module of its own.
        .current_dir(std::env::temp_dir())
        .output()
        .map_err(|error| format!("start go: {error}"))?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match said["Dir"].as_str() {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Err(format!("go mod download: {}{}", said["Error"], String::from_utf8_lossy(&output.stderr))),
    }
}

async fn define(admin: &Admin, plural: &str, file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = admin.ask("POST", path, "application/yaml", &text).await;
    assert_eq!(made.status, 201, "{}: {}", file.display(), made.body);
    let path = format!("{path}/{plural}.policy.networking.k8s.io");
    let mut last = Value::Null;
    let served = async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        loop {
            looks.tick().await;
            last = admin.ask("GET", &path, "application/json", "").await.body;
            let conditions = last["status"]["conditions"].as_array();
            let established = |condition: &&Value| condition["type"] == "Established";
            let found = conditions.and_then(|all| all.iter().find(established));
            if found.is_some_and(|condition| condition["status"] == "True") {
                return;
            }
        }
    };
    let done = tokio::time::timeout(SERVED_BOUND, served).await;
    assert!(done.is_ok(), "{plural} is not served within {SERVED_BOUND:?}: {}", last["status"]);
    // Established, and yet the handler may be a moment behind; a list says that it is there.
    let version = last["spec"]["versions"][0]["name"].as_str().expect("a version").to_owned();
    let path = format!("{GROUP}{version}/{plural}");
    let listed = async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        while admin.ask("GET", &path, "application/json", "").await.status != 200 {
            looks.tick().await;
        }
    };
    let done = tokio::time::timeout(SERVED_BOUND, listed).await;
    assert!(done.is_ok(), "{plural} cannot be listed within {SERVED_BOUND:?}");
}
