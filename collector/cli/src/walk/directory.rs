//! Reads the files of a node directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use model::node_state::NodeState;

use crate::error::CliError;

/// Rules of the largest clusters known take a tenth of this.
const FILE_MAX: u64 = 1 << 30;

/// The state that the files of a directory tell. What is wrong with one is in the state; only a directory that is none, or
/// one without any known file, is an error.
pub fn read(path: &Path) -> Result<NodeState, CliError> {
    let failed = |source| CliError::NodeDirectory { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    let mut files = BTreeMap::new();
    for name in snapshot::file_names() {
        match File::open(path.join(name)) {
            Ok(file) => {
                let mut bytes = Vec::new();
                let length = file.take(FILE_MAX + 1).read_to_end(&mut bytes);
                let length = length.map_err(|source| CliError::NodeFile { path: path.join(name), source })?;
                if length as u64 > FILE_MAX {
                    return Err(CliError::NodeFile {
                        path: path.join(name),
                        source: io::Error::from(io::ErrorKind::FileTooLarge),
                    });
                }
                // Comments may hold any bytes; a rule that is not text is a problem of its line.
                let text = String::from_utf8(bytes)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
                files.insert(name.to_owned(), text);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CliError::NodeFile { path: path.join(name), source }),
        }
    }
    if files.is_empty() {
        return Err(CliError::NoNodeFiles { path: path.to_owned() });
    }
    Ok(snapshot::node_state(&mut files))
}
