//! `why-dropped walk`: what the saved rules of a node do to a packet, offline.

pub mod directory;
mod steps;

use std::path::Path;

use model::time::Timestamp;
use model::walk::{Outcome, RulesStamp, Walk};
use proto::lines::packet::Asked;
use proto::lines::walk::Told;
use rules::Host;

use crate::args::{Args, Format, From, WalkArgs};
use crate::batch;
use crate::error::CliError;
use crate::output;

/// A node's rules, ready to be walked.
struct Node {
    host: Host,
    own: Vec<std::net::IpAddr>,
}

impl Node {
    fn read(path: &Path) -> Result<Self, CliError> {
        let mut state = directory::read(path)?;
        let own = state.addresses.iter().map(|address| address.address.addr()).collect();
        Ok(Self { host: Host::taking(&mut state), own })
    }

    fn walk(&self, asked: &Asked) -> Result<Walk, String> {
        let packet = asked.packet(&self.own)?;
        // Saved rules have no history here: there is nothing to compare them with.
        let nothing = Timestamp(0);
        let fingerprint = self.host.fingerprint();
        Ok(self.host.walk(&packet, RulesStamp { read_at: nothing, fingerprint, unchanged_since: nothing }))
    }
}

/// Walks one packet, or one for each line.
pub fn run(args: &Args, walk: &WalkArgs) -> Result<u8, CliError> {
    if walk.batch.is_none() && (walk.src.is_none() || walk.dst.is_none()) {
        let what = "one packet (--src IP --dst IP:PORT) or a file of packets (--batch FILE) is needed";
        return Err(CliError::Usage { what: what.to_owned() });
    }
    let node = Node::read(&walk.node)?;
    if let Some(path) = &walk.batch {
        return batch::run(path, |asked: Asked| node.walk(&asked).map(|walk| Told::of(&walk)));
    }
    let asked = asked(walk);
    let done = node.walk(&asked).map_err(|what| CliError::Usage { what })?;
    output::print(&match args.output {
        Format::Json => serde_json::to_string_pretty(&Told::of(&done)).unwrap_or_default() + "\n",
        Format::Text => steps::render(&done, output::look(args)),
    })?;
    Ok(exit_code(done.outcome))
}

/// The packet of the flags.
fn asked(walk: &WalkArgs) -> Asked {
    let origin = walk.origin.map(|origin| match origin {
        From::Pod => "pod",
        From::Node => "node",
        From::External => "external",
    });
    Asked {
        origin: origin.map(str::to_owned),
        src: walk.src.clone().unwrap_or_default(),
        dst: walk.dst.clone().unwrap_or_default(),
        port: walk.port,
        proto: walk.proto.clone(),
        in_interface: walk.in_interface.clone(),
    }
}

/// 0 passes, 1 does not, 3 not known.
const fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Forwarded | Outcome::Local => 0,
        Outcome::Dropped | Outcome::Rejected => 1,
        Outcome::Unknown => 3,
    }
}
