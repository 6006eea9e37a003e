//! Connections that a node remembers wrongly.

use anyhow::{Result, ensure};

use super::endpoints::{by_hand, nobody, slice};
use super::{Destination, Fault, How, Need, Probe, Source, Stage, Symptom};

/// Where the client connects from.
const CLIENT_PORT: u16 = 28_001;

pub const FAULTS: &[Fault] = &[Fault {
    name: "stale-connection",
    breaks: "the node remembers an attempt of the client from the same port, and with it a server that is gone",
    cause: "C7",
    probe: REPEATED,
    symptom: Symptom::Lost,
    needs: &[Need::TwoNodes],
    world: |stage| {
        by_hand(stage)?;
        // An attempt before there are rules would be remembered without a translation, and so would all after it.
        stage.until("the rules are there", |_| answers(stage))
    },
    inject: |stage| {
        let (node, client, server) =
            (stage.scene.client_node(), stage.address("client")?, stage.address("api")?);
        let nobody = nobody(stage)?;
        stage.apply(&slice(stage, nobody).of("api").object())?;
        stage.until("the rules name somebody who is not there", |_| {
            let answer = stage.answer();
            ensure!(answer.is_err(), "{answer:?} answers");
            Ok(())
        })?;
        // The attempt that showed that it works is remembered too.
        let forget = format!("conntrack -D -p tcp -s {client} --sport {CLIENT_PORT} >/dev/null 2>&1 || true");
        let forget = ["sh", "-c", &forget];
        stage.run(&node, &forget, &forget)?;
        let seen = REPEATED.attempt(stage.cluster, &stage.scene, Symptom::Silent.patience())?;
        ensure!(!seen.works(), "{seen}, to an address that nobody has");
        // What it was before, which is not a change any more.
        stage.create(&slice(stage, server).of("api").object())?;
        stage.until("others reach the server again", |_| answers(stage))
    },
    ..Fault::USUAL
}];

/// Repetitions are one connection to the connection tracking, which does not ask the rules again.
const REPEATED: Probe = Probe {
    from: Source::Pod("client"),
    to: Destination::Service("api", 80),
    how: How::TcpFrom(CLIENT_PORT),
};

fn answers(stage: &Stage<'_>) -> Result<()> {
    stage.answer().map(drop)
}
