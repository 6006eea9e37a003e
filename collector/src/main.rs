//! The program `why-dropped-collector`: arguments, logs and signals around the library.

use std::process::ExitCode;

use clap::Parser as _;
use collector::config::{Args, LogFormat};
use collector::{Collector, RunError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Usage, input and start-up errors, as of every program here.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = error.downcast_ref::<RunError>().and_then(RunError::hint) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if args.print_config {
        // Nothing is checked: the point is to see what the flags and the environment came to.
        print!("{}", args.as_text());
        return Ok(());
    }
    start_logs(args.log_format);
    let config = args.checked().map_err(RunError::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let collector = tokio::select! {
            started = Collector::start(config) => started?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        tokio::select! {
            ended = collector.ended() => return ended.map_err(anyhow::Error::from),
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
            _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        }
        collector.shutdown().await;
        Ok(())
    });
    // A blocking read of files that has not ended must not hold up the exit.
    runtime.shutdown_background();
    ended
}

fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_env("WHY_DROPPED_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => logs.json().init(),
    }
}
