//! The agent's entrance: flags, log, exit codes. Everything else is in the library.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use agent::config::{Cli, Command, Config, Output};
use agent::{app, preflight, walk};
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// Flags or surroundings that cannot be used; clap exits alike.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Preflight { output }) => return look(output),
        Some(Command::Walk(asked)) => {
            return match walk::run(&asked) {
                Ok(code) => ExitCode::from(code),
                Err(error) => usage(&format!("{error:#}")),
            };
        }
        None => {}
    }
    let print_config = cli.run.print_config;
    let config = match cli.run.check(std::env::var("NODE_NAME").ok(), host_name()) {
        Ok(config) => config,
        Err(error) => return usage(&error.to_string()),
    };
    if print_config {
        print(&config.render());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = start_log(&config) {
        return usage(&error);
    }
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn look(output: Output) -> ExitCode {
    let sources = preflight::check();
    print(&match output {
        Output::Text => preflight::render_text(&sources),
        Output::Json => preflight::render_json(&sources),
    });
    if preflight::anything(&sources) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start_log(config: &Config) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&config.log).map_err(|error| format!("--log `{}`: {error}", config.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    Ok(())
}

fn usage(problem: &str) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {problem}");
    ExitCode::from(USAGE)
}

fn print(text: &str) {
    // Whoever closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn host_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_lowercase())
}
