//! The program behind `cargo xtask cluster`; see the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    kubelab::cli::main()
}
