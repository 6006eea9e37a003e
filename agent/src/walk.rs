//! `why-dropped-agent walk`: what the rules of the namespace it runs in do to a packet, now.
//!
//! For a person on the node, without a collector. It reads once, walks and ends; the running agent keeps what it read, see
//! [`crate::walks`].

mod text;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use model::walk::{Outcome, RulesStamp, Walk};
use proto::lines::packet::Asked;
use proto::lines::walk::Told;
use proto::lines::{Broken, answer};
use rules::Host;

use crate::config::Output;

/// A read that takes longer says how long it has been going on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which packets.
#[derive(Clone, Debug, Args)]
pub struct WalkArgs {
    /// One packet a line, as JSON; `-` reads standard input.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["origin", "src", "dst", "port", "proto", "in_interface"]
    )]
    pub batch: Option<PathBuf>,
    /// Who sends it; needed unless it comes from an address of this namespace.
    #[arg(long, value_enum)]
    pub origin: Option<From>,
    /// Source address.
    #[arg(long, value_name = "IP")]
    pub src: Option<String>,
    /// Destination address, as the sender writes it.
    #[arg(long, value_name = "IP[:PORT]")]
    pub dst: Option<String>,
    /// Destination port.
    #[arg(long)]
    pub port: Option<u16>,
    /// tcp, udp or sctp; tcp if it is not given.
    #[arg(long)]
    pub proto: Option<String>,
    /// The interface it comes in by, if the routes do not tell.
    #[arg(long, value_name = "NAME")]
    pub in_interface: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// A pod of the node.
    Pod,
    /// The node itself.
    Node,
    /// Another machine, pods of other nodes included.
    External,
}

/// The rules as they are now.
struct Now {
    host: Host,
    own: Vec<IpAddr>,
    stamp: RulesStamp,
}

/// Walks one packet or one for each line. Exit code: 0 passes, 1 dropped or rejected, 3 not known; of a batch 0, or 2 if a
/// line could not be understood.
pub fn run(args: &WalkArgs) -> Result<u8> {
    if let Some(path) = &args.batch {
        return batch(path);
    }
    let asked = args.asked()?;
    let walk = Now::read()?.walk(&asked).map_err(anyhow::Error::msg)?;
    let shown = match args.output {
        Output::Text => text::render(&walk),
        Output::Json => {
            serde_json::to_string_pretty(&Told::of(&walk)).context("write the walk as JSON")? + "\n"
        }
    };
    match io::stdout().write_all(shown.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("write the answer");
        }
        _ => {}
    }
    Ok(match walk.outcome {
        Outcome::Forwarded | Outcome::Local => 0,
        Outcome::Dropped | Outcome::Rejected => 1,
        Outcome::Unknown => 3,
    })
}

fn batch(path: &Path) -> Result<u8> {
    let input: Box<dyn io::BufRead> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| format!("read {}", path.display()))?))
    };
    let now = Now::read()?;
    let out = BufWriter::new(io::stdout().lock());
    match answer(input, out, |asked: Asked| now.walk(&asked).map(|walk| Told::of(&walk))) {
        Ok(all) => Ok(if all { 0 } else { 2 }),
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(error).context(path.display().to_string()),
    }
}

impl WalkArgs {
    fn asked(&self) -> Result<Asked> {
        ensure!(
            self.src.is_some() && self.dst.is_some(),
            "one packet (--src IP --dst IP:PORT) or a file of packets (--batch FILE) is needed"
        );
        let origin = self.origin.map(|origin| match origin {
            From::Pod => "pod",
            From::Node => "node",
            From::External => "external",
        });
        Ok(Asked {
            origin: origin.map(str::to_owned),
            src: self.src.clone().unwrap_or_default(),
            dst: self.dst.clone().unwrap_or_default(),
            port: self.port,
            proto: self.proto.clone(),
            in_interface: self.in_interface.clone(),
        })
    }
}

impl Now {
    fn read() -> Result<Self> {
        let progress = Progress::start();
        let namespaces = kernel::Namespaces::open().context("look at the own network namespace")?;
        let kernel::StampedState { mut state, nftables, .. } = kernel::read_state_stamped(namespaces.own());
        let own = state.addresses.iter().map(|address| address.address.addr()).collect();
        let read_at = state.read_at;
        let host = crate::walks::host(&mut state, nftables);
        drop(progress);
        let stamp = RulesStamp { read_at, fingerprint: host.fingerprint(), unchanged_since: read_at };
        Ok(Self { host, own, stamp })
    }

    fn walk(&self, asked: &Asked) -> Result<Walk, String> {
        Ok(self.host.walk(&asked.packet(&self.own)?, self.stamp.clone()))
    }
}

/// Says on a terminal that a long read goes on, until it is dropped.
struct Progress {
    end: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    fn start() -> Self {
        if !io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = channel();
        let begun = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut said = false;
            while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                said = true;
                // A closed stderr leaves nobody to tell.
                let _ = write!(io::stderr(), "\rreading the rules: {} s", begun.elapsed().as_secs());
            }
            if said {
                let _ = writeln!(io::stderr());
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It only prints; if it panicked there is nothing to do about it.
            let _ = thread.join();
        }
    }
}
