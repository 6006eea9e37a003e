//! The API server as the oracle of `objects`: what our reader refuses in a file is what a real API server refuses, in
//! the same field, and what both accept says the same before and after the API server has filled in its defaults.
//!
//! The table is `objects`' own, which it also passes without a server. Needs `etcd`, `kube-apiserver` and `kubectl`
//! in `$KUBEBUILDER_ASSETS` or on the PATH. It is one test because the server takes seconds to start.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "support/definitions.rs"]
mod definitions;
#[path = "../../objects/tests/manifests/mod.rs"]
mod manifests;
#[allow(dead_code, reason = "what only the other test of a real API server uses")]
#[path = "support/server.rs"]
mod server;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use manifests::{Case, Fields, Ours, Resource, TABLES};
use model::Timestamp;
use model::objects::ObjectSet;
use objects::{from_api, insert};
use serde_json::{Value, json};
use server::{Admin, Answer, Server, program};

const YAML: &str = "application/yaml";
/// The table says what this minor version of Kubernetes 1 says, and the later ones. Names of Services and the forms of
/// addresses were judged otherwise before (`RelaxedServiceNameValidation`, `StrictIPCIDRValidation`).
const OLDEST_MINOR: u32 = 36;
/// Besides `default`, the namespace that manifests may be in.
const NAMESPACE: &str = "shop";

/// How the API server names the whole object.
const NO_FIELD: &str = "<nil>";

/// What the API server makes of a manifest.
struct Verdict {
    /// Fields refused; `None` if accepted. Empty where it names none, as for a value of the wrong type.
    refused: Option<Fields>,
    /// Keys it does not know.
    warned: Fields,
    /// The object, or its `Status`.
    body: Value,
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        let accepted = match answer.status {
            200..300 => true,
            400..429 => false,
            // A broken or overloaded server is no verdict.
            other => panic!("HTTP {other}: {}", answer.body),
        };
        let unknown = |warning: &String| {
            let (_, rest) = warning.split_once("unknown field \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let causes = answer.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let mut fields: Fields =
            causes.iter().filter_map(|cause| cause["field"].as_str().map(str::to_owned)).collect();
        if fields.len() > 1 {
            // A custom resource whose schema is violated has rules that were therefore not checked.
            fields.remove(NO_FIELD);
        }
        Self {
            refused: (!accepted).then_some(fields),
            warned: answer.warnings.iter().filter_map(unknown).collect(),
            body: answer.body,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_agrees_with_the_table() {
    let Some(server) = Server::start().await else { return };
    let admin = server.admin();
    let version = admin.ask("GET", "/version", "application/json", "").await.body;
    let minor: u32 = version["minor"].as_str().unwrap().trim_end_matches('+').parse().unwrap();
    if minor < OLDEST_MINOR {
        assert!(!everything_is_required(), "Kubernetes is too old: {version}");
        eprintln!(
            "skipped: manifests and a real API server: the table is of 1.{OLDEST_MINOR}, this is 1.{minor}"
        );
        return;
    }
    admin.post("/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}})).await;
    let kubectl = Kubectl::find(&server);
    let custom = definitions::install(&admin).await;
    let mut wrong = String::new();
    let (mut manifests, mut differences) = (0, 0);
    for table in TABLES {
        if table.resource.is_some_and(|resource| resource.prefix.starts_with(definitions::GROUP)) && !custom {
            continue;
        }
        for case in table.cases() {
            let ours = manifests::ours(&case.text);
            let complaints = match table.resource {
                Some(resource) => {
                    let verdict = create(&admin, resource, &case).await;
                    compare(&case, &ours, resource, &verdict)
                }
                None => match &kubectl {
                    Some(kubectl) => kubectl.compare(&case, &ours),
                    None => continue,
                },
            };
            manifests += 1;
            differences += case.differences();
            if !complaints.is_empty() {
                let _ = writeln!(wrong, "{}\n{}  {}", case.name, case.text, complaints.join("\n  "));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{manifests} manifests; {differences} differences, each with its reason");
}

/// Puts a manifest to the API server in a dry run, then in earnest where that says more, and deletes it again.
async fn create(admin: &Admin, resource: Resource, case: &Case) -> Verdict {
    let Resource { prefix, plural, namespaced, stored } = resource;
    let collection = if namespaced {
        // The first `namespace:` of a manifest is its own.
        let own = case.text.split_once(&format!("namespace: {NAMESPACE}")).map_or("default", |_| NAMESPACE);
        format!("{prefix}/namespaces/{own}/{plural}")
    } else {
        format!("{prefix}/{plural}")
    };
    let mut answer = admin.ask("POST", &format!("{collection}?dryRun=All"), YAML, &case.text).await;
    if answer.status >= 400 || !stored {
        return answer.into();
    }
    answer = admin.ask("POST", &collection, YAML, &case.text).await;
    if answer.status >= 400 {
        return answer.into();
    }
    let path = format!("{collection}/{}", answer.body["metadata"]["name"].as_str().unwrap());
    if case.text.lines().any(|line| line.starts_with("status:")) {
        answer = admin.ask("PUT", &format!("{path}/status"), YAML, &case.text).await;
    }
    let deleted = admin.ask("DELETE", &path, "application/json", r#"{"gracePeriodSeconds": 0}"#).await;
    assert_eq!(deleted.status, 200, "{}: {}", case.name, deleted.body);
    answer.into()
}

/// What differs and is not in the table, and what is in the table and does not differ.
fn compare(case: &Case, ours: &Ours, resource: Resource, theirs: &Verdict) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |words: String| {
        complaints.push(format!("{words}; ours: {:?}; the server: {}", ours.words, theirs.body["message"]));
    };
    match (&ours.refused, &theirs.refused) {
        (None, None) => {
            let expected = case.server.warns.as_ref().map_or(&ours.warned, |(fields, _)| fields);
            if *expected != theirs.warned || case.server.warns.is_some() && ours.warned == theirs.warned {
                complain(format!("the server warns of {:?}", theirs.warned));
            }
            let (file, api) = both(ours, resource, &theirs.body);
            if (file == api) == case.server.reads.is_some() {
                complain(format!("file: {file:#?}\nAPI: {api:#?}"));
            }
        }
        (Some(refused), Some(fields)) => {
            let expected = case.server.names.as_ref().map_or(refused, |(fields, _)| fields);
            let differs = !fields.is_empty() && fields != expected;
            if differs || case.server.names.is_some() && refused == fields {
                complain(format!("the server names {fields:?}"));
            }
        }
        (None, Some(fields)) => {
            if case.server.refuses.as_ref().is_none_or(|(expected, _)| expected != fields) {
                complain(format!("the server refuses {fields:?}"));
            }
        }
        (Some(_), None) => {
            if case.server.accepts.is_none() {
                complain("the server accepts".to_owned());
            }
        }
    }
    let verdicts = (ours.refused.is_none(), theirs.refused.is_none());
    for (stale, line) in [
        (case.server.accepts.is_some() && verdicts != (false, true), "server accepts"),
        (case.server.refuses.is_some() && verdicts != (true, false), "server refuses"),
        (case.server.names.is_some() && verdicts != (false, false), "server names"),
        (case.server.warns.is_some() && verdicts != (true, true), "server warns"),
        (case.server.reads.is_some() && verdicts != (true, true), "server reads"),
    ] {
        if stale {
            complain(format!("`{line}` is no longer so"));
        }
    }
    complaints
}

/// The object as the file says it and as the API server returned it, without what only the API server knows.
fn both(ours: &Ours, resource: Resource, body: &Value) -> (ObjectSet, ObjectSet) {
    let mut body = body.clone();
    let kind = match resource.plural {
        "services" => "Service",
        "pods" => "Pod",
        "namespaces" => "Namespace",
        "nodes" => "Node",
        "endpointslices" => "EndpointSlice",
        "networkpolicies" => "NetworkPolicy",
        "clusternetworkpolicies" => "ClusterNetworkPolicy",
        "adminnetworkpolicies" => "AdminNetworkPolicy",
        "baselineadminnetworkpolicies" => "BaselineAdminNetworkPolicy",
        other => panic!("{other}: of what kind?"),
    };
    let (object, gaps) = from_api(kind, &body.take(), Timestamp(0));
    let mut api = ObjectSet { gaps, ..ObjectSet::default() };
    insert(&mut api, object.expect("the API server's objects have names"));
    let mut file = ObjectSet { origin: api.origin.clone(), ..ours.set.clone() };
    (file.coverage, file.current_at) = (api.coverage, api.current_at);
    let metas = |set: &mut ObjectSet| {
        let all = set.services.values_mut().map(|object| &mut object.meta);
        let all = all.chain(set.pods.values_mut().map(|object| &mut object.meta));
        let all = all.chain(set.slices.values_mut().map(|object| &mut object.meta));
        let all = all.chain(set.policies.values_mut().map(|object| &mut object.meta));
        let all = all.chain(set.cluster_policies.values_mut().map(|object| &mut object.meta));
        let all = all.chain(set.namespaces.values_mut().map(|object| &mut object.meta));
        for meta in all.chain(set.nodes.values_mut().map(|object| &mut object.meta)) {
            meta.uid.clear();
            meta.source.clear();
            meta.changed_at = Timestamp(0);
        }
    };
    metas(&mut file);
    metas(&mut api);
    for (key, service) in &mut api.services {
        let Some(given) = file.services.get(key) else { continue };
        // Allocated addresses and ports; those that the file gives have to come back.
        service.cluster_ips.truncate(given.cluster_ips.len());
        for (port, given) in service.ports.iter_mut().zip(&given.ports) {
            port.node_port = port.node_port.filter(|_| given.node_port.is_some());
        }
    }
    for pod in api.pods.values_mut() {
        // The API server gives every new pod a phase.
        if file.pods.values().all(|pod| pod.phase.is_empty()) && pod.phase == "Pending" {
            pod.phase.clear();
        }
    }
    (file, api)
}

/// kubectl and where it may write; it takes a file apart, says yes or no, and names no fields.
struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
}

impl Kubectl {
    /// `None`, told on stderr, where it is missing and may be.
    fn find(server: &Server) -> Option<Self> {
        let Some(program) = program("kubectl") else {
            assert!(!everything_is_required(), "kubectl is needed beside kube-apiserver");
            eprintln!("skipped: files as kubectl reads them: no kubectl beside kube-apiserver");
            return None;
        };
        Some(Self { program, kubeconfig: server.admin_kubeconfig(), dir: tempfile::tempdir().unwrap() })
    }

    fn compare(&self, case: &Case, ours: &Ours) -> Vec<String> {
        let file = self.dir.path().join("manifest.yaml");
        fs::write(&file, &case.text).unwrap();
        let output = Command::new(&self.program)
            .args(["create", "--dry-run=server", "--validate=warn"])
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--cache-dir={}", self.dir.path().join("cache").display()))
            .arg(format!("--filename={}", file.display()))
            .output()
            .unwrap();
        let accepted = output.status.success();
        let differs = accepted != ours.refused.is_none();
        if differs == (case.differences() > 0) {
            return Vec::new();
        }
        let words = String::from_utf8_lossy(&output.stderr);
        vec![format!("kubectl accepts: {accepted}; ours: {:?}; kubectl: {words}", ours.words)]
    }
}

fn everything_is_required() -> bool {
    std::env::var_os("WHY_DROPPED_REQUIRE_ALL").is_some()
}
