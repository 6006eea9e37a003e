//! The product as it runs in a cluster: the collector off loopback, behind TLS, with agents that dial it over the network.

#![expect(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::process::{Process, binary};
use e2e::stage::{can_run, key};
use e2e::{Manifests, Printed, eventually, program};
use model::walk::Backend;
use netlab::{Lab, Listen};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(15);

/// Writes a certificate authority and a certificate for `address` signed by it.
fn certificates(directory: &Path, address: &str) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "authority of this test");
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![address.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(directory.join("ca.pem"), ca_certificate.pem()).unwrap();
    fs::write(directory.join("tls.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
}

fn run(command: &mut Command) -> Printed {
    command.output().unwrap().into()
}

#[test]
fn agents_and_questions_reach_the_collector_over_tls() {
    if !can_run("tls") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("objects");
    fs::create_dir(&files).unwrap();
    let objects = Manifests::read(&["healthy.yaml"]).unwrap().write(&files).unwrap();
    let lab = Lab::from_objects("tls", &objects).unwrap();
    program::everything(&lab, &objects, Backend::IptablesNft).unwrap();
    for pod in ["shop/api-0", "shop/api-1"] {
        lab.get_pod(&key(pod).unwrap()).unwrap().listen(Listen::on(8080, pod)).unwrap();
    }
    let address = lab.control_address().to_string();
    certificates(directory.path(), &address);
    let ca = directory.path().join("ca.pem");
    let url = format!("https://{address}:7443");

    let mut collector = lab.underlay().command(binary("why-dropped-collector").unwrap());
    collector
        .arg(format!("--listen={address}:7443"))
        .arg("--tls-cert")
        .arg(directory.path().join("tls.pem"))
        .arg("--tls-key")
        .arg(directory.path().join("tls.key"))
        .arg("--objects")
        .arg(&files)
        .arg("--data-dir")
        .arg(directory.path().join("store"));
    let _collector = Process::start("collector", collector, &directory.path().join("collector.log")).unwrap();
    let mut agents = Vec::new();
    for node in lab.nodes() {
        let name = &node.spec.name;
        let mut agent = node.netns.command(binary("why-dropped-agent").unwrap());
        agent
            .args(["--collector", &url, "--node", name, "--ca-file"])
            .arg(&ca)
            .arg("--state-dir")
            .arg(directory.path());
        agents.push(Process::start(name, agent, &directory.path().join(format!("{name}.log"))).unwrap());
    }

    let ask = |ca: &Path, args: &[&str]| {
        let mut command = lab.underlay().command(binary("why-dropped").unwrap());
        run(command.args(["--collector", &url, "--ca-file"]).arg(ca).args(args))
    };
    let answer = eventually("both agents are connected and the path is seen", BOUND, || {
        let printed = ask(&ca, &["-o", "json", "web/client", "shop/api:80"]);
        let answer: Value =
            serde_json::from_str(&printed.stdout).map_err(|_| anyhow::anyhow!(printed.stderr))?;
        anyhow::ensure!(answer["verdict"] == "DELIVERED", "{answer:#}");
        Ok(answer)
    })
    .unwrap();
    assert_eq!(answer["basis"], "PROGRAMMED");

    let strangers = tempfile::tempdir().unwrap();
    certificates(strangers.path(), &address);
    let refused = ask(&strangers.path().join("ca.pem"), &["web/client", "shop/api:80"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
}
