//! etcd, API server, controllers and scheduler, in the namespace that joins the nodes.
//!
//! Flags hold for Kubernetes 1.24 to 1.36. Controllers are named as before 1.28, which later versions take as aliases
//! (`cmd/kube-controller-manager/names`).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use netlab::Netns;

use crate::components::{Components, Recipe, Site};
use crate::pki::Pki;
use crate::place::Place;
use crate::programs::Programs;
use crate::spec::{Kind, Spec};

/// Port of the API server.
pub const API_PORT: u16 = 6443;
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
/// How long the API server may take on a busy machine.
const START: Duration = Duration::from_secs(90);

/// What writes objects that the cluster's users and kube-proxy need. The node lifecycle controller is not among them:
/// it would evict the pods of nodes whose status nobody renews.
const LIGHT_CONTROLLERS: &str = "endpoint,endpointslice,endpointslicemirroring,namespace,garbagecollector,deployment,replicaset,replicationcontroller,statefulset,daemonset,job,cronjob,disruption";
/// Everything but what needs a cloud or hands out pod ranges, which are fixed here.
const FULL_CONTROLLERS: &str = "*,-nodeipam";

/// Where the control plane runs and what it runs with.
pub struct ControlPlane<'a> {
    /// The cluster.
    pub spec: &'a Spec,
    /// Its files.
    pub place: &'a Place,
    /// The namespace.
    pub netns: &'a Netns,
    /// The API server's address there.
    pub api: SocketAddr,
    /// Certificates.
    pub pki: &'a Pki,
    /// Where the programs are.
    pub programs: &'a Programs,
}

impl ControlPlane<'_> {
    /// Starts etcd and the API server, which waits for it by itself.
    pub fn start_api(&self, components: &Components) -> Result<()> {
        let data = self.place.file("etcd");
        let etcd = [
            // Nobody needs the data of a cluster that lost its power.
            "--unsafe-no-fsync".into(),
            option("data-dir", &data),
            format!("--listen-client-urls={ETCD}").into(),
            format!("--advertise-client-urls={ETCD}").into(),
            format!("--listen-peer-urls={ETCD_PEERS}").into(),
            format!("--initial-advertise-peer-urls={ETCD_PEERS}").into(),
            format!("--initial-cluster=default={ETCD_PEERS}").into(),
        ];
        components.start("etcd", self.recipe("etcd", etcd)?)?;
        components.start("kube-apiserver", self.recipe("kube-apiserver", self.api_flags())?)
    }

    /// Starts what works with the API server. It must be ready: the controllers give up otherwise.
    pub fn start_controllers(&self, components: &Components) -> Result<()> {
        let own = format!("https://{}", self.api);
        // Controllers without service accounts of their own need all rights themselves.
        let group = (self.spec.kind == Kind::Light).then_some("system:masters");
        let config =
            self.pki.kubeconfig("controller-manager", &own, "system:kube-controller-manager", group)?;
        let controllers = if self.spec.kind == Kind::Light { LIGHT_CONTROLLERS } else { FULL_CONTROLLERS };
        let flags = [
            option("kubeconfig", &config),
            option("authentication-kubeconfig", &config),
            option("authorization-kubeconfig", &config),
            format!("--controllers={controllers}").into(),
            "--use-service-account-credentials=true".into(),
            option("service-account-private-key-file", &self.pki.file("accounts.key")),
            option("root-ca-file", &self.pki.file("ca.crt")),
            option("requestheader-client-ca-file", &self.pki.file("front-proxy-ca.crt")),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
        ];
        let mut recipe = self.recipe("kube-controller-manager", flags)?;
        if self.spec.kind == Kind::Light {
            // Their controllers do not run, and nothing runs in pods.
            recipe.arguments.retain(|flag| flag != "--use-service-account-credentials=true");
        }
        components.start("kube-controller-manager", recipe)?;
        let config = self.pki.kubeconfig("scheduler", &own, "system:kube-scheduler", None)?;
        let flags = [
            option("kubeconfig", &config),
            option("authentication-kubeconfig", &config),
            option("authorization-kubeconfig", &config),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
        ];
        components.start("kube-scheduler", self.recipe("kube-scheduler", flags)?)
    }

    fn api_flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = vec![
            format!("--etcd-servers={ETCD}").into(),
            "--bind-address=0.0.0.0".into(),
            format!("--advertise-address={}", self.api.ip()).into(),
            format!("--secure-port={}", self.api.port()).into(),
            format!("--service-cluster-ip-range={}", self.spec.service_cidrs().join(",")).into(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--requestheader-allowed-names=front-proxy".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            "--enable-aggregator-routing=true".into(),
            "--allow-privileged=true".into(),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--endpoint-reconciler-type=lease".into(),
            "--profiling=false".into(),
        ];
        let files = [
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("client-ca-file", "ca.crt"),
            ("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
            ("kubelet-client-key", "apiserver-kubelet-client.key"),
            ("service-account-key-file", "accounts.pub"),
            ("service-account-signing-key-file", "accounts.key"),
            ("requestheader-client-ca-file", "front-proxy-ca.crt"),
            ("proxy-client-cert-file", "front-proxy.crt"),
            ("proxy-client-key-file", "front-proxy.key"),
        ];
        flags.extend(files.iter().map(|(name, file)| option(name, &self.pki.file(file))));
        if self.spec.kind == Kind::Full {
            flags.push(option("kubelet-certificate-authority", &self.pki.file("ca.crt")));
        }
        if self.spec.kind == Kind::Light {
            // Pods then need no service account to be admitted, so that a manifest with a new namespace loads in one go.
            flags.push("--disable-admission-plugins=ServiceAccount".into());
        }
        flags
    }

    fn recipe(&self, program: &str, flags: impl IntoIterator<Item = OsString>) -> Result<Recipe> {
        Ok(Recipe::new(Site::Cluster(self.netns.clone()), self.programs.find(program)?, flags))
    }
}

/// Waits until the API server says that it is ready.
pub async fn wait_ready(client: &Client, components: &Components) -> Result<()> {
    let begun = Instant::now();
    loop {
        components.check()?;
        let request = http::Request::get("/readyz").body(Vec::new()).context("ask for readiness")?;
        let Err(error) = client.request_text(request).await else { return Ok(()) };
        if begun.elapsed() > START {
            bail!(
                "the API server is not ready after {} s: {error}; its log ends:\n{}",
                START.as_secs(),
                components.tail("kube-apiserver")
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `--name=path`.
pub fn option(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}
