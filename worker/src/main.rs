//! The program `halyard-worker`: one life from the command line to an exit code.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use halyard_client::tls;
use halyard_settings::{Typed, args, config_arg};
use halyard_worker::{
    agent::{AgentError, RoomError},
    config::{KEYS, RUN, SHARED, STANDALONE, Settings},
    devices, exit,
    jobs::keeper,
    logging,
    report::{self, Reports},
    run::{self, RunError},
};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let matches = program().get_matches();
    let result = match matches.subcommand() {
        Some(("devices", matches)) => {
            devices(matches);
            return ExitCode::from(exit::DONE);
        }
        Some(("version", _)) => {
            anstream::println!("halyard-worker {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::from(exit::DONE);
        }
        Some(("keep-job", matches)) => keep_job(matches),
        Some((name, matches)) => work(name, matches),
        None => unreachable!("a command is required"),
    };
    match result {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => {
            anstream::eprintln!("halyard-worker: {}", failure.message);
            ExitCode::from(failure.exit)
        }
    }
}

fn program() -> Command {
    let json = || {
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("One JSON object a line on standard output; the log goes to standard error")
    };
    let mut program = Command::new("halyard-worker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The Halyard agent on the machine: a picture, driving, commands and files, peer to peer")
        .after_help(
            "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 cannot reach the server, \
             4 refused.\nThe log level is set by HALYARD_LOG, for example HALYARD_LOG=debug.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("run")
                .about("Open a room at a broker and serve it")
                .arg(config_arg())
                .arg(json())
                .args(args(SHARED))
                .args(args(RUN)),
        )
        .subcommand(
            Command::new("devices")
                .about("Say what this computer has: encoders that start, cameras, graphics cards, sound")
                .arg(json()),
        )
        .subcommand(
            Command::new("keep-job")
                .hide(true)
                .about("Stay beside the program of one job; the worker starts this")
                .arg(Arg::new("dir").required(true).value_parser(clap::value_parser!(PathBuf))),
        )
        .subcommand(Command::new("version").about("Say which version this is"));
    if cfg!(feature = "standalone") {
        program = program.subcommand(
            Command::new("standalone")
                .about("Carry a broker along: room, page and machine in one program")
                .long_about(
                    "Carry a broker along: room, page and machine in one program.\n\nIt listens on \
                     this computer alone. For others on the local network: --listen 0.0.0.0:8080; \
                     the links then name this computer's address there. Where peers see another \
                     address still (a proxy, a name, HTTPS), say it with --public-url.",
                )
                .arg(config_arg())
                .arg(json())
                .args(args(SHARED))
                .args(args(STANDALONE)),
        );
    }
    program
}

/// Signals this close to each other are the same wish.
const SAME_WISH: Duration = Duration::from_secs(1);

struct Failure {
    exit: u8,
    message: String,
}

impl Failure {
    fn usage(error: &impl ToString) -> Self {
        Self { exit: exit::USAGE, message: error.to_string() }
    }
}

/// `keep-job`: started by a worker, and alive for as long as the job's program.
fn keep_job(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(dir) = matches.get_one::<PathBuf>("dir") else {
        return Err(Failure::usage(&"the folder of the job is needed"));
    };
    keeper::main(dir)
        .map_err(|error| Failure { exit: exit::FAILED, message: format!("the job: {error}") })
}

/// `run` and `standalone`.
fn work(command: &str, matches: &ArgMatches) -> Result<(), Failure> {
    logging::start().map_err(|e| Failure::usage(&e))?;
    let settings = Settings::read(&Typed::new(KEYS, matches)).map_err(|e| Failure::usage(&e))?;
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure { exit: exit::FAILED, message: error.to_string() })?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = tokio::spawn(stop_on_signal(stop.clone()));
        let (reports, told) = Reports::channel();
        let writer = tokio::spawn(report::write_all(told, matches.get_flag("json")));
        let result = live(command, settings, reports, stop).await;
        signals.abort();
        // Every sender of reports is gone, so what was told is written.
        let _ = writer.await;
        result
    })
}

async fn live(
    command: &str,
    settings: Settings,
    reports: Reports,
    stop: CancellationToken,
) -> Result<(), Failure> {
    match command {
        "run" => {
            let Some(server) = settings.server.clone() else {
                let words = "run needs --server URL (or HALYARD_SERVER), for example \
                             http://127.0.0.1:8080; for a broker in the same program use standalone";
                return Err(Failure::usage(&words));
            };
            run::run(settings, server, reports, stop).await.map_err(|error| {
                let exit = match &error {
                    RunError::Start(_) => exit::USAGE,
                    RunError::Agent(error) => of_agent(error),
                };
                Failure { exit, message: error.to_string() }
            })
        }
        #[cfg(feature = "standalone")]
        "standalone" => {
            use halyard_worker::standalone::{self, StandaloneError};
            standalone::run(settings, reports, stop).await.map_err(|error| {
                let exit = match &error {
                    StandaloneError::Start(_)
                    | StandaloneError::Bind(_)
                    | StandaloneError::DataDir { .. } => exit::USAGE,
                    StandaloneError::Broker(_) => exit::FAILED,
                    StandaloneError::Agent(error) => of_agent(error),
                };
                Failure { exit, message: error.to_string() }
            })
        }
        other => Err(Failure::usage(&format!("there is no command {other}"))),
    }
}

fn of_agent(error: &AgentError) -> u8 {
    let refused = match error {
        AgentError::Room(RoomError::Api(error)) => error.is_refusal(),
        AgentError::Room(RoomError::Signal(error)) | AgentError::Lost(error) => error.is_refusal(),
        AgentError::Room(RoomError::Link(_)) => true,
        AgentError::Room(RoomError::State { .. }) => return exit::USAGE,
        AgentError::Machine => return exit::FAILED,
    };
    if refused { exit::REFUSED } else { exit::UNREACHABLE }
}

/// Cancels on the first SIGINT or SIGTERM. Another one, by somebody who has lost patience, ends the
/// program the hard way.
async fn stop_on_signal(stop: CancellationToken) {
    signal().await;
    tracing::info!("stopping");
    stop.cancel();
    // Shells and supervisors signal the process and its group: that is one wish, not two.
    tokio::time::sleep(SAME_WISH).await;
    signal().await;
    std::process::exit(i32::from(exit::INTERRUPTED));
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be heard; end the worker by closing its terminal");
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

fn devices(matches: &ArgMatches) {
    let (dev, sys, proc) = (Path::new("/dev"), Path::new("/sys"), Path::new("/proc"));
    let found = devices::look(devices::Folders { dev, sys, proc });
    if matches.get_flag("json") {
        let line = serde_json::to_string(&found).unwrap_or_default();
        anstream::println!("{line}");
    } else {
        anstream::println!("{}", devices::text(&found));
    }
}
