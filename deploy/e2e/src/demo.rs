//! The demonstration: three faults, asked about, mended and asked about again.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::manifests::Manifests;
use crate::stage::Stage;
use crate::world::{AllEars, Rendered};

const CLIENT: &str = "web/client";
const SERVICE: &str = "shop/api:80";
const ADDRESS: &str = "10.96.12.7:80";
/// The port of the documentation's examples; another if it is taken.
const PORT: u16 = 7443;

const DENY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

/// Runs the demonstration; with `keep`, waits for Ctrl-C before it removes everything.
pub fn run(keep: bool) -> Result<()> {
    let interrupted = interruption()?;
    let begun = Instant::now();
    say("A cluster of two nodes; Service shop/api selects app=my-app, its pod says app=my-application");
    let manifests = Manifests::read(&["selector.yaml"])?;
    let mut stage = start(manifests)?;

    attempt(&stage)?;
    ask(&stage)?;
    give_up_on(&interrupted)?;

    say("Mend it: the Service selects app=my-application");
    stage.edit("selector: {app: my-app}", "selector: {app: my-application}")?;
    attempt(&stage)?;
    ask(&stage)?;
    give_up_on(&interrupted)?;

    say("Second fault: the Service sends to targetPort 8080; the container listens on 80");
    stage.edit("targetPort: 80}", "targetPort: 8080}")?;
    attempt(&stage)?;
    ask(&stage)?;
    stage.edit("targetPort: 8080}", "targetPort: 80}")?;
    give_up_on(&interrupted)?;

    say("Third fault: a NetworkPolicy denies everything into namespace shop");
    stage.add("default-deny.yaml", DENY)?;
    attempt(&stage)?;
    ask(&stage)?;

    println!("\nThree faults asked about in {:.0} s.", begun.elapsed().as_secs_f64());
    if keep {
        hand_over(&mut stage);
        let _ = interrupted.recv();
    } else {
        println!("Keep it running and ask your own questions:\n    cargo xtask demo --keep");
        println!("and then, from another terminal:");
        print_calls(&stage);
    }
    Ok(())
}

/// Brings up stories by file name and waits for Ctrl-C.
pub fn up(stories: &[PathBuf]) -> Result<()> {
    let interrupted = interruption()?;
    let names: Vec<&str> = stories.iter().filter_map(|path| path.to_str()).collect();
    let mut stage = start(Manifests::read(&names)?)?;
    hand_over(&mut stage);
    let _ = interrupted.recv();
    Ok(())
}

fn start(manifests: Manifests) -> Result<Stage> {
    let world = Rendered::new("demo", &manifests).context("bring up the lab")?;
    Stage::set(Box::new(world), manifests.clone(), AllEars::new(), Some(PORT))
        .or_else(|error| {
            let port_taken = format!("{error:#}").contains("is taken");
            if port_taken { Stage::up("demo", manifests) } else { Err(error) }
        })
        .context("bring up the lab")
}

fn say(text: &str) {
    println!("\n=== {text}\n");
}

/// Connects for real.
fn attempt(stage: &Stage) -> Result<()> {
    let result = stage.connect(CLIENT, ADDRESS)?;
    println!("{CLIENT} connects to {ADDRESS}: {:?} after {} ms\n", result.outcome, result.took.as_millis());
    Ok(())
}

fn ask(stage: &Stage) -> Result<()> {
    println!("$ why-dropped {CLIENT} {SERVICE}");
    let begun = Instant::now();
    let printed = stage.ask_text(CLIENT, SERVICE)?;
    print!("{}{}", printed.stdout, printed.stderr);
    println!("(exit {}, {} ms)", printed.code.unwrap_or(-1), begun.elapsed().as_millis());
    Ok(())
}

fn hand_over(stage: &mut Stage) {
    println!("\nThe lab runs until Ctrl-C. Enter it:\n{}", stage.world().describe());
    println!("Ask, from another terminal:");
    print_calls(stage);
}

fn print_calls(stage: &Stage) {
    let address = stage.address();
    println!("    target/debug/why-dropped --collector http://{address} {CLIENT} {SERVICE}");
    println!("    target/debug/why-dropped --collector http://{address} drops");
    println!(
        "    grpcurl -plaintext -d '{{\"source\":\"{CLIENT}\",\"destination\":\"{SERVICE}\"}}' \\\n        {address} whydropped.v1.WhyDropped/Explain"
    );
}

/// Receives when Ctrl-C or SIGTERM comes, so that everything is removed in order. A handler and not a blocked signal:
/// children would inherit the mask and could not be ended.
fn interruption() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("take over Ctrl-C")?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn give_up_on(interrupted: &mpsc::Receiver<()>) -> Result<()> {
    match interrupted.try_recv() {
        Ok(()) => anyhow::bail!("interrupted"),
        Err(_) => Ok(()),
    }
}
