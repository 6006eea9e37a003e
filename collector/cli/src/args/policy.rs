//! What is typed behind `policy` and `check`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// Which objects, and which connections.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "why-dropped policy [eval] --objects <PATH>... <SRC> <DST>
       why-dropped policy [eval] --objects <PATH>... --batch <FILE>
       why-dropped policy matrix --objects <PATH>...
       why-dropped policy diff <OLD> <NEW>",
    after_help = POLICY_HELP
)]
pub struct PolicyArgs {
    #[command(subcommand)]
    pub command: Option<PolicyCommand>,

    /// SRC and DST as for a question
    #[arg(value_name = "SRC DST")]
    pub words: Vec<String>,

    /// YAML or JSON files and directories; `-` reads standard input
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub objects: Vec<PathBuf>,

    /// One connection a line, as JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub batch: Option<PathBuf>,
}

const POLICY_HELP: &str = "\
A batch has a line like
  {\"id\":1,\"src\":\"web/client\",\"dst\":\"shop/api-0\",\"port\":8080,\"proto\":\"TCP\"}
for each connection, src and dst being NAMESPACE/POD or an address, and prints one for each line. The port is that of the
pod, not of a Service: policies see packets behind it.

Exit status: 0 allowed, 1 denied, 3 not known; of a batch: 0, or 2 if a line could not be understood. 2 is any other error.

  why-dropped policy --objects manifests/ web/client shop/api-0:8080
  why-dropped policy --objects manifests/ --batch connections.jsonl
  why-dropped policy matrix --objects manifests/ --by workload";

/// What else there is to know of policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Who can reach whom
    Matrix(MatrixArgs),
    /// What a change of the objects opens and closes
    Diff(DiffArgs),
}

/// What the rows and columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// Namespaces
    Namespace,
    /// Deployments, StatefulSets and other controllers; a pod without one stands for itself
    Workload,
    /// Pods
    Pod,
}

/// Who can reach whom.
#[derive(Debug, clap::Args)]
#[command(after_help = MATRIX_HELP)]
pub struct MatrixArgs {
    /// YAML or JSON files and directories; `-` reads standard input
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub objects: Vec<PathBuf>,

    /// What the rows and columns are
    #[arg(long, value_enum, default_value_t = GroupBy::Namespace)]
    pub by: GroupBy,

    /// Only this port: PORT[/tcp|udp|sctp]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
}

const MATRIX_HELP: &str = "\
A row reaches a column on the ports of the cell: `all`, `-` for none, or a list; `some` where only some of their pods do on
some of the ports, `?` where it is not known of some. Ports are those of pods. With -n, only rows and columns of that
namespace are shown.

  why-dropped policy matrix --objects manifests/
  why-dropped policy matrix --objects manifests/ --by workload --port 5432 -o json";

/// Before and after.
#[derive(Debug, clap::Args)]
#[command(after_help = DIFF_HELP)]
pub struct DiffArgs {
    /// File or directory of objects as they were
    pub old: PathBuf,

    /// File or directory of objects as they shall be
    pub new: PathBuf,

    /// Files and directories that belong to both
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub objects: Vec<PathBuf>,

    /// What is compared
    #[arg(long, value_enum, default_value_t = GroupBy::Workload)]
    pub by: GroupBy,
}

const DIFF_HELP: &str = "\
Exit status: 0 nothing opens or closes, 1 something does, 3 something became or was unknown, 2 any other error.

  git show main:policies.yaml > old.yaml
  why-dropped policy diff old.yaml policies.yaml --objects pods.yaml";

/// What is expected.
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// Expectations, as YAML or JSON; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// YAML or JSON files and directories; without, the objects of the kubeconfig's API server
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub objects: Vec<PathBuf>,
}

const CHECK_HELP: &str = "\
FILE is a list, or has one under `expectations`:

  - {from: web/client, to: 'shop/api:80', expect: allowed}
  - {from: [203.0.113.9, any], to: 'shop/db-0:5432', expect: denied, name: nobody else at the data}

from and to are as SRC and DST of a question; a Service is expected of all its backends. Exit status: 0 all hold, 1 one does
not, 3 none fails and one is not known, 2 any other error.

  why-dropped check -f expectations.yaml --objects manifests/";

impl PolicyArgs {
    /// SRC and DST, also where they stand last behind `--objects PATH…`; none for a batch.
    pub fn ends(&mut self) -> Result<Option<(String, String)>, String> {
        if self.words.first().is_some_and(|word| word == "eval") {
            self.words.remove(0);
        }
        if self.batch.is_some() {
            return if self.words.is_empty() {
                Ok(None)
            } else {
                Err(format!("`{}`: with --batch, connections come from its lines", self.words.join(" ")))
            };
        }
        let missing = 2_usize.saturating_sub(self.words.len());
        if self.objects.len() > missing {
            let taken = self.objects.split_off(self.objects.len() - missing);
            self.words.extend(taken.iter().map(|path| path.to_string_lossy().into_owned()));
        }
        match <[String; 2]>::try_from(std::mem::take(&mut self.words)) {
            Ok([source, destination]) => Ok(Some((source, destination))),
            Err(words) => Err(format!(
                "SRC and DST are needed, like `web/client shop/api-0:8080`, or --batch FILE; not {} words",
                words.len()
            )),
        }
    }
}
