//! What the agent is told at start: flags, their environment variables, and the checks that need no I/O beyond the
//! files named. It opens no connection and reads no kernel state.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tonic::transport::Uri;

/// Sees dropped connection attempts on this node, and answers what its rules do to a packet.
///
/// Runs in the network namespace of the node it reports on and changes nothing there.
#[derive(Debug, Parser)]
#[command(name = "why-dropped-agent", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do other than to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do other than to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what can and cannot be seen from here, and why. Exit 0 if anything can be seen, 1 if nothing can.
    Preflight {
        /// Form of the output.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print what the rules of this network namespace do to a packet, step by step. In a pod's namespace: `nsenter --net=…`
    /// before it. Exit 0 if it passes, 1 if it is dropped or rejected, 3 if that cannot be told.
    Walk(crate::walk::WalkArgs),
}

/// Form of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The flags of the agent proper.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The collector's addresses, tried in turn: `https://HOST:PORT` or, on loopback and in labs, `http://HOST:PORT`.
    #[arg(long, env = "WHY_DROPPED_COLLECTOR", value_name = "URL[,URL…]", value_delimiter = ',')]
    pub collector: Vec<String>,
    /// This node's name in Kubernetes. Default: the environment's NODE_NAME, else the host name.
    #[arg(long, env = "WHY_DROPPED_NODE", value_name = "NAME")]
    pub node: Option<String>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "WHY_DROPPED_ADMIN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7481")]
    pub admin: SocketAddr,
    /// File with the bearer token shown to the collector; read again at each connection.
    #[arg(long, env = "WHY_DROPPED_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that an https collector is verified against; read again at each connection.
    #[arg(long, env = "WHY_DROPPED_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Directory where the last address that worked is kept, for when the collector's name cannot be resolved.
    #[arg(long, env = "WHY_DROPPED_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to log, as in `info` or `agent=debug`.
    #[arg(long, env = "WHY_DROPPED_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Print the configuration that results from flags and environment, and exit.
    #[arg(long)]
    pub print_config: bool,
}

/// One collector address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl {
    /// As given, without a trailing slash.
    pub text: String,
    /// Whether the connection is encrypted and the collector verified.
    pub tls: bool,
    /// Name or address of the host; IPv6 without brackets.
    pub host: String,
    /// Port; 443 or 80 when left out.
    pub port: u16,
}

/// The configuration after all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the collector may be, in order of trial; never empty.
    pub collectors: Vec<CollectorUrl>,
    /// This node's name.
    pub node: String,
    /// Admin address.
    pub admin: SocketAddr,
    /// Token file.
    pub token_file: Option<PathBuf>,
    /// Certificates of the collector's issuer.
    pub ca_file: Option<PathBuf>,
    /// State directory.
    pub state_dir: Option<PathBuf>,
    /// Log filter.
    pub log: String,
}

/// Why the flags cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No collector.
    #[error("no collector: give --collector https://HOST:PORT or set WHY_DROPPED_COLLECTOR")]
    NoCollector,
    /// Not a URL that can be dialled.
    #[error("--collector `{url}`: {problem}")]
    Collector {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// TLS without anything to verify the other side by.
    #[error("--collector `{url}`: https needs --ca-file, the certificates to verify the collector against")]
    NoCa {
        /// As given.
        url: String,
    },
    /// A secret would cross the network in the clear.
    #[error("--token-file with `{url}`: a token is sent over https only, or over http to a loopback address")]
    TokenInClear {
        /// As given.
        url: String,
    },
    /// Metrics and health would be open to the network.
    #[error("--admin {admin}: only a loopback address is served, the collector re-exports the metrics")]
    AdminOffLoopback {
        /// As given.
        admin: SocketAddr,
    },
    /// Neither given nor found.
    #[error("no node name: give --node NAME, or set NODE_NAME; reading the host name failed")]
    NoNode,
    /// Not a name that Kubernetes would accept.
    #[error("--node `{name}`: a node name has 1 to 253 lower-case letters, digits, `-` and `.`")]
    NodeName {
        /// As given, escaped.
        name: String,
    },
}

impl CollectorUrl {
    /// Takes `http://HOST[:PORT]` or `https://HOST[:PORT]` apart.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |problem| ConfigError::Collector { url: text.escape_debug().to_string(), problem };
        let uri: Uri = text.trim().parse().map_err(|_| wrong("not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("must start with https:// or http://")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("only scheme, host and port are used; leave the path out"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("credentials do not belong in the URL; use --token-file"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { text: text.trim().trim_end_matches('/').to_owned(), tls, host: host.to_owned(), port })
    }

    /// Whether the host is a loopback address, or the name that always stands for one.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl RunArgs {
    /// Checks everything that can be checked before running. `environment_node` is NODE_NAME's value, `host_name` the
    /// machine's.
    pub fn check(
        self,
        environment_node: Option<String>,
        host_name: Option<String>,
    ) -> Result<Config, ConfigError> {
        let collectors = self
            .collector
            .iter()
            .filter(|url| !url.trim().is_empty())
            .map(|url| CollectorUrl::parse(url))
            .collect::<Result<Vec<_>, _>>()?;
        if collectors.is_empty() {
            return Err(ConfigError::NoCollector);
        }
        for url in &collectors {
            if url.tls && self.ca_file.is_none() {
                return Err(ConfigError::NoCa { url: url.text.clone() });
            }
            if !url.tls && self.token_file.is_some() && !url.is_loopback() {
                return Err(ConfigError::TokenInClear { url: url.text.clone() });
            }
        }
        if !self.admin.ip().is_loopback() {
            return Err(ConfigError::AdminOffLoopback { admin: self.admin });
        }
        let given = |name: &String| !name.trim().is_empty();
        let node = self
            .node
            .filter(given)
            .or_else(|| environment_node.filter(given))
            .or_else(|| host_name.filter(given))
            .ok_or(ConfigError::NoNode)?;
        let node = node.trim().to_owned();
        if !is_node_name(&node) {
            return Err(ConfigError::NodeName { name: node.escape_debug().to_string() });
        }
        Ok(Config {
            collectors,
            node,
            admin: self.admin,
            token_file: self.token_file,
            ca_file: self.ca_file,
            state_dir: self.state_dir,
            log: self.log,
        })
    }
}

impl Config {
    /// The configuration as `name = value` lines, each with its environment variable.
    pub fn render(&self) -> String {
        let urls: Vec<&str> = self.collectors.iter().map(|url| url.text.as_str()).collect();
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
        };
        let lines = [
            ("collector", urls.join(","), "WHY_DROPPED_COLLECTOR"),
            ("node", self.node.clone(), "WHY_DROPPED_NODE"),
            ("admin", self.admin.to_string(), "WHY_DROPPED_ADMIN"),
            ("token-file", path(&self.token_file), "WHY_DROPPED_TOKEN_FILE"),
            ("ca-file", path(&self.ca_file), "WHY_DROPPED_CA_FILE"),
            ("state-dir", path(&self.state_dir), "WHY_DROPPED_STATE_DIR"),
            ("log", self.log.clone(), "WHY_DROPPED_LOG"),
        ];
        let mut text = String::new();
        for (name, value, variable) in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<42} # {variable}", format!("{name} = {}", value.escape_debug()));
        }
        text
    }
}

/// A node's name is a DNS subdomain (RFC 1123), as the API server checks it.
fn is_node_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from(std::iter::once(&"why-dropped-agent").chain(arguments))
            .expect("the arguments should parse");
        cli.run.check(None, Some("host-1".to_owned()))
    }

    #[test]
    fn several_collectors_and_defaults() {
        let config = check(&["--collector", "http://127.0.0.1:7443,http://[::1]:7443/"]).expect("valid");
        let hosts: Vec<(&str, u16)> =
            config.collectors.iter().map(|url| (url.host.as_str(), url.port)).collect();
        assert_eq!(hosts, [("127.0.0.1", 7443), ("::1", 7443)]);
        assert_eq!(config.node, "host-1");
        assert_eq!(config.admin, SocketAddr::from(([127, 0, 0, 1], 7481)));
    }

    #[test]
    fn unusable_collectors_are_told_apart() {
        for (url, part) in [
            ("ftp://x:1", "must start with"),
            ("x:1", "must start with"),
            ("http://x:1/path", "leave the path out"),
            ("http://me:secret@x:1", "--token-file"),
            ("https://x:1", "--ca-file"),
        ] {
            let text = check(&["--collector", url]).expect_err(url).to_string();
            assert!(text.contains(part), "{url}: {text}");
        }
        assert_eq!(check(&[]), Err(ConfigError::NoCollector));
    }

    #[test]
    fn a_token_never_travels_in_the_clear() {
        assert_eq!(
            check(&["--collector", "http://10.0.0.1:7443", "--token-file", "/t"]),
            Err(ConfigError::TokenInClear { url: "http://10.0.0.1:7443".to_owned() })
        );
        check(&["--collector", "http://127.0.0.1:7443", "--token-file", "/t"]).expect("loopback is fine");
        check(&["--collector", "https://10.0.0.1", "--ca-file", "/c", "--token-file", "/t"])
            .expect("https is fine");
    }

    #[test]
    fn the_admin_port_stays_on_loopback() {
        let admin = SocketAddr::from(([0, 0, 0, 0], 7481));
        assert_eq!(
            check(&["--collector", "http://127.0.0.1:1", "--admin", "0.0.0.0:7481"]),
            Err(ConfigError::AdminOffLoopback { admin })
        );
    }

    #[test]
    fn the_node_name_comes_from_the_nearest_source() {
        let run = |flag: Option<&str>, environment: Option<&str>, host: Option<&str>| {
            let mut arguments = vec!["why-dropped-agent", "--collector", "http://127.0.0.1:1"];
            arguments.extend(flag.iter().flat_map(|name| ["--node", name]));
            let cli = Cli::try_parse_from(arguments).expect("the arguments should parse");
            cli.run.check(environment.map(str::to_owned), host.map(str::to_owned)).map(|config| config.node)
        };
        assert_eq!(run(Some("a"), Some("b"), Some("c")).as_deref(), Ok("a"));
        assert_eq!(run(None, Some("b"), Some("c")).as_deref(), Ok("b"));
        assert_eq!(run(None, Some(" "), Some("c\n")).as_deref(), Ok("c"));
        assert_eq!(run(None, None, None), Err(ConfigError::NoNode));
        assert_eq!(
            run(Some("Node\u{1b}"), None, None),
            Err(ConfigError::NodeName { name: "Node\\u{1b}".to_owned() })
        );
    }

    #[test]
    fn preflight_needs_no_collector() {
        let cli = Cli::try_parse_from(["why-dropped-agent", "preflight", "-o", "json"]).expect("parses");
        assert!(matches!(cli.command, Some(Command::Preflight { output: Output::Json })));
    }

    #[test]
    fn every_flag_is_printed_with_its_variable() {
        use clap::CommandFactory as _;
        let rendered = check(&["--collector", "http://127.0.0.1:1"]).expect("valid").render();
        for argument in Cli::command().get_arguments() {
            let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else {
                let name = argument.get_id().as_str();
                assert!(matches!(name, "print_config" | "help" | "version"), "{name} has no variable");
                continue;
            };
            assert!(rendered.contains(variable), "{variable} is missing from\n{rendered}");
        }
    }
}
