//! The command line as typed. Only options that do something are declared.

mod policy;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

pub use policy::{CheckArgs, DiffArgs, GroupBy, MatrixArgs, PolicyArgs, PolicyCommand};

/// Explains why a connection in a Kubernetes cluster fails: one sentence, the proof, and what to change.
#[derive(Debug, Parser)]
#[command(
    name = "why-dropped",
    version,
    override_usage = "why-dropped [OPTIONS] <SRC> <DST>\n       why-dropped [OPTIONS] <COMMAND>",
    after_help = AFTER_HELP
)]
pub struct Args {
    /// Who connects.
    #[arg(
        value_name = "SRC",
        help = "Who connects: [NAMESPACE/][KIND/]NAME, an IP address, node/NAME, or `any`"
    )]
    pub source: Option<String>,

    /// What is connected to.
    #[arg(
        value_name = "DST",
        help = "What is connected to: like SRC, or a DNS name; with :PORT[/tcp|udp|sctp]"
    )]
    pub destination: Option<String>,

    #[command(subcommand)]
    pub command: Option<Command>,

    /// Namespace of a SRC without one; for `drops`: of either end
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,

    /// How the answer is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// How far to look back
    #[arg(long, global = true, value_name = "10m", value_parser = duration)]
    pub since: Option<Duration>,

    /// The node by which an external client enters: node/NAME
    #[arg(long, value_name = "node/NAME")]
    pub via: Option<String>,

    /// How long the answer may take
    #[arg(long, global = true, value_name = "5s", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Answer from these YAML or JSON files and directories alone; `-` reads standard input
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub objects: Vec<PathBuf>,

    /// The collector to ask
    #[arg(long, global = true, value_name = "URL", env = "WHY_DROPPED_COLLECTOR", hide_env_values = true)]
    pub collector: Option<String>,

    /// Token for the collector
    #[arg(long, global = true, env = "WHY_DROPPED_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Certificate authority that signed the collector's certificate, as PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Without --objects and --collector: this kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Without --objects and --collector: this context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,

    /// Print everything that was looked at
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

const AFTER_HELP: &str = "\
Exit status: 0 delivered, 1 not or not everywhere, 2 usage, input or transport error, 3 inconclusive.

The answer comes from --objects, else from the collector at --collector or WHY_DROPPED_COLLECTOR, else from the
objects that the API server of the kubeconfig has.

A SRC that is named like a command is written with its namespace or kind: default/drops, pod/nodes.

  why-dropped web/client shop/api:80
  why-dropped --objects manifests/ web/client shop/api:80";

/// Everything else than explaining a connection.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recent drops, with names, rules and likely causes
    Drops(DropsArgs),
    /// The agents, and what each can see
    Nodes,
    /// What a node's saved rules do to a packet, step by step
    Walk(WalkArgs),
    /// Where a node's saved rules differ from what the Services among objects want
    Audit(AuditArgs),
    /// What the policies among objects say of a connection, or of one a line; who can reach whom; what a change does
    Policy(PolicyArgs),
    /// Whether policies allow and deny what a file expects, for CI
    Check(CheckArgs),
    /// All causes this program knows
    Causes,
    /// What one cause is, how it looks and what to do about it
    Explain {
        /// Id or slug: S3, selector-matches-nothing
        id: String,
    },
}

/// Which drops. What is not given does not limit.
#[derive(Debug, clap::Args)]
pub struct DropsArgs {
    /// Go on printing as they come
    #[arg(long)]
    pub watch: bool,

    /// Made on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// From or to this pod
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub pod: Option<String>,

    /// To this Service
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub service: Option<String>,

    /// With this drop reason of the kernel
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,

    /// With this likely cause: id or slug
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<String>,
}

/// Which objects, and which node's rules.
#[derive(Debug, clap::Args)]
#[command(after_help = AUDIT_HELP)]
pub struct AuditArgs {
    /// YAML or JSON files and directories; `-` reads standard input
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub objects: Vec<PathBuf>,

    /// Directory with what standard commands print on the node: `why-dropped walk --help` lists the files
    #[arg(long, value_name = "DIR")]
    pub node: PathBuf,

    /// The node's name in Kubernetes; otherwise the node among the objects that has one of the directory's addresses
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

const AUDIT_HELP: &str = "\
Every address of every Service is walked through the rules: addresses that they do not know, other endpoints than those of the
EndpointSlices, addresses that they refuse, and addresses that no Service has. Exit status: 0 nothing differs, 1 something
does, 3 nothing could be compared, 2 any other error.

  kubectl get services,endpointslices,nodes,pods -A -o yaml > objects.yaml
  why-dropped audit --objects objects.yaml --node saved/node-1";

/// Which node's rules, and which packets.
#[derive(Debug, clap::Args)]
#[command(after_help = WALK_HELP)]
pub struct WalkArgs {
    /// Directory with what standard commands print on the node: see below
    #[arg(long, value_name = "DIR")]
    pub node: PathBuf,

    /// One packet a line, as JSON; `-` reads standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["origin", "src", "dst", "port", "proto", "in_interface"]
    )]
    pub batch: Option<PathBuf>,

    /// Who sends it; needed unless it comes from an address of the node
    #[arg(long, value_enum)]
    pub origin: Option<From>,

    /// Source address
    #[arg(long, value_name = "IP")]
    pub src: Option<String>,

    /// Destination address, as the sender writes it
    #[arg(long, value_name = "IP[:PORT]")]
    pub dst: Option<String>,

    /// Destination port
    #[arg(long)]
    pub port: Option<u16>,

    /// tcp, udp or sctp; tcp if it is not given
    #[arg(long)]
    pub proto: Option<String>,

    /// The interface it comes in by, if the routes do not tell
    #[arg(long, value_name = "NAME")]
    pub in_interface: Option<String>,
}

const WALK_HELP: &str = "\
DIR holds files, each what a command prints and each optional:
  iptables-save, ip6tables-save            (also iptables-legacy-save, iptables-nft-save …)
  nft.json                                 nft -j -a list ruleset
  ipset-save, ipvsadm-save                 ipset save, ipvsadm -Sn
  links.json, addresses.json               ip -j -d link, ip -j addr
  routes.json, routes6.json                ip -j [-6] route show table all
  rules.json, rules6.json                  ip -j [-6] rule
  sysctls                                  sysctl -a

A batch has a line like
  {\"id\":1,\"origin\":\"pod\",\"src\":\"10.244.1.9\",\"dst\":\"10.96.12.7\",\"port\":80,\"proto\":\"tcp\"}
for each packet and prints one for each line. Exit status: 0 passes, 1 dropped or rejected, 3 not known; of a batch: 0, or 2
if a line could not be understood. 2 is any other error.

  why-dropped walk --node saved/node-1 --origin pod --src 10.244.1.9 --dst 10.96.12.7:80
  why-dropped walk --node saved/node-1 --batch packets.jsonl";

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// A pod of the node
    Pod,
    /// The node itself
    Node,
    /// Another machine, pods of other nodes included
    External,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also into pipes and files
    Always,
    /// Never
    Never,
}

impl Args {
    /// What was typed, with SRC and DST found where they stand last behind `--objects PATH…`.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut args = Self::try_parse_from(words)?;
        if args.command.is_some() {
            return Ok(args);
        }
        let missing = usize::from(args.source.is_none()) + usize::from(args.destination.is_none());
        if missing > 0 && args.objects.len() > missing {
            for path in args.objects.split_off(args.objects.len() - missing) {
                let word = path.to_string_lossy().into_owned();
                let place = if args.source.is_none() { &mut args.source } else { &mut args.destination };
                *place = Some(word);
            }
        }
        if args.source.is_none() || args.destination.is_none() {
            let words = "SRC and DST are needed, like `why-dropped web/client shop/api:80`";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, words));
        }
        Ok(args)
    }
}

fn duration(text: &str) -> Result<Duration, proto::duration::DurationError> {
    proto::duration::parse(text)
}

/// A span as the wire takes it.
pub fn wire(span: Option<Duration>) -> String {
    span.map(|span| format!("{}ms", span.as_millis())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Args, clap::Error> {
        Args::read(words.split(' ').map(OsString::from))
    }

    fn ends(args: &Args) -> (&str, &str) {
        (args.source.as_deref().unwrap_or_default(), args.destination.as_deref().unwrap_or_default())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_question_needs_no_command() {
        let args = read("why-dropped -n web client shop/api:80 -v").expect("parses");
        assert_eq!(ends(&args), ("client", "shop/api:80"));
        assert!(args.command.is_none() && args.verbose);
    }

    #[test]
    fn objects_may_stand_anywhere() {
        for words in [
            "why-dropped a/b c/d:1 --objects x.yaml y",
            "why-dropped --objects x.yaml y a/b c/d:1",
            "why-dropped a/b --objects x.yaml y c/d:1",
            "why-dropped --objects x.yaml y -o json a/b c/d:1",
            "why-dropped --objects x.yaml --objects y -- a/b c/d:1",
        ] {
            let args = read(words).expect(words);
            assert_eq!(args.objects, [PathBuf::from("x.yaml"), PathBuf::from("y")], "{words}");
            assert_eq!(ends(&args), ("a/b", "c/d:1"), "{words}");
        }
    }

    #[test]
    fn commands_take_the_common_options() {
        let args = read("why-dropped --collector http://[::1]:1 drops --watch --since 1h").expect("parses");
        assert!(matches!(args.command, Some(Command::Drops(DropsArgs { watch: true, .. }))));
        assert_eq!(args.since, Some(Duration::from_hours(1)));
        let args = read("why-dropped pod/drops shop/api:80").expect("parses");
        assert!(args.command.is_none());
    }

    #[test]
    fn half_a_question_is_refused() {
        for words in [
            "why-dropped",
            "why-dropped web/client",
            "why-dropped --objects x.yaml web/client",
            "why-dropped a b --since soon",
            "why-dropped a b c",
        ] {
            assert!(read(words).is_err(), "{words}");
        }
    }

    #[test]
    fn spans_come_back_from_the_wire_unchanged() {
        assert_eq!(wire(None), "");
        let span = Duration::from_millis(90_500);
        assert_eq!(proto::duration::parse(&wire(Some(span))), Ok(span));
    }
}
