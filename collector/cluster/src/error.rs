//! What can go wrong before objects are there. Once they are, trouble is a gap of the set, not an error.

use std::fmt;
use std::path::PathBuf;

use objects::Refusal;

/// Why objects could not be begun with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files could not be taken.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The API server's configuration could not be taken.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Why files could not be taken. Everything wrong is listed, not just the first.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Some could not be read at all.
    #[error("{}", lines(.0))]
    Unreadable(Vec<FileProblem>),
    /// All were read, and some say what the API server would not take.
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
}

/// One path that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display().to_string().escape_debug())]
pub struct FileProblem {
    /// The path as given or found.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: FileProblemKind,
}

/// What can be wrong with a path.
#[derive(Debug, thiserror::Error)]
pub enum FileProblemKind {
    /// The operating system said no.
    #[error("{0}")]
    Io(std::io::Error),
    /// A directory without a single object file.
    #[error("no .yaml, .yml or .json file in this directory")]
    EmptyDirectory,
    /// Neither a file nor a directory.
    #[error("neither a regular file nor a directory")]
    NotAFile,
    /// More bytes than are read from one file.
    #[error("larger than the {} MiB that are read of one file", .0 / (1024 * 1024))]
    TooLarge(u64),
    /// More bytes than are read in all.
    #[error("with it the files are larger than the {} MiB that are read in all", .0 / (1024 * 1024))]
    TooLargeTogether(u64),
    /// More files than are read.
    #[error("more than {0} files")]
    TooMany(usize),
    /// Deeper nesting than is followed.
    #[error("directories nested deeper than {0}")]
    TooDeep(usize),
    /// Not text.
    #[error("not UTF-8 text (byte {0})")]
    NotUtf8(usize),
}

/// Why an API server cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig at a given path.
    #[error("read kubeconfig {}: {source}", path.display().to_string().escape_debug())]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig found by its usual places.
    #[error("read the kubeconfig ($KUBECONFIG, else ~/.kube/config): {0}")]
    DefaultKubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// The pod's service account.
    #[error("read the pod's service account: {0}")]
    InCluster(#[source] kube::config::InClusterError),
    /// Certificates, keys or a proxy of the configuration.
    #[error("prepare the connection to {server}: {source}")]
    Client {
        /// The server's address.
        server: String,
        /// What is wrong.
        source: Box<kube::Error>,
    },
    /// The server took no request of any kind.
    #[error("list objects from the API server: {0}")]
    Nothing(model::Gap),
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
