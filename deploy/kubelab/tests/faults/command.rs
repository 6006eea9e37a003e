//! The command: what it lists, what it refuses, and that one process undoes what another did.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use kubelab::Cluster;
use kubelab::api::Target;
use kubelab::control::{self, Request};
use serde_json::Value;

use crate::support::program::{kubelab, run, succeed};

pub fn check(cluster: &Cluster) -> Result<()> {
    let name = cluster.place().name().to_owned();
    let fault = |arguments: &[&str]| run(&[&["fault", "--name", &name], arguments].concat());
    let list = |cluster: &str| -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&succeed(&["fault", "--list", "-o", "json", "--name", cluster])?)?)
    };
    let in_force = || -> Result<Vec<String>> {
        let all = list(&name)?.into_iter().filter(|fault| fault["inForce"] == true);
        Ok(all.map(|fault| fault["name"].as_str().unwrap_or_default().to_owned()).collect())
    };

    // Without a cluster as well.
    ensure!(list("no-such-cluster")?.len() >= 25);
    let text = succeed(&["fault"])?;
    for word in ["target-port", "S5", "why-dropped fault-target-port/client fault-target-port/api:80"] {
        ensure!(text.contains(word), "no `{word}` in the list:\n{text}");
    }

    let (code, _, stderr) = fault(&["target-prot"])?;
    ensure!(code == 2 && stderr.contains("near are `target-port`"), "{code}: {stderr}");
    let (code, stdout, _) = fault(&["target-port", "--undo"])?;
    ensure!(code == 0 && stdout.contains("is not in force"), "{code}: {stdout}");
    ensure!(in_force()?.is_empty());

    let (code, stdout, stderr) = fault(&["target-port"])?;
    ensure!(code == 0, "{code}: {stderr}");
    for word in ["connected in", "refused after", "expect  S5", "why-dropped fault-target-port/client"] {
        ensure!(stdout.contains(word), "no `{word}` in:\n{stdout}");
    }
    let (code, _, stderr) = fault(&["target-port"])?;
    ensure!(code == 2 && stderr.contains("is in force already"), "{code}: {stderr}");
    ensure!(in_force()? == ["target-port"]);

    let (code, stdout, _) = fault(&["target-port", "--undo", "--keep-world"])?;
    ensure!(code == 0 && stdout.contains("is undone: connected in"), "{code}: {stdout}");
    let service = Target::new("v1", "Service", Some("fault-target-port"), "api");
    ensure!(cluster.get(&service)?.is_some(), "the world was not kept");

    // In the world that was kept, beside another; all are undone at once.
    for name in ["target-port", "listener-gone"] {
        let (code, _, stderr) = fault(&[name])?;
        ensure!(code == 0, "{name}: {code}: {stderr}");
    }
    let (code, stdout, stderr) = fault(&["--undo"])?;
    ensure!(code == 0 && stdout.matches("is undone").count() == 2, "{code}: {stdout}{stderr}");
    ensure!(cluster.get(&service)?.is_none(), "the world is still there");
    ensure!(in_force()?.is_empty());
    let (code, stdout, _) = fault(&["--undo"])?;
    ensure!(code == 0 && stdout.contains("no fault is in force"), "{code}: {stdout}");
    killed(cluster, &name)
}

/// What a command did that was killed is undone as well, wherever it was.
fn killed(cluster: &Cluster, name: &str) -> Result<()> {
    let namespace = Target::new("v1", "Namespace", None, "fault-proxy-paused");
    let pod = Target::new("v1", "Pod", Some("fault-proxy-paused"), "api-2");
    for last in [&namespace, &pod] {
        let mut child = kubelab(&["fault", "--name", name, "proxy-paused"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubelab fault")?;
        let seen = cluster.wait_for(&format!("it has made {last}"), |cluster| match cluster.get(last)? {
            Some(object) if object["status"]["phase"] != "Terminating" => Ok(()),
            other => bail!("there is {}", other.unwrap_or_default()),
        });
        // By its process number alone, and waited for on every path.
        child.kill().and_then(|()| child.wait()).context("kill kubelab fault")?;
        seen?;
        let (code, _, stderr) = run(&["fault", "--name", name, "proxy-paused"])?;
        ensure!(code == 2 && stderr.contains("or was begun"), "{code}: {stderr}");
        let (code, stdout, stderr) = run(&["fault", "--name", name, "--undo"])?;
        ensure!(code == 0 && stdout.contains("`proxy-paused` is undone"), "{code}: {stdout}{stderr}");
        let states = control::ask(cluster.place(), &Request::Status)?;
        let proxy = states.get("kube-proxy@node-1").map(|status| format!("{status:?}"));
        ensure!(proxy.as_ref().is_some_and(|status| status.contains("Running")), "kube-proxy: {proxy:?}");
    }
    Ok(())
}
