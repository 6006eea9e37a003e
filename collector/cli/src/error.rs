//! Why there is no answer, in words that say what to do.

use std::io;
use std::path::PathBuf;

use cluster::{ConnectError, FilesError};
use objects::resolve::ResolveError;
use thiserror::Error;

use crate::render::escape;

/// What the transport's own error says; the reason is in its sources.
const TRANSPORT: &str = "transport error";

/// Nodes named in a hint; the rest is counted.
const NODES_SHOWN: usize = 10;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CliError {
    /// The system gives no timers or sockets.
    #[error("start the program's event loop")]
    Runtime {
        /// Why.
        source: io::Error,
    },
    /// Standard output cannot be written, a full disk for instance.
    #[error("write the answer")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("read objects from standard input")]
    Input {
        /// Why.
        source: io::Error,
    },
    /// `-` among other paths.
    #[error("`--objects -` reads standard input and stands alone")]
    InputNotAlone,
    /// Objects from files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Objects from an API server.
    #[error(transparent)]
    Api(#[from] ConnectError),
    /// The API server took longer than it may.
    #[error("the API server did not answer within {seconds} s")]
    ApiTimeout {
        /// How long was waited.
        seconds: u64,
    },
    /// A file of lines cannot be read.
    #[error("read {}", escape(&.path.display().to_string()))]
    Batch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node directory that is none.
    #[error("read node directory {}", escape(&.path.display().to_string()))]
    NodeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A node directory without a file that is known.
    #[error("node directory {} holds none of the files it could", escape(&.path.display().to_string()))]
    NoNodeFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a node directory cannot be read.
    #[error("read {}", escape(&.path.display().to_string()))]
    NodeFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Arguments that contradict each other or say nothing.
    #[error("{}", escape(.what))]
    Usage {
        /// What is wrong.
        what: String,
    },
    /// A file of expectations that is none.
    #[error("{} is no file of expectations", escape(&.path.display().to_string()))]
    Expectations {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// There is nothing policies could say.
    #[error("policies say nothing of it: {}", escape(.why))]
    NoPolicy {
        /// Why not.
        why: String,
    },
    /// Names that cannot be understood or found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A command that needs a collector.
    #[error("`why-dropped {command}` needs a collector")]
    NoCollector {
        /// The command.
        command: &'static str,
    },
    /// A collector's address that is none.
    #[error("--collector `{url}`: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A file named on the command line.
    #[error("read {}", escape(&.path.display().to_string()))]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The collector cannot be reached.
    #[error("connect to the collector at {url}")]
    Connect {
        /// Its address.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The collector refused or failed.
    #[error("{}", status_words(.status))]
    Refused {
        /// What it said.
        status: Box<tonic::Status>,
    },
    /// Nothing came in time.
    #[error("the collector at {url} did not answer in time")]
    Silent {
        /// Its address.
        url: String,
    },
    /// Something came that no collector says, or the connection broke off.
    #[error("what answers at {url} is not a collector, or broke off: {}", escape(.why))]
    Broken {
        /// The address.
        url: String,
        /// What was seen.
        why: String,
    },
    /// A name without its namespace.
    #[error("--{option} `{}` lacks its namespace", escape(.name))]
    Unqualified {
        /// The option.
        option: &'static str,
        /// As typed.
        name: String,
    },
    /// A node nobody knows.
    #[error("no node named `{}`", escape(.name))]
    NoNode {
        /// As typed.
        name: String,
        /// What was probably meant.
        near: Option<String>,
        /// Those there are.
        nodes: Vec<String>,
    },
    /// A cause nobody knows.
    #[error("no cause `{}`", escape(.id))]
    NoCause {
        /// As typed.
        id: String,
        /// What was probably meant.
        near: Option<String>,
    },
}

impl CliError {
    /// `error: …` with all its sources, one line each, and `hint: …` where there is one.
    pub fn report(&self) -> String {
        let mut lines = Vec::new();
        match self {
            Self::Files(FilesError::Refused(refusals)) => {
                for refusal in refusals {
                    lines.push(format!("error: {}", escape(&refusal.to_string())));
                    lines.extend(refusal.hint.iter().map(|hint| format!("hint: {}", escape(hint))));
                }
            }
            Self::Expectations { path, problems } => {
                let path = escape(&path.display().to_string());
                lines.extend(problems.iter().map(|problem| format!("error: {path}: {}", escape(problem))));
            }
            Self::Files(FilesError::Unreadable(problems)) => {
                lines.extend(
                    problems.iter().map(|problem| format!("error: {}", escape(&problem.to_string()))),
                );
            }
            error => {
                let mut text = escape(&error.to_string());
                let mut source = std::error::Error::source(error);
                while let Some(cause) = source {
                    let words = escape(&cause.to_string());
                    if words != TRANSPORT && !text.contains(&words) {
                        text = format!("{text}: {words}");
                    }
                    source = cause.source();
                }
                lines.push(format!("error: {text}"));
            }
        }
        lines.extend(self.hint().map(|hint| format!("hint: {hint}")));
        lines.join("\n") + "\n"
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint().map(|hint| escape(&hint)),
            Self::Refused { status } => status_hint(status),
            Self::NoNodeFiles { .. } => Some(
                "iptables-save, nft.json, addresses.json, routes.json …: `why-dropped walk --help` lists them".to_owned(),
            ),
            Self::NoCollector { .. } => {
                Some("name it with --collector URL or WHY_DROPPED_COLLECTOR, like http://127.0.0.1:7443".to_owned())
            }
            Self::Api(_) | Self::ApiTimeout { .. } => Some(
                "name a collector with --collector URL, or give the objects as files with --objects PATH".to_owned(),
            ),
            Self::Connect { .. } => {
                Some("is it running, and is this its address? WHY_DROPPED_COLLECTOR is used where --collector is not given".to_owned())
            }
            Self::Silent { .. } => {
                Some("allow it more time with --timeout; if it stays so, is this the collector's address?".to_owned())
            }
            Self::Broken { .. } => {
                Some("is this the collector's address, and does it listen there with http:// or https://?".to_owned())
            }
            Self::Unqualified { name, .. } => {
                Some(format!("write NAMESPACE/{0}, or `-n NAMESPACE` with {0}", escape(name)))
            }
            Self::NoNode { near, nodes, .. } => Some(node_hint(near.as_deref(), nodes)),
            Self::NoCause { near, .. } => Some(near.as_ref().map_or_else(
                || "`why-dropped causes` lists them".to_owned(),
                |near| format!("did you mean {near}? `why-dropped causes` lists them all"),
            )),
            _ => None,
        }
    }
}

fn node_hint(near: Option<&str>, nodes: &[String]) -> String {
    let meant = near.map(|near| format!("did you mean `{}`? ", escape(near))).unwrap_or_default();
    let mut shown: Vec<String> = nodes.iter().take(NODES_SHOWN).map(|name| escape(name)).collect();
    if nodes.len() > shown.len() {
        shown.push(format!("{} more", nodes.len() - shown.len()));
    }
    format!("{meant}Nodes: {}", shown.join(", "))
}

/// The first line of the collector's message; without one, what the code means.
fn status_words(status: &tonic::Status) -> String {
    let line = status.message().lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    if line.is_empty() {
        format!("the collector answered: {}", status.code().description())
    } else {
        escape(line)
    }
}

/// What follows `hint: ` on a line of its own, or what helps with the code.
fn status_hint(status: &tonic::Status) -> Option<String> {
    let given = status.message().lines().find_map(|line| line.strip_prefix("hint: "));
    given.map(escape).or_else(|| match status.code() {
        tonic::Code::Unauthenticated => Some("give a token with --token or WHY_DROPPED_TOKEN".to_owned()),
        tonic::Code::Unimplemented => Some("is this a collector, and as new as this program?".to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_write_to_the_terminal() {
        let status = tonic::Status::not_found("no pod `a\u{1b}[2J`\nhint: did you mean `b`?");
        let report = CliError::Refused { status: Box::new(status) }.report();
        assert_eq!(report, "error: no pod `a\\u{1b}[2J`\nhint: did you mean `b`?\n");
    }

    #[test]
    fn a_silent_server_is_spoken_for() {
        let report = CliError::Refused { status: Box::new(tonic::Status::unauthenticated("")) }.report();
        assert!(report.starts_with("error: the collector answered: "), "{report}");
        assert!(report.contains("hint: give a token"), "{report}");
    }
}
