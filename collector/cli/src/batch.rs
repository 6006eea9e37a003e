//! Batch commands: lines of a file or of standard input to lines on standard output.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;

use proto::lines::{Broken, answer};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CliError;

/// Answers every line of a file, or of standard input for `-`. 2 if a line could not be answered, else 0.
pub fn run<Q: DeserializeOwned, A: Serialize>(
    path: &Path,
    judge: impl FnMut(Q) -> Result<A, String>,
) -> Result<u8, CliError> {
    let out = BufWriter::new(io::stdout().lock());
    let failed = |source| CliError::Batch { path: path.to_owned(), source };
    let done = if path.as_os_str() == "-" {
        answer(io::stdin().lock(), out, judge)
    } else {
        answer(BufReader::new(File::open(path).map_err(failed)?), out, judge)
    };
    match done {
        Ok(true) => Ok(0),
        Ok(false) => Ok(2),
        // A reader that has gone has read enough.
        Err(Broken::Output(source)) if source.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(Broken::Output(source)) => Err(CliError::Output { source }),
        Err(Broken::Input(source)) => Err(failed(source)),
    }
}
