//! What can be typed.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use halyard_protocol::ids::PeerId;
use url::Url;

use crate::session::Condition;

/// Join a machine's room: see who is here, move files, send commands, follow its state.
#[derive(Debug, Parser)]
#[command(
    name = "halyard",
    version,
    about,
    propagate_version = true,
    after_help = "\
A LINK looks like https://host/r/ROOM_ID#TOKEN. Quote it: the shell may not like the #.
Instead of a LINK, --server and --room say where, and HALYARD_TOKEN with what.

Exit codes: 0 done, 2 usage or configuration, 3 cannot reach the server, 4 refused,
5 no peer connection, 6 transfer, command or job failed, 130 interrupted."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// For every command.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Global {
    /// Speak to programs: one JSON object a line on stdout, logs on stderr
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The server's address, for example http://127.0.0.1:8080 [env: HALYARD_SERVER]
    #[arg(long, global = true, value_name = "URL", help_heading = "Where")]
    pub(super) server: Option<String>,
    /// The room's id [env: HALYARD_ROOM]
    #[arg(long, global = true, value_name = "ID", help_heading = "Where")]
    pub(super) room: Option<String>,
    /// The room's token; better in HALYARD_TOKEN or HALYARD_TOKEN_FILE, which keep it out of the
    /// process list
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Where")]
    pub(super) token: Option<String>,
    /// Authorities (PEM) whose certificates are believed of the server, beside the system's
    /// [env: HALYARD_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where")]
    pub(super) ca_file: Option<String>,
    /// Settings in TOML: server, room, token, token_file, ca_file [env: HALYARD_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where")]
    pub(super) config: Option<PathBuf>,
    /// How long to wait for a worker to come into the room, for example 20s
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, help_heading = "Where")]
    pub(super) wait: Option<Duration>,
    /// Only a worker that says so of itself, for example 'gpu_memory_mb>=8000' or status=available;
    /// several must all hold
    #[arg(long = "where", global = true, value_name = "CONDITION", help_heading = "Where")]
    pub(super) conditions: Vec<Condition>,
    /// This worker, by its name in the room
    #[arg(long, global = true, value_name = "PEER", help_heading = "Where")]
    pub(super) worker: Option<PeerId>,
    /// Connect over the server's TURN relays alone, never directly
    #[arg(long, global = true, help_heading = "Where")]
    pub(super) relay_only: bool,
    /// Say more on stderr; twice says much more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show who is here and what the worker offers
    Join(Join),
    /// Send files and folders to the worker
    #[command(override_usage = "halyard send [OPTIONS] LINK FILE...\n       \
                                halyard send [OPTIONS] --server URL --room ID FILE...")]
    Send(Send),
    /// Get files and folders from the worker
    #[command(override_usage = "halyard get [OPTIONS] LINK PATH...\n       \
                                halyard get [OPTIONS] --server URL --room ID PATH...")]
    Get(Get),
    /// List a folder of the worker, or what is named like a pattern: 'models/**/*.ckpt'
    #[command(override_usage = "halyard ls [OPTIONS] LINK [PATH]\n       \
                                halyard ls [OPTIONS] --server URL --room ID [PATH]")]
    Ls(Ls),
    /// Show size and time of files of the worker
    #[command(override_usage = "halyard stat [OPTIONS] LINK PATH...\n       \
                                halyard stat [OPTIONS] --server URL --room ID PATH...")]
    Stat(PathName),
    /// Delete files and folders of the worker
    #[command(override_usage = "halyard rm [OPTIONS] LINK PATH...\n       \
                                halyard rm [OPTIONS] --server URL --room ID PATH...")]
    Rm(Rm),
    /// Ask the machine to do something once
    #[command(override_usage = "halyard command [OPTIONS] LINK NAME [JSON]\n       \
                                halyard command [OPTIONS] --server URL --room ID NAME [JSON]")]
    #[command(name = "command")]
    Ask(SendCommand),
    /// Send a data set, train with it, follow the training and fetch what it made
    #[command(override_usage = "halyard train [OPTIONS] LINK [PACKAGE]\n       \
                                halyard train [OPTIONS] --server URL --room ID [PACKAGE]")]
    Train(Train),
    /// Show the worker's jobs and what can be asked for
    Jobs(Jobs),
    /// Ask a job to finish early and keep what there is
    Stop(JobName),
    /// End a job and all of its processes now
    Cancel(JobName),
    /// Show what happened to a job
    Logs(Logs),
    /// Follow a job to its end; leaving does not end the job
    Attach(Attach),
    /// Follow the machine's state
    Telemetry(Telemetry),
    /// Drive by keys at a terminal, or straight on for a while
    Drive(Drive),
    /// Stop the machine at once, whoever drives; anybody in the room may
    Estop(Estop),
    /// Make and manage rooms
    Room(Room),
    /// Say in plain words why a connection cannot be made
    Doctor(Doctor),
}

#[derive(Debug, Args)]
pub(super) struct Join {
    /// The join link
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
    /// Stay and tell what happens until interrupted
    #[arg(long)]
    pub(super) stay: bool,
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// The join link, then the files and folders
    #[arg(value_name = "LINK FILE", required = true)]
    pub(super) words: Vec<String>,
    /// Let a folder take the place of one that the worker has
    #[arg(long)]
    pub(super) replace: bool,
    /// Have the worker unpack archives (.zip, .tar, .tar.gz) into folders beside them
    #[arg(long)]
    pub(super) unpack: bool,
    /// The folder at the worker to put them in
    #[arg(long, value_name = "DIR", default_value = "")]
    pub(super) to: String,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The join link, then the files' paths at the worker
    #[arg(value_name = "LINK PATH", required = true)]
    pub(super) words: Vec<String>,
    /// Where to put them: a folder, or for one file or folder its new name
    #[arg(short, long, value_name = "PATH")]
    pub(super) output: Option<PathBuf>,
    /// Let a folder take the place of one that is here
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct PathName {
    /// The join link, then paths at the worker
    #[arg(value_name = "LINK PATH", required = true)]
    pub(super) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// The join link, then paths at the worker
    #[arg(value_name = "LINK PATH", required = true)]
    pub(super) words: Vec<String>,
    /// Folders with everything in them
    #[arg(short, long)]
    pub(super) recursive: bool,
}

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// The join link, then the folder (the top if not given) or a pattern
    #[arg(value_name = "LINK PATH")]
    pub(super) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct SendCommand {
    /// The join link, then the command's name and its arguments as JSON
    #[arg(value_name = "LINK NAME JSON", required = true)]
    pub(super) words: Vec<String>,
    /// Do not start it later than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) deadline: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Train {
    /// The join link, then the file or folder to send; what it is called at the worker is given to
    /// the template as its value `package`
    #[arg(value_name = "LINK PACKAGE")]
    pub(super) words: Vec<String>,
    /// Which of the worker's templates; several run one after another, each when the one before it
    /// succeeded
    #[arg(long, value_name = "NAME", default_value = "train")]
    pub(super) template: Vec<String>,
    /// A value for every template that takes it, for example --set epochs=20; for one step alone its
    /// number or template stands before it: --set 2.epochs=20
    #[arg(long, value_name = "[STEP.]NAME=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
    /// Have the worker unpack the package (.zip, .tar, .tar.gz) and train with the folder
    #[arg(long)]
    pub(super) unpack: bool,
    /// Fetch the results into this folder
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Lines instead of a screen
    #[arg(long)]
    pub(super) plain: bool,
    /// Do not stay: print the jobs and leave
    #[arg(long)]
    pub(super) detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct Jobs {
    /// The join link
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct JobName {
    /// The join link, then the job's id
    #[arg(value_name = "LINK JOB", required = true)]
    pub(super) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// The join link, then the job's id
    #[arg(value_name = "LINK JOB", required = true)]
    pub(super) words: Vec<String>,
    /// Fetch the results into this folder
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Lines instead of a screen
    #[arg(long)]
    pub(super) plain: bool,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The join link, then the job's id
    #[arg(value_name = "LINK JOB", required = true)]
    pub(super) words: Vec<String>,
    /// Stay until the job is over
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Begin with this event
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) from: u64,
}

#[derive(Debug, Args)]
pub(super) struct Telemetry {
    /// The join link
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
    /// End after this many reports
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// End after this long; too few reports by then are an error
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Drive {
    /// The join link
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
    /// Forwards, in m/s; negative is backwards; 0 unless said
    #[arg(long, value_name = "M/S", allow_hyphen_values = true)]
    pub(super) linear: Option<f64>,
    /// Turning, in rad/s; positive is to the left; 0 unless said
    #[arg(long, value_name = "RAD/S", allow_hyphen_values = true)]
    pub(super) angular: Option<f64>,
    /// For how long; 1s unless said
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(super) time: Option<Duration>,
    /// No keys, also at a terminal
    #[arg(long)]
    pub(super) plain: bool,
}

#[derive(Debug, Args)]
pub(super) struct Estop {
    /// The join link
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
    /// Let the machine move again; for operators
    #[arg(long)]
    pub(super) clear: bool,
}

#[derive(Debug, Args)]
pub(super) struct Room {
    #[command(subcommand)]
    pub(super) command: RoomCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum RoomCommand {
    /// Make a room and print its links
    Create {
        /// How long it lives, for example 2h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ttl: Option<Duration>,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
    },
    /// Show a room of yours
    Show(RoomName),
    /// Let a room of yours live longer
    Extend {
        #[command(flatten)]
        room: RoomName,
        /// From now on, for example 2h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// Close a room of yours and send everybody away
    Delete(RoomName),
    /// End somebody's access to a room of yours
    #[command(group = clap::ArgGroup::new("whom").required(true).args(["peer", "role"]))]
    Revoke {
        #[command(flatten)]
        room: RoomName,
        /// This peer's
        #[arg(long, value_name = "PEER_ID")]
        peer: Option<String>,
        /// Everybody's of this role; the role gets a new link
        #[arg(long)]
        role: Option<Role>,
    },
}

/// Which of your rooms.
#[derive(Debug, Args)]
pub(super) struct RoomName {
    /// The room's id or link (or --room)
    #[arg(value_name = "ROOM")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Who only sees.
    Viewer,
    /// Who drives.
    Operator,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The join link; without one only this machine and the server are looked at
    #[arg(value_name = "LINK")]
    pub(super) words: Vec<String>,
}

/// `name=value`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no assignment; it looks like epochs=20")),
    }
}

/// `2s`, `1500ms`, `2h 30m`, or a plain number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(seconds) => Ok(seconds),
        None => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; a time looks like 500ms, 2s, 10m or 2h")),
    }
}

/// An address as people type it: without a scheme it is `https`, on this machine `http`.
pub(super) fn server_address(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let whole = if text.contains("://") {
        text.to_owned()
    } else if text.starts_with("localhost") || text.starts_with("127.") || text.starts_with("[::1]")
    {
        format!("http://{text}")
    } else {
        format!("https://{text}")
    };
    match Url::parse(&whole) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(url) => Err(format!(
            "{text:?} starts with {}://, accepted are http:// and https://",
            url.scheme()
        )),
        Err(error) => {
            Err(format!("{text:?} is no address ({error}); it looks like http://127.0.0.1:8080"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_in_seconds_or_with_units() {
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        for wrong in ["", "-1", "soon", "NaN", "1e300"] {
            assert!(duration(wrong).expect_err(wrong).contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_encrypted_unless_it_is_this_machine() {
        assert_eq!(server_address("lab.example").expect("https").as_str(), "https://lab.example/");
        assert_eq!(
            server_address("127.0.0.1:8080").expect("http").as_str(),
            "http://127.0.0.1:8080/"
        );
        assert_eq!(server_address("localhost:1").expect("http").as_str(), "http://localhost:1/");
        assert!(server_address("ftp://x").expect_err("ftp").contains("ftp://"));
        assert!(server_address("").is_err());
    }

    #[test]
    fn options_may_stand_before_and_behind_the_command() {
        for words in [
            ["halyard", "--json", "--room", "ab", "ls", "docs"],
            ["halyard", "ls", "docs", "--room", "ab", "--json"],
        ] {
            let cli = Cli::try_parse_from(words).expect("fine");
            assert!(cli.global.json);
            assert_eq!(cli.global.room.as_deref(), Some("ab"));
            assert!(matches!(cli.command, Command::Ls(ls) if ls.words == ["docs"]));
        }
    }

    #[test]
    fn backwards_is_a_number_and_not_an_option() {
        let cli = Cli::try_parse_from(["halyard", "drive", "--linear", "-0.5", "--for", "2s"]);
        let Ok(Cli { command: Command::Drive(drive), .. }) = cli else { panic!("{cli:?}") };
        assert_eq!((drive.linear, drive.angular), (Some(-0.5), None));
        assert_eq!(drive.time, Some(Duration::from_secs(2)));
    }

    #[test]
    fn revoking_needs_somebody() {
        assert!(Cli::try_parse_from(["halyard", "room", "revoke", "ab"]).is_err());
        assert!(
            Cli::try_parse_from(["halyard", "room", "revoke", "ab", "--role", "viewer"]).is_ok()
        );
        let both = ["halyard", "room", "revoke", "ab", "--role", "viewer", "--peer", "x"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
