//! What can go wrong with the store, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A failed operation on the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("create the directory {}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("open {}: another process has it open; give each collector a data directory of its own", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something that was never written by a store.
    #[error(
        "{} is damaged ({detail}); move it away and start again: only the evidence of the last minutes is lost",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk does not do what it is asked.
    #[error("{operation} {}", .path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The storage engine refuses, after an earlier failure for instance.
    #[error("{operation} {}", .path.display())]
    Engine {
        /// What was attempted.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

impl StoreError {
    pub(crate) fn of(operation: &'static str, path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Corrupted(detail) => Self::Corrupt { path, detail },
            redb::Error::UpgradeRequired(format) => {
                Self::Corrupt { path, detail: format!("file format {format} of an old version") }
            }
            // How the engine says that a file is none of its own.
            redb::Error::Io(source)
                if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Corrupt { path, detail: source.to_string() }
            }
            redb::Error::Io(source) => Self::Io { operation, path, source },
            // A table of another type than ours.
            error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. }) => {
                Self::Corrupt { path, detail: error.to_string() }
            }
            error => Self::Engine { operation, path, source: Box::new(error) },
        }
    }
}
