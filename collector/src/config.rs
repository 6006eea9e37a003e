//! What the collector is told by flags and environment, and whether that makes sense.
//!
//! Nothing is opened here; a path that does not exist is found by whoever opens it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use cluster::Source;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Collects what the agents of a cluster see, and explains why connections fail.
///
/// Objects come from --objects, or from the API server of a kubeconfig, or, inside a pod, from its service account.
///
/// Callers and agents are not authenticated yet: whoever reaches the port may ask and report. With --insecure the
/// collector therefore listens on loopback only; off loopback it needs TLS, which lets callers know the collector
/// and keeps the answers private, and the port should be open to agents and operators only.
///
/// The level of the logs is set by WHY_DROPPED_LOG, like `info,collector=debug`.
#[derive(Clone, Debug, Parser)]
#[command(name = "why-dropped-collector", version)]
pub struct Args {
    /// Address for agents and questions.
    #[arg(long, env = "WHY_DROPPED_LISTEN", default_value = "127.0.0.1:7443", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz, plain HTTP.
    #[arg(long, env = "WHY_DROPPED_ADMIN", default_value = "127.0.0.1:7480", value_name = "ADDRESS:PORT")]
    pub admin: SocketAddr,
    /// Files or directories of objects instead of an API server, separated by spaces or commas. They are read again when
    /// they change.
    #[arg(
        long,
        env = "WHY_DROPPED_OBJECTS",
        value_delimiter = ',',
        num_args = 1..,
        value_name = "PATH",
        conflicts_with_all = ["kubeconfig", "context"]
    )]
    pub objects: Vec<PathBuf>,
    /// Kubeconfig of the API server; otherwise the pod's service account, $KUBECONFIG or ~/.kube/config.
    #[arg(long, env = "WHY_DROPPED_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, env = "WHY_DROPPED_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Directory for the evidence of the last minutes; made if it is not there.
    #[arg(long, env = "WHY_DROPPED_DATA_DIR", default_value = "/var/lib/why-dropped", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// How long evidence is kept, like `1h`.
    #[arg(long, env = "WHY_DROPPED_KEEP", default_value = "1h", value_name = "TIME", value_parser = proto::duration::parse)]
    pub keep: Duration,
    /// How much room evidence may take, in MiB; the oldest goes first.
    #[arg(long, env = "WHY_DROPPED_KEEP_MIB", default_value_t = 1024, value_name = "MIB")]
    pub keep_mib: u32,
    /// Certificate chain of the server, PEM.
    #[arg(long, env = "WHY_DROPPED_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, env = "WHY_DROPPED_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen without TLS; on loopback only.
    #[arg(long, env = "WHY_DROPPED_INSECURE", conflicts_with = "tls_cert")]
    pub insecure: bool,
    /// How logs are written, to stderr.
    #[arg(long, env = "WHY_DROPPED_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Print what the flags and the environment came to, and exit.
    #[arg(long)]
    pub print_config: bool,
}

/// Certificate and key of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Flags that make sense together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address for agents and questions.
    pub listen: SocketAddr,
    /// Address for metrics and health.
    pub admin: SocketAddr,
    /// Where objects come from.
    pub objects: Source,
    /// Directory of the store.
    pub data_dir: PathBuf,
    /// How long evidence is kept.
    pub keep: Duration,
    /// How many bytes evidence may take.
    pub keep_bytes: u64,
    /// TLS; `None` for plain text on loopback.
    pub tls: Option<TlsFiles>,
}

/// Flags that do not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither TLS nor a word that none is wanted.
    #[error("no TLS certificate was given")]
    NoTls,
    /// Plain text where others could listen in and everybody could ask.
    #[error("--insecure listens on loopback only, and {0} is not loopback")]
    InsecureOffLoopback(SocketAddr),
    /// Nothing would be kept long enough to answer from.
    #[error("--keep and --keep-mib must not be zero")]
    KeepsNothing,
}

impl ConfigError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoTls => "give --tls-cert and --tls-key, or --insecure to listen without TLS on loopback",
            Self::InsecureOffLoopback(_) => "give --tls-cert and --tls-key, or listen on 127.0.0.1 or [::1]",
            Self::KeepsNothing => "questions look back ten minutes by default",
        }
    }
}

impl Args {
    /// The same as a configuration, or why it makes none.
    pub fn checked(self) -> Result<Config, ConfigError> {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            _ if !self.insecure => return Err(ConfigError::NoTls),
            _ if !self.listen.ip().is_loopback() => {
                return Err(ConfigError::InsecureOffLoopback(self.listen));
            }
            _ => None,
        };
        if self.keep.is_zero() || self.keep_mib == 0 {
            return Err(ConfigError::KeepsNothing);
        }
        let objects = if !self.objects.is_empty() {
            Source::Files(self.objects)
        } else if self.kubeconfig.is_some() || self.context.is_some() || !in_a_pod() {
            Source::Kube { kubeconfig: self.kubeconfig, context: self.context }
        } else {
            Source::InCluster
        };
        Ok(Config {
            listen: self.listen,
            admin: self.admin,
            objects,
            data_dir: self.data_dir,
            keep: self.keep,
            keep_bytes: u64::from(self.keep_mib) << 20,
            tls,
        })
    }

    /// One `flag = value` a line.
    pub fn as_text(&self) -> String {
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(String::new, |path| path.display().to_string())
        };
        let objects =
            self.objects.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
        let log_format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let lines = [
            ("listen", self.listen.to_string()),
            ("admin", self.admin.to_string()),
            ("objects", objects),
            ("kubeconfig", path(&self.kubeconfig)),
            ("context", self.context.clone().unwrap_or_default()),
            ("data-dir", self.data_dir.display().to_string()),
            ("keep", format!("{}s", self.keep.as_secs())),
            ("keep-mib", self.keep_mib.to_string()),
            ("tls-cert", path(&self.tls_cert)),
            ("tls-key", path(&self.tls_key)),
            ("insecure", self.insecure.to_string()),
            ("log-format", log_format.to_owned()),
        ];
        let mut text = String::new();
        for (flag, value) in lines {
            let _ = writeln!(text, "{flag} = {}", value.escape_debug());
        }
        text
    }
}

/// Set by the kubelet in every container.
fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(flags: &[&str]) -> Args {
        Args::try_parse_from(["why-dropped-collector"].iter().chain(flags)).unwrap()
    }

    #[test]
    fn plain_text_stays_on_loopback() {
        let refused = args(&["--insecure", "--listen", "0.0.0.0:7443", "--objects", "x"]).checked();
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("0.0.0.0:7443 is not loopback"), "{error}");
        for loopback in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7443"] {
            let config = args(&["--insecure", "--listen", loopback, "--objects", "x"]).checked().unwrap();
            assert_eq!(config.tls, None);
        }
    }

    #[test]
    fn one_of_tls_and_insecure_must_be_chosen() {
        assert_eq!(args(&["--objects", "x"]).checked(), Err(ConfigError::NoTls));
        let tls = args(&["--objects", "x", "--tls-cert", "c", "--tls-key", "k", "--listen", "0.0.0.0:1"]);
        assert!(tls.checked().unwrap().tls.is_some());
        let both = ["x", "--insecure", "--tls-cert", "c", "--tls-key", "k"];
        assert!(Args::try_parse_from(both).is_err());
        assert!(Args::try_parse_from(["x", "--tls-cert", "c"]).is_err());
    }

    #[test]
    fn objects_come_from_one_place() {
        let files = args(&["--objects", "a", "b", "--objects", "c,d", "--insecure"]).checked().unwrap();
        assert_eq!(files.objects, Source::Files(["a", "b", "c", "d"].map(Into::into).to_vec()));
        assert!(Args::try_parse_from(["x", "--objects", "a", "--kubeconfig", "k"]).is_err());
        let kube = args(&["--insecure", "--context", "lab"]).checked().unwrap();
        assert_eq!(kube.objects, Source::Kube { kubeconfig: None, context: Some("lab".into()) });
    }

    #[test]
    fn the_printed_configuration_names_every_flag() {
        use clap::CommandFactory as _;
        let text = args(&["--insecure", "--keep", "90s"]).as_text();
        assert!(text.contains("keep = 90s\n") && text.contains("insecure = true\n"), "{text}");
        for flag in Args::command().get_arguments().filter_map(|flag| flag.get_long()) {
            let special = ["help", "version", "print-config"].contains(&flag);
            assert!(special || text.contains(&format!("{flag} = ")), "{flag} in {text}");
        }
    }
}
