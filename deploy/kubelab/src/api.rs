//! Requests to a cluster's API server: any kind, applied as `kubectl apply --server-side` does.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client, Config};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whose fields they are, in `managedFields`.
const MANAGER: &str = "kubelab";

/// A connection that knows which kinds there are.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    kinds: Arc<Mutex<HashMap<GroupVersionKind, (ApiResource, bool)>>>,
}

/// An object's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `v1`, `apps/v1` …
    pub api_version: String,
    /// `Service` …
    pub kind: String,
    /// Its namespace; `default` if a namespaced kind names none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Objects {
    /// Reads a kubeconfig. No request is made yet.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let read = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("read kubeconfig {}", kubeconfig.display()))?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("read kubeconfig {}", kubeconfig.display()))?;
        let client = Client::try_from(config).context("make a client of the API server")?;
        Ok(Self { client, kinds: Arc::default() })
    }

    /// The client below.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Creates or changes an object; fields of other managers are taken over. What the server made of it.
    pub async fn apply(&self, object: &Value) -> Result<Value> {
        let target = Target::of(object)?;
        let api = self.api(&target).await?;
        let applied =
            api.patch(&target.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await;
        let applied = applied.with_context(|| format!("apply {target}"))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// Merges into an object.
    pub async fn patch(&self, target: &Target, patch: &Value) -> Result<()> {
        let api = self.api(target).await?;
        let done = api.patch(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        done.with_context(|| format!("change {target}")).map(drop)
    }

    /// Merges into an object's status.
    pub async fn patch_status(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let target = Target::new(api_version, kind, namespace, name);
        let api = self.api(&target).await?;
        let done = api.patch_status(&target.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        done.with_context(|| format!("change the status of {target}")).map(drop)
    }

    /// An object, if it is there.
    pub async fn get(&self, target: &Target) -> Result<Option<Value>> {
        let api = self.api(target).await?;
        match api.get_opt(&target.name).await.with_context(|| format!("get {target}"))? {
            Some(object) => Ok(Some(serde_json::to_value(object)?)),
            None => Ok(None),
        }
    }

    /// All objects of a kind, of one namespace or of all.
    pub async fn list(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>> {
        let (resource, namespaced) = self.kind(api_version, kind).await?;
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) if namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        };
        let list = api.list(&ListParams::default()).await.with_context(|| format!("list {kind}"))?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Removes an object at once; one that is gone already is no error.
    pub async fn delete(&self, target: &Target) -> Result<()> {
        self.delete_if(target, None).await
    }

    /// The same if it is still the one with this uid.
    pub async fn delete_one(&self, target: &Target, uid: &str) -> Result<()> {
        self.delete_if(target, Some(uid.to_owned())).await
    }

    async fn delete_if(&self, target: &Target, uid: Option<String>) -> Result<()> {
        let api = self.api(target).await?;
        let mut how = DeleteParams::default().grace_period(0);
        how.preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        match api.delete(&target.name, &how).await {
            // Not there, or another one has its name (`rest.BeforeDelete`).
            Err(kube::Error::Api(status))
                if status.code == 404 || status.code == 409 && how.preconditions.is_some() =>
            {
                Ok(())
            }
            outcome => outcome.with_context(|| format!("delete {target}")).map(drop),
        }
    }

    async fn api(&self, target: &Target) -> Result<Api<DynamicObject>> {
        let (resource, namespaced) = self.kind(&target.api_version, &target.kind).await?;
        Ok(if namespaced {
            let namespace = target.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        })
    }

    async fn kind(&self, api_version: &str, kind: &str) -> Result<(ApiResource, bool)> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&gvk).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = pinned_kind(&self.client, &gvk).await;
        let (resource, capabilities) =
            found.with_context(|| format!("the API server has no {kind} in {api_version}"))?;
        let found = (resource, capabilities.scope == Scope::Namespaced);
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(gvk, found.clone());
        Ok(found)
    }
}

impl Target {
    /// By its parts.
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// That of an object.
    pub fn of(object: &Value) -> Result<Self> {
        let text = |value: &Value, what: &str| {
            value.as_str().map(str::to_owned).with_context(|| format!("an object without {what}: {object}"))
        };
        let metadata = &object["metadata"];
        Ok(Self {
            api_version: text(&object["apiVersion"], "apiVersion")?,
            kind: text(&object["kind"], "kind")?,
            namespace: metadata["namespace"].as_str().map(str::to_owned),
            name: text(&metadata["name"], "metadata.name")?,
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// The documents of a YAML or JSON text, Lists taken apart.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for document in serde_saphyr::from_multiple::<Value>(text).context("read the manifest")? {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => all.extend(items),
                    _ => bail!("a List without items"),
                }
            }
            other => all.push(other),
        }
    }
    Ok(all)
}
