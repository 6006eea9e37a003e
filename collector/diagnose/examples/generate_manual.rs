//! Writes the pages of the cause manual into the directory it is given; `cargo xtask codegen` calls it.
//!
//! It writes what the catalogue says and decides nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: codegen DIRECTORY");
        return ExitCode::from(2);
    };
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        for (name, text) in diagnose::catalogue::markdown() {
            fs::write(folder.join(name), text)?;
        }
        Ok(())
    };
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write the cause manual to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
