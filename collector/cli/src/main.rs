//! `why-dropped`: asks a question, prints the answer, and says by its exit code what came out.
//!
//! It decides nothing about connections. What is printed is rendered from the wire's answer, wherever that was made.

#![forbid(unsafe_code)]

mod args;
mod audit;
mod batch;
mod causes;
mod check;
mod collector;
mod drops;
mod error;
mod explain;
mod nodes;
mod output;
mod policy;
mod render;
mod walk;

use std::process::ExitCode;

use args::{Args, Command};
use error::CliError;

/// Usage, input or transport error.
const FAILED: u8 = 2;

/// What shells report of a program ended by SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return report(&CliError::Runtime { source }),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            done = run(&args) => done.map_or_else(|error| report(&error), ExitCode::from),
            _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
        }
    });
    // A read of standard input that is still waiting must not hold the end up.
    runtime.shutdown_background();
    code
}

async fn run(args: &Args) -> Result<u8, CliError> {
    match &args.command {
        None => explain::run(args).await,
        Some(Command::Drops(filter)) => drops::run(args, filter).await,
        Some(Command::Nodes) => nodes::run(args).await,
        Some(Command::Policy(asked)) => policy::run(args, asked).await,
        Some(Command::Check(asked)) => check::run(args, asked).await,
        Some(Command::Audit(asked)) => audit::run(args, asked).await,
        Some(Command::Walk(asked)) => walk::run(args, asked),
        Some(Command::Causes) => causes::list(args),
        Some(Command::Explain { id }) => causes::explain(args, id),
    }
}

fn report(error: &CliError) -> ExitCode {
    output::complain(&error.report());
    ExitCode::from(FAILED)
}
