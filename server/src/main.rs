//! `halyard-server`: the broker as a program.

mod check_config;
mod logging;
mod signals;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Command, builder::PossibleValuesParser};
use halyard_server::{
    BindError, Server, Settings,
    settings::{FLAGS, KEYS, read_with_places},
};
use halyard_settings::{Typed, args, config_arg};
use tokio_util::sync::CancellationToken;

use self::{logging::Spans, signals::Signals};

/// What was typed means nothing, or cannot be started with.
const EXIT_CONFIGURATION: u8 = 2;
/// Something failed while serving.
const EXIT_FAILED: u8 = 1;
/// Where operators look unless said otherwise.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// How long the last spans may take where the drain used up its time.
const FLUSH_AT_LEAST: Duration = Duration::from_secs(1);

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
    let read = read_with_places(&Typed::new(KEYS, matches));
    if name == "check-config" {
        return check_config::run(read, matches.get_flag("connect"), matches.get_flag("json"));
    }
    let (settings, places) = match read {
        Ok(read) => read,
        Err(error) => return refused(&error),
    };
    if name == "create-table" {
        return create_table(&settings);
    }
    let json = matches.get_one::<String>("log_format").is_some_and(|format| format == "json");
    serve(settings, places.contains_key("admin_listen"), json)
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
async fn serve(mut settings: Settings, admin_was_typed: bool, json: bool) -> ExitCode {
    let spans = match spans(&settings) {
        Ok(spans) => spans,
        Err(error) => return refused(&*error),
    };
    let wanted = std::env::var("HALYARD_LOG").ok();
    let level = match logging::start(json, wanted.as_deref(), spans.as_ref()) {
        Ok(level) => level,
        Err(error) => return refused(&error),
    };
    if !admin_was_typed {
        settings.admin_listen = Some(DEFAULT_ADMIN);
    }
    let server = match bind(&mut settings, admin_was_typed).await {
        Ok(server) => server.log_level(Arc::new(level)),
        Err(error) => return refused(&error),
    };
    announce(&server, &settings);
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refused(&error),
    };
    let stop = CancellationToken::new();
    let running = server.run(stop.clone());
    tokio::pin!(running);
    let mut stopping = None;
    let result = loop {
        tokio::select! {
            result = &mut running => break result,
            name = signals.next() => {
                if stopping.replace(Instant::now()).is_some() {
                    tracing::warn!("{name} again: stopping at once");
                    return ExitCode::from(EXIT_FAILED);
                }
                tracing::info!("{name}: telling everybody goodbye; once more stops at once");
                stop.cancel();
            }
        }
    };
    let drained = stopping.map_or(Duration::ZERO, |since| since.elapsed());
    if let Some(spans) = spans {
        let within = settings.timing.drain_within.saturating_sub(drained).max(FLUSH_AT_LEAST);
        tokio::select! {
            () = spans.flush(within) => {}
            _ = signals.next() => {}
        }
    }
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

/// Where spans go, if anywhere.
#[cfg(feature = "otlp")]
fn spans(settings: &Settings) -> Result<Option<Spans>, Box<dyn std::error::Error>> {
    Ok(settings.otlp_endpoint.as_ref().map(Spans::to).transpose()?)
}

#[cfg(not(feature = "otlp"))]
fn spans(settings: &Settings) -> Result<Option<Spans>, Box<dyn std::error::Error>> {
    match settings.otlp_endpoint {
        None => Ok(None),
        Some(_) => Err("otlp_endpoint needs a program that was built with --features otlp; the \
                        published images are"
            .into()),
    }
}

/// Takes the ports. The second address that nobody asked for is left out where it is taken, because
/// something else on the machine has a right to it.
async fn bind(settings: &mut Settings, admin_was_typed: bool) -> Result<Server, BindError> {
    match Server::bind(settings.clone()).await {
        Err(BindError::Listen { addr, flag: "admin-listen", source }) if !admin_was_typed => {
            tracing::warn!(
                "no /metrics: {addr} cannot be taken ({source}); --admin-listen chooses another \
                 address, or none"
            );
            settings.admin_listen = None;
            Server::bind(settings.clone()).await
        }
        bound => bound,
    }
}

/// The first lines: where it is, and what to do next.
fn announce(server: &Server, settings: &Settings) {
    let addr = server.local_addr();
    let url = settings.public_url.as_ref().map_or_else(
        || format!("{}://{addr}", server.scheme()),
        |url| url.as_str().trim_end_matches('/').to_owned(),
    );
    tracing::info!("serving page, REST and WebSocket at {url}");
    tracing::info!("next, on the machine: halyard-worker run --server {url}");
    if let Some(addr) = server.rest_addr() {
        tracing::info!("REST alone also at {}://{addr}", server.scheme());
    }
    if let Some(addr) = server.admin_addr() {
        tracing::info!("for operators: /health, /ready, /metrics and /log-level at http://{addr}");
        if !addr.ip().is_loopback() {
            tracing::warn!(
                "{addr} is not of this machine alone: whoever reaches it may read the metrics and \
                 change the log level; a firewall should say who does"
            );
        }
    }
    if settings.data_dir.is_none() {
        tracing::warn!(
            "without --data-dir rooms and identities are gone when this stops; give it a folder"
        );
    }
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
    let flag =
        |name, help| clap::Arg::new(name).long(name).action(clap::ArgAction::SetTrue).help(help);
    let configured = |command: Command| command.arg(config_arg()).args(args(FLAGS));
    let serve = configured(Command::new("serve").about("Serve (the default)")).arg(log_format());
    let check = configured(
        Command::new("check-config").about("Say what the configuration means, or what is wrong"),
    )
    .arg(flag("connect", "Also try what it names: ports, certificate, store, identity, bus"))
    .arg(flag("json", "Say it as one JSON object"));
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
