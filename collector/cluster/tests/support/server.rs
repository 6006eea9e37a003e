//! A throw-away API server with its etcd, on loopback, for one test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

const ADMIN_TOKEN: &str = "admin-of-a-throw-away-server";
const READER_TOKEN: &str = "reader-of-a-throw-away-server";
const START_BOUND: Duration = Duration::from_secs(90);

/// The running processes; they end with it.
pub struct Server {
    dir: tempfile::TempDir,
    apiserver: PathBuf,
    port: u16,
    etcd_port: u16,
    etcd: Child,
    api: Option<Child>,
    admin: Option<Admin>,
}

/// Requests with all rights.
#[derive(Clone)]
pub struct Admin(Client);

/// What the API server says to a request.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The object, or the API's `Status` that says why not.
    pub body: Value,
    /// Texts of its `Warning` headers.
    pub warnings: Vec<String>,
}

impl Server {
    /// Starts one; `None`, told on stderr, where the programs are missing and may be.
    pub async fn start() -> Option<Self> {
        let (Some(etcd), Some(apiserver)) = (program("etcd"), program("kube-apiserver")) else {
            // Not a failure in CI: the machines that run it have no API server unless somebody built one.
            let required = std::env::var_os("WHY_DROPPED_REQUIRE_ALL").is_some();
            assert!(!required, "etcd and kube-apiserver are needed, in $KUBEBUILDER_ASSETS or on the PATH");
            eprintln!(
                "skipped: objects of a real API server: no etcd and kube-apiserver in $KUBEBUILDER_ASSETS or on the PATH"
            );
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [port, etcd_port, peer_port] = free_ports();
        let client_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let etcd = spawn(
            Command::new(etcd)
                .arg("--data-dir")
                .arg(dir.path().join("etcd"))
                .arg("--unsafe-no-fsync")
                .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
                .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &format!("default={peer_url}")]),
            &dir.path().join("etcd.log"),
        );
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(dir.path().join("accounts.key"), key.serialize_pem()).unwrap();
        fs::write(dir.path().join("accounts.pub"), key.public_key_pem()).unwrap();
        let tokens = format!("{ADMIN_TOKEN},admin,1,system:masters\n{READER_TOKEN},reader,2,readers\n");
        fs::write(dir.path().join("tokens.csv"), tokens).unwrap();
        let mut server = Self { dir, apiserver, port, etcd_port, etcd, api: None, admin: None };
        server.write_kubeconfig("admin", ADMIN_TOKEN);
        server.write_kubeconfig("reader", READER_TOKEN);
        server.start_api().await;
        Some(server)
    }

    /// Starts the API server, anew after [`Server::stop_api`], and waits until it is ready.
    pub async fn start_api(&mut self) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        self.api = Some(spawn(
            Command::new(&self.apiserver)
                .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_port)])
                .args(["--bind-address", "127.0.0.1", "--secure-port", &self.port.to_string()])
                .args(["--cert-dir", &path("certs"), "--token-auth-file", &path("tokens.csv")])
                .args(["--service-account-issuer", "https://kubernetes.default.svc"])
                .args(["--service-account-key-file", &path("accounts.pub")])
                .args(["--service-account-signing-key-file", &path("accounts.key")])
                .args(["--service-cluster-ip-range", "10.96.0.0/16,fd00:10:96::/112"])
                .args(["--authorization-mode", "RBAC"])
                .args(["--endpoint-reconciler-type", "none"])
                .arg("--disable-admission-plugins=ServiceAccount"),
            &self.dir.path().join("kube-apiserver.log"),
        ));
        let config = Kubeconfig::read_from(self.dir.path().join("admin.kubeconfig")).unwrap();
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let ready = async {
            let mut looks = tokio::time::interval(Duration::from_millis(100));
            loop {
                looks.tick().await;
                if client.request_text(Request::get("/readyz").body(Vec::new()).unwrap()).await.is_ok() {
                    return;
                }
            }
        };
        if tokio::time::timeout(START_BOUND, ready).await.is_err() {
            let log = fs::read_to_string(self.dir.path().join("kube-apiserver.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            panic!(
                "kube-apiserver is not ready within {START_BOUND:?}; its last words, newest first:\n{}",
                tail.join("\n")
            );
        }
        self.admin = Some(Admin(client));
    }

    /// Ends the API server; what it stored stays.
    pub fn stop_api(&mut self) {
        end(self.api.take());
    }

    /// Requests with all rights.
    pub fn admin(&self) -> Admin {
        self.admin.clone().expect("the API server was started")
    }

    /// The kubeconfig of an account without any right but those granted.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("reader.kubeconfig")
    }

    /// The kubeconfig of the account with all rights.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// Lets that account list and watch.
    pub async fn grant(&self, name: &str, group: &str, resources: &[&str]) {
        let rules = json!([{"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]}]);
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.admin().post(&format!("{rbac}/clusterroles"), role).await;
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
        });
        self.admin().post(&format!("{rbac}/clusterrolebindings"), binding).await;
    }

    fn write_kubeconfig(&self, name: &str, token: &str) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        fs::write(self.dir.path().join(format!("{name}.kubeconfig")), config.to_string()).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(self.api.take());
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

impl Admin {
    /// Creates an object.
    pub async fn post(&self, path: &str, object: Value) {
        self.send(Request::post(path), "application/json", &object).await;
    }

    /// Merges a patch into an object.
    pub async fn patch(&self, path: &str, patch: Value) {
        self.send(Request::patch(path), "application/merge-patch+json", &patch).await;
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) {
        self.send(Request::delete(path), "application/json", &json!({})).await;
    }

    /// Sends a body as it stands and takes whatever comes back.
    pub async fn ask(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("accept", "application/json")
            .body(Body::from(body.as_bytes().to_vec()))
            .expect("a request");
        let response = self.0.send(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let status = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings =
            warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).replace("\\\"", "\"")).collect();
        let body = response.into_body().collect_bytes().await.expect("a body");
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&body)}));
        Answer { status, body, warnings }
    }

    async fn send(&self, request: http::request::Builder, content_type: &str, body: &Value) {
        let request =
            request.header("content-type", content_type).body(body.to_string().into_bytes()).unwrap();
        let line = format!("{} {}", request.method(), request.uri());
        if let Err(error) = self.0.request_text(request).await {
            panic!("{line}: {error}");
        }
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(log).expect("a log file");
    let out = log.try_clone().expect("a second handle");
    command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().expect("the program starts")
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A program of the Kubernetes that is tested against.
pub fn program(name: &str) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = assets.into_iter().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    places.map(|place| place.join(name)).find(|candidate| candidate.is_file())
}

/// Ports that were free a moment ago, held together so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    std::array::from_fn(|index| held[index].local_addr().expect("a local address").port())
}
