//! `halyard-server`: the broker as a program.

mod logging;

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Command, builder::PossibleValuesParser};
use halyard_server::{
    BindError, Server, Settings,
    settings::{Typed, args, config_arg, read},
};
use tokio_util::sync::CancellationToken;

/// What was typed means nothing, or cannot be started with.
const EXIT_CONFIGURATION: u8 = 2;
/// Something failed while serving.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let (name, matches) = match matches.subcommand() {
        Some((name, of_subcommand)) => (name, of_subcommand),
        None => ("serve", &matches),
    };
    if name == "version" {
        println!("halyard-server {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = match read(&Typed::new(matches, variables)) {
        Ok(settings) => settings,
        Err(error) => return refused(&error),
    };
    if name == "check-config" {
        println!("{}", summary(&settings));
        return ExitCode::SUCCESS;
    }
    if name == "create-table" {
        return create_table(&settings);
    }
    let format = matches.get_one::<String>("log_format").map_or("human", String::as_str);
    if let Err(error) = logging::start(format == "json") {
        return refused(&error);
    }
    serve(&settings)
}

/// Makes the table that the settings name.
#[cfg(feature = "aws")]
#[tokio::main]
async fn create_table(settings: &Settings) -> ExitCode {
    use halyard_server::{aws, settings::StoreKind, store};

    let StoreKind::DynamoDb { table } = &settings.store else {
        let why = "create-table is for store = \"dynamodb\"; add --store dynamodb, and \
                   --dynamodb-table for a name other than rooms";
        return refused(&BindError::Settings(why.to_owned()));
    };
    let config = match aws::load().await {
        Ok(config) => config,
        Err(error) => return refused(&error),
    };
    match store::create_table(&config, table).await {
        Ok(()) => {
            println!("the table {table} is there, with its index and its time-to-live");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("halyard-server: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

#[cfg(not(feature = "aws"))]
fn create_table(_settings: &Settings) -> ExitCode {
    let why = "create-table needs a program that was built with --features aws; the published \
               images are";
    refused(&BindError::Settings(why.to_owned()))
}

#[tokio::main]
async fn serve(settings: &Settings) -> ExitCode {
    let server = match Server::bind(settings.clone()).await {
        Ok(server) => server,
        Err(error) => return refused(&error),
    };
    announce(&server, settings);
    let stop = CancellationToken::new();
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refused(&error),
    };
    let running = server.run(stop.clone());
    tokio::pin!(running);
    let result = tokio::select! {
        result = &mut running => result,
        name = signals.wait() => {
            tracing::info!("{name}: telling everybody goodbye; once more stops at once");
            stop.cancel();
            tokio::select! {
                result = &mut running => result,
                _ = Signals::again() => return ExitCode::from(EXIT_FAILED),
            }
        }
    };
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The first lines: where it is, and what to do next.
fn announce(server: &Server, settings: &Settings) {
    let addr = server.local_addr();
    let url = settings.public_url.as_ref().map_or_else(
        || format!("http://{addr}"),
        |url| url.as_str().trim_end_matches('/').to_owned(),
    );
    tracing::info!("serving page, REST and WebSocket at {url}");
    tracing::info!("next, on the machine: halyard-worker run --server {url}");
    if let Some(addr) = server.admin_addr() {
        tracing::info!("/health and /ready also at http://{addr}");
    }
    if settings.data_dir.is_none() {
        tracing::warn!(
            "without --data-dir rooms and identities are gone when this stops; give it a folder"
        );
    }
}

/// What the settings mean, without secrets.
fn summary(settings: &Settings) -> String {
    let mut lines = vec![
        "the configuration is good".to_owned(),
        format!("listen           {}", settings.listen),
        format!("identity         {}", settings.identity),
        format!("store            {}", settings.store),
        format!("bus              {}", settings.bus),
        format!("room_ttl         {}", humantime::format_duration(settings.room_ttl)),
    ];
    if let Some(addr) = settings.admin_listen {
        lines.push(format!("admin_listen     {addr}"));
    }
    if let Some(dir) = &settings.data_dir {
        lines.push(format!("data_dir         {}", dir.display()));
    }
    if let Some(url) = &settings.public_url {
        lines.push(format!("public_url       {url}"));
    }
    lines.push(format!("stun_urls        {}", settings.stun_urls.join(", ")));
    if let Some(turn) = &settings.turn {
        lines.push(format!("turn_urls        {}", turn.urls.join(", ")));
    }
    lines.join("\n")
}

fn refused(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("halyard-server: {error}");
    ExitCode::from(EXIT_CONFIGURATION)
}

fn command() -> Command {
    let log_format = || {
        clap::Arg::new("log_format")
            .long("log-format")
            .env("HALYARD_LOG_FORMAT")
            .value_parser(PossibleValuesParser::new(["human", "json"]))
            .default_value("human")
            .help("How log lines on stderr look; HALYARD_LOG=debug shows more of them")
    };
    let configured = |command: Command| command.arg(config_arg()).args(args());
    let serve = configured(Command::new("serve").about("Serve (the default)")).arg(log_format());
    let check = configured(
        Command::new("check-config").about("Say what the configuration means, or what is wrong"),
    );
    let table = configured(
        Command::new("create-table").about("Make the DynamoDB table of store = \"dynamodb\""),
    );
    configured(Command::new("halyard-server").about("The Halyard broker"))
        .version(env!("CARGO_PKG_VERSION"))
        .arg(log_format())
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(check)
        .subcommand(table)
        .subcommand(Command::new("version").about("Print the version"))
}

/// The signals that ask a program to stop.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    async fn again() -> Option<&'static str> {
        Some(Self::new().ok()?.wait().await)
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn wait(self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }

    async fn again() -> Option<&'static str> {
        Some(Self.wait().await)
    }
}
