//! The program `halyard`.
//!
//! What was typed ([`args`]) becomes what it means ([`settings`]) in a step of its own; then one
//! module per command carries it out on a [`Session`](crate::session::Session) or the broker's
//! [`Api`](crate::api::Api). Every command speaks to people or, with `--json`, to programs
//! ([`output`]), and ends with one of the codes in [`exit`].

mod args;
mod command;
mod computer;
mod doctor;
mod drive;
mod estop;
pub mod exit;
mod follow;
mod get;
mod jobs;
mod join;
mod list;
mod output;
mod progress;
mod rehearsal;
mod results;
mod room;
mod screen;
mod send;
mod session;
mod settings;
mod state;
mod telemetry;
mod train;
mod words;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use tokio_util::sync::CancellationToken;

use args::{Cli, Command};
use exit::{CliError, Exit};
use output::Output;
use settings::{Environment, Settings};

/// The life of the program: read what was typed, do it, say how it ended.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let json = words.iter().any(|word| word == "--json");
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return bad_usage(&error, json),
    };
    log_to_stderr(cli.global.verbose);
    let output = Output::new(cli.global.json, cli.global.verbose > 0);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let words = format!("cannot start: {error}");
            return output.failed(&CliError::new(Exit::Failed, "RUNTIME", words)).into();
        }
    };
    runtime.block_on(run(cli, output)).into()
}

async fn run(cli: Cli, output: Output) -> Exit {
    let stop = CancellationToken::new();
    let interrupted = tokio::spawn(stop_on_signal(stop.clone()));
    let result = match Settings::resolve(&cli.global, &Environment::of_this_process()) {
        Ok(settings) => dispatch(cli.command, settings, output, &stop).await,
        Err(error) => Err(error),
    };
    interrupted.abort();
    match result {
        Ok(()) => Exit::Done,
        // Whoever read our output has seen enough.
        Err(error) if error.is_closed_pipe() => Exit::Done,
        Err(_) if stop.is_cancelled() => Exit::Interrupted,
        Err(error) => output.failed(&error),
    }
}

async fn dispatch(
    command: Command,
    settings: Settings,
    output: Output,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let context = session::Context::new(settings, output, stop);
    match command {
        Command::Join(args) => join::run(&context, args).await,
        Command::Send(args) => send::run(&context, args).await,
        Command::Get(args) => get::run(&context, args).await,
        Command::Ls(args) => list::run(&context, args).await,
        Command::Stat(args) => list::stat(&context, args).await,
        Command::Rm(args) => list::remove(&context, args).await,
        Command::Ask(args) => command::run(&context, args).await,
        Command::Train(args) => train::run(&context, args).await,
        Command::Jobs(args) => jobs::list(&context, args).await,
        Command::Stop(args) => jobs::end(&context, args, false).await,
        Command::Cancel(args) => jobs::end(&context, args, true).await,
        Command::Logs(args) => jobs::logs(&context, args).await,
        Command::Attach(args) => jobs::attach(&context, args).await,
        Command::Telemetry(args) => telemetry::run(&context, args).await,
        Command::Drive(args) => drive::run(&context, args).await,
        Command::Estop(args) => estop::run(&context, args).await,
        Command::Room(args) => room::run(&context, args.command).await,
        Command::Doctor(args) => doctor::run(&context, args).await,
    }
}

/// Clap's own words; help and version are no errors.
fn bad_usage(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    if json {
        let words = error.to_string();
        let words = words.trim().strip_prefix("error: ").unwrap_or(&words).to_owned();
        return Output::new(true, false).failed(&CliError::usage(words)).into();
    }
    let _ = error.print();
    Exit::Usage.into()
}

/// Logs are for people and go beside the output. Only our own crates speak below warnings: the
/// network libraries would log every packet, and with it what is secret.
fn log_to_stderr(verbose: u8) {
    // Without being asked, the libraries say nothing: what matters of it, our errors say.
    let (others, ours) = match verbose {
        0 => ("off", "warn"),
        1 => ("error", "info"),
        2 => ("error", "debug"),
        _ => ("warn", "trace"),
    };
    let filter = format!("{others},halyard_client={ours},halyard_protocol={ours}");
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()) && output::may_colour())
        .try_init();
}

/// The first SIGINT or SIGTERM asks the command to end; the second ends the process.
async fn stop_on_signal(stop: CancellationToken) {
    signal().await;
    stop.cancel();
    signal().await;
    // Nothing is dropped on this way out.
    screen::give_back();
    std::process::exit(Exit::Interrupted.code().into());
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
