//! Keys, certificates and kubeconfigs of one cluster. All are made anew for each and die with its directory.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

use crate::place::Place;
use crate::spec::NodePlan;

/// The cluster's authority, and where its files are.
pub struct Pki {
    directory: PathBuf,
    kubeconfigs: PathBuf,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A certificate with its key, as PEM.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Pki {
    /// Makes the authority, the servers' certificates and the keys of service accounts.
    ///
    /// `names` are the addresses and names by which the API server is called.
    pub fn new(place: &Place, names: &[String]) -> Result<Self> {
        let (ca, ca_pem) = authority("authority of the cluster")?;
        // The aggregation layer asks for an authority of its own (apiserver-aggregation: "Kubernetes Apiserver Client Authentication").
        let (front, front_pem) = authority("authority of the front proxy")?;
        let pki = Self { directory: place.file("pki"), kubeconfigs: place.file("kubeconfigs"), ca, ca_pem };
        pki.write("ca.crt", &pki.ca_pem)?;
        pki.write("front-proxy-ca.crt", &front_pem)?;
        let server = identity(&pki.ca, "kube-apiserver", None, names, ExtendedKeyUsagePurpose::ServerAuth)?;
        pki.write_identity("apiserver", &server)?;
        let front_proxy = identity(&front, "front-proxy", None, &[], ExtendedKeyUsagePurpose::ClientAuth)?;
        pki.write_identity("front-proxy", &front_proxy)?;
        let to_kubelets = pki.client("kube-apiserver-kubelet-client", Some("system:masters"))?;
        pki.write_identity("apiserver-kubelet-client", &to_kubelets)?;
        let accounts = KeyPair::generate().context("make the key of service accounts")?;
        pki.write("accounts.key", &accounts.serialize_pem())?;
        pki.write("accounts.pub", &accounts.public_key_pem())?;
        Ok(pki)
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A client's certificate: the common name is the user, the organisation the group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        identity(&self.ca, user, group, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Writes a kubeconfig for a program of the cluster.
    pub fn kubeconfig(&self, name: &str, server: &str, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let path = self.kubeconfigs.join(name);
        self.kubeconfig_at(&path, name, server, &self.client(user, group)?)?;
        Ok(path)
    }

    /// Writes a kubeconfig whose cluster and context are called `name`.
    pub fn kubeconfig_at(&self, path: &Path, name: &str, server: &str, identity: &Identity) -> Result<()> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": name, "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(&self.ca_pem) } }],
            "users": [{ "name": name, "user": {
                "client-certificate-data": STANDARD.encode(&identity.certificate),
                "client-key-data": STANDARD.encode(&identity.key),
            } }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
            "current-context": name,
        });
        private(path, &format!("{config:#}\n"))
    }

    /// Writes what a kubelet identifies itself by, as client and as server, and whom it trusts, into its node's directory.
    pub fn kubelet(&self, own: &Path, plan: &NodePlan, api: &str) -> Result<()> {
        let user = format!("system:node:{}", plan.name);
        let client = self.client(&user, Some("system:nodes"))?;
        self.kubeconfig_at(&own.join("kubelet.kubeconfig"), &plan.name, api, &client)?;
        let addresses = std::iter::once(IpAddr::V4(plan.address)).chain(plan.address6.map(IpAddr::V6));
        let names: Vec<String> =
            addresses.map(|address| address.to_string()).chain([plan.name.clone()]).collect();
        let server =
            identity(&self.ca, &user, Some("system:nodes"), &names, ExtendedKeyUsagePurpose::ServerAuth)?;
        private(&own.join("kubelet.crt"), &server.certificate)?;
        private(&own.join("kubelet.key"), &server.key)?;
        private(&own.join("ca.crt"), &self.ca_pem)
    }

    fn write_identity(&self, name: &str, identity: &Identity) -> Result<()> {
        self.write(&format!("{name}.crt"), &identity.certificate)?;
        self.write(&format!("{name}.key"), &identity.key)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        private(&self.file(name), text)
    }
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate().context("make a key")?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).with_context(|| format!("sign the {name}"))?;
    Ok((Issuer::new(params, key), certificate.pem()))
}

fn identity(
    issuer: &Issuer<'static, KeyPair>,
    user: &str,
    group: Option<&str>,
    names: &[String],
    purpose: ExtendedKeyUsagePurpose,
) -> Result<Identity> {
    let key = KeyPair::generate().context("make a key")?;
    let mut params =
        CertificateParams::new(names.to_vec()).with_context(|| format!("make the certificate of {user}"))?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    let certificate =
        params.signed_by(&key, issuer).with_context(|| format!("sign the certificate of {user}"))?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Keys are in it, so only the owner may read it.
fn private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
