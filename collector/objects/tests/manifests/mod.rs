//! The table of accepted and refused manifests, and how our reader judges each.
//!
//! The manifests are the YAML files beside this one. A case begins with a separator that names it, followed by what
//! is expected, then the manifest as a user would write it:
//!
//! ```yaml
//! --- # a port above the range
//! # refused: spec.ports[0].port
//! apiVersion: v1
//! kind: Service
//! …
//! ```
//!
//! | line | says |
//! |---|---|
//! | `# accepted` | no refusal |
//! | `# refused: FIELD, FIELD` | exactly these fields are refused; `(document)` is no field in particular |
//! | `# warned: FIELD` | exactly these keys are not known |
//! | `# server accepts: WHY` | the API server accepts what we refuse |
//! | `# server refuses: FIELD: WHY` | the API server refuses, there, what we accept |
//! | `# server names: FIELD, FIELD: WHY` | both refuse, the API server other fields |
//! | `# server warns: FIELD: WHY` | the API server warns of other keys; `none` is none |
//! | `# server reads: WHY` | the API server's object, read by us, is not the file's object |
//!
//! Without a `server` line the API server agrees, which `cluster`'s test of the same table asks it. A line that no
//! longer tells a difference fails there. Nothing here needs a server.

use std::collections::BTreeSet;

use model::Timestamp;
use model::objects::ObjectSet;
use objects::{Reader, Warning};

/// Field names, as in `spec.ports[0].port`.
pub type Fields = BTreeSet<String>;

/// What stands for the whole document.
const DOCUMENT: &str = "(document)";

/// A file of cases, and where the API server takes its objects.
pub struct Table {
    /// Of the file.
    pub name: &'static str,
    /// Group, version and resource as in a request's path; `None` for what kubectl takes apart first.
    pub resource: Option<Resource>,
    text: &'static str,
}

/// Where the API server takes objects of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Resource {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub prefix: &'static str,
    /// As in the path.
    pub plural: &'static str,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// Whether a dry run does not say all: it allocates no node port and no address, and a status is taken in a
    /// request of its own, for an object that is there.
    pub stored: bool,
}

/// All tables.
pub const TABLES: &[Table] = &[
    Table { name: "service.yaml", resource: Some(SERVICES), text: include_str!("service.yaml") },
    Table { name: "service_ports.yaml", resource: Some(SERVICES), text: include_str!("service_ports.yaml") },
    Table { name: "endpoint_slice.yaml", resource: Some(SLICES), text: include_str!("endpoint_slice.yaml") },
    Table {
        name: "network_policy.yaml",
        resource: Some(POLICIES),
        text: include_str!("network_policy.yaml"),
    },
    Table {
        name: "cluster_network_policy.yaml",
        resource: Some(CLUSTER_POLICIES),
        text: include_str!("cluster_network_policy.yaml"),
    },
    Table {
        name: "admin_network_policy.yaml",
        resource: Some(ADMIN_POLICIES),
        text: include_str!("admin_network_policy.yaml"),
    },
    Table {
        name: "baseline_admin_network_policy.yaml",
        resource: Some(BASELINE_POLICIES),
        text: include_str!("baseline_admin_network_policy.yaml"),
    },
    Table { name: "pod.yaml", resource: Some(PODS), text: include_str!("pod.yaml") },
    Table { name: "namespace.yaml", resource: Some(NAMESPACES), text: include_str!("namespace.yaml") },
    Table { name: "node.yaml", resource: Some(NODES), text: include_str!("node.yaml") },
    Table { name: "metadata.yaml", resource: Some(DRY_SERVICES), text: include_str!("metadata.yaml") },
    Table { name: "scalars.yaml", resource: Some(DRY_SERVICES), text: include_str!("scalars.yaml") },
    Table { name: "files.yaml", resource: None, text: include_str!("files.yaml") },
];

const SERVICES: Resource = Resource { prefix: "/api/v1", plural: "services", namespaced: true, stored: true };
/// Where only metadata and spelling are looked at; finalizers would keep what is stored.
const DRY_SERVICES: Resource = Resource { stored: false, ..SERVICES };
const PODS: Resource = Resource { plural: "pods", ..SERVICES };
const NAMESPACES: Resource = Resource { plural: "namespaces", namespaced: false, stored: false, ..SERVICES };
const NODES: Resource = Resource { plural: "nodes", ..NAMESPACES };
const SLICES: Resource = Resource {
    prefix: "/apis/discovery.k8s.io/v1",
    plural: "endpointslices",
    namespaced: true,
    stored: false,
};
const POLICIES: Resource =
    Resource { prefix: "/apis/networking.k8s.io/v1", plural: "networkpolicies", ..SLICES };
/// Custom resources: their definitions come from network-policy-api.
const CLUSTER_POLICIES: Resource = Resource {
    prefix: "/apis/policy.networking.k8s.io/v1alpha2",
    plural: "clusternetworkpolicies",
    namespaced: false,
    stored: false,
};
const ADMIN_POLICIES: Resource = Resource {
    prefix: "/apis/policy.networking.k8s.io/v1alpha1",
    plural: "adminnetworkpolicies",
    ..CLUSTER_POLICIES
};
const BASELINE_POLICIES: Resource = Resource { plural: "baselineadminnetworkpolicies", ..ADMIN_POLICIES };

/// A manifest and what is expected of it.
#[derive(Debug)]
pub struct Case {
    /// File and name of the case.
    pub name: String,
    /// The manifest.
    pub text: String,
    /// Fields refused by us; `None` if accepted.
    pub refused: Option<Fields>,
    /// Keys we do not know.
    pub warned: Fields,
    /// What the API server thinks otherwise.
    pub server: Server,
}

/// On purpose, each with its reason.
#[derive(Debug, Default)]
pub struct Server {
    /// Accepts what we refuse.
    pub accepts: Option<String>,
    /// Refuses these fields, which we accept.
    pub refuses: Option<(Fields, String)>,
    /// Refuses these other fields.
    pub names: Option<(Fields, String)>,
    /// Warns of these other keys.
    pub warns: Option<(Fields, String)>,
    /// Returns another object.
    pub reads: Option<String>,
}

/// What our reader makes of a manifest.
#[derive(Debug)]
pub struct Ours {
    /// Fields refused; `None` if accepted.
    pub refused: Option<Fields>,
    /// Keys not known.
    pub warned: Fields,
    /// What was read; empty if refused.
    pub set: ObjectSet,
    /// The refusals in words.
    pub words: Vec<String>,
}

impl Table {
    /// Its cases, in the order of the file.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases: Vec<(&str, String)> = Vec::new();
        for line in self.text.lines() {
            if let Some(name) = line.strip_prefix("--- # ") {
                cases.push((name, String::new()));
            } else if let Some((_, text)) = cases.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        cases.into_iter().map(|(name, text)| Case::parse(format!("{}: {name}", self.name), &text)).collect()
    }
}

impl Case {
    fn parse(name: String, text: &str) -> Self {
        let mut case = Self {
            name,
            text: String::new(),
            refused: None,
            warned: Fields::new(),
            server: Server::default(),
        };
        let mut told = false;
        let mut lines = text.split_inclusive('\n');
        while let Some(line) = lines.clone().next().and_then(|line| line.strip_prefix("# ")) {
            lines.next();
            let line = line.trim_end();
            let (word, rest) = line.split_once(": ").unwrap_or((line, ""));
            match word {
                "accepted" => told = true,
                "refused" => (told, case.refused) = (true, Some(fields(rest))),
                "warned" => case.warned = fields(rest),
                "server accepts" => case.server.accepts = Some(rest.to_owned()),
                "server refuses" => case.server.refuses = Some(fields_and_reason(&case.name, rest)),
                "server names" => case.server.names = Some(fields_and_reason(&case.name, rest)),
                "server warns" => case.server.warns = Some(fields_and_reason(&case.name, rest)),
                "server reads" => case.server.reads = Some(rest.to_owned()),
                _ => panic!("{}: `{line}` says nothing known", case.name),
            }
        }
        assert!(told, "{}: neither accepted nor refused", case.name);
        case.text = lines.collect();
        case
    }

    /// How often the API server differs on purpose.
    pub fn differences(&self) -> usize {
        let Server { accepts, refuses, names, warns, reads } = &self.server;
        [accepts.is_some(), refuses.is_some(), names.is_some(), warns.is_some(), reads.is_some()]
            .into_iter()
            .filter(|differs| *differs)
            .count()
    }
}

fn fields(list: &str) -> Fields {
    list.split(", ").filter(|field| !matches!(*field, "" | "none")).map(str::to_owned).collect()
}

fn fields_and_reason(case: &str, text: &str) -> (Fields, String) {
    let (list, reason) = text.split_once(": ").unwrap_or_else(|| panic!("{case}: `{text}` has no reason"));
    (fields(list), reason.to_owned())
}

/// Reads a manifest as a file.
pub fn ours(text: &str) -> Ours {
    let mut reader = Reader::new(Timestamp(1));
    reader.add("manifest.yaml", Timestamp(1), text);
    match reader.finish() {
        Ok(read) => Ours {
            refused: None,
            warned: read.warnings.iter().filter_map(unknown_key).collect(),
            set: read.set,
            words: read.warnings.iter().map(ToString::to_string).collect(),
        },
        Err(refusals) => Ours {
            refused: Some(
                refusals
                    .iter()
                    .map(|refusal| if refusal.field.is_empty() { DOCUMENT } else { &refusal.field })
                    .map(str::to_owned)
                    .collect(),
            ),
            warned: Fields::new(),
            set: ObjectSet::default(),
            words: refusals.iter().map(ToString::to_string).collect(),
        },
    }
}

/// The path of the key that a warning calls unknown.
fn unknown_key(warning: &Warning) -> Option<String> {
    let key = warning.reason.strip_prefix("unknown key `")?.strip_suffix('`')?;
    Some(if warning.field.is_empty() { key.to_owned() } else { format!("{}.{key}", warning.field) })
}
