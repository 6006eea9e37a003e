//! The cluster's name service: CoreDNS as a Deployment, behind Service `kube-system/kube-dns`.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::api::{Objects, Target, documents};
use crate::spec::Spec;

const MANIFEST: &str = include_str!("coredns.yaml");

/// Makes its objects.
pub async fn apply(objects: &Objects, spec: &Spec) -> Result<()> {
    for object in manifest(spec)? {
        objects.apply(&object).await?;
    }
    Ok(())
}

/// Whether it answers; the error says how far it is.
pub async fn ready(objects: &Objects) -> Result<()> {
    let target = Target::new("apps/v1", "Deployment", Some("kube-system"), "coredns");
    let object = objects.get(&target).await?.unwrap_or_default();
    let status = &object["status"];
    ensure!(status["readyReplicas"].as_u64().unwrap_or_default() > 0, "{target} has status {status}");
    Ok(())
}

fn manifest(spec: &Spec) -> Result<Vec<Value>> {
    let mut objects = documents(MANIFEST)?;
    for service in objects.iter_mut().filter(|object| object["kind"] == "Service") {
        service["spec"]["clusterIP"] = json!(spec.dns_service());
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::full::images::COREDNS;

    #[test]
    fn the_manifest_names_the_image_and_the_address_that_there_are() {
        let objects = manifest(&Spec::full("t")).expect("a manifest");
        let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).expect("an object");
        assert_eq!(of("Service")["spec"]["clusterIP"], "10.96.0.10");
        assert_eq!(of("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"], COREDNS);
    }
}
